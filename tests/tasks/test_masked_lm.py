"""Masked language modelling: windows, masks, the loss, and an adapter that leaves with the encoder."""

from __future__ import annotations

import csv
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from encoderlab.adapters import folder as adapters
from encoderlab.cli import tables
from encoderlab.cli.app import main
from encoderlab.config import load as config_load
from encoderlab.core.errors import InputError
from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import collate
from encoderlab.engine.logits import logits, scores
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.lora import Lora
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from encoderlab.study import check
from encoderlab.study.compare import compare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import Runs, planned, seeded, trials
from encoderlab.study.prepare import prepare
from encoderlab.study.train import train
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.training.epochs import Epoch, over_fitting
from fixtures_methods import CASES
from fixtures_reload import copied

CPU = torch.device("cpu")
TASK = MaskedLM()
WORDS = "good bad film the a was not very plot acting and".split()


def text(words: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def rows_of(*texts: str | list[str]) -> Rows:
    return TASK.prepare(Rows({"text": list(texts)}, "here", np.arange(len(texts))), labelled=True)


def windows(tokenizer, *lengths: int, max_length: int = 40, task: MaskedLM = TASK) -> TokenizedRows:
    return task.tokenize(rows_of(*(text(n, n) for n in lengths)), tokenizer, max_length, ["masked"])


def test_windows_of_texts(tiny_tokenizer) -> None:
    found = windows(tiny_tokenizer, 100, 38, 31, 32, 75)
    spans = [found.ids[a:b] for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    assert all(span[0] == tiny_tokenizer.cls_token_id and span[-1] == tiny_tokenizer.sep_token_id for span in spans)
    # 100 tokens: 38 + 38 + 24 left over, too short for a window of their own
    assert [len(span) - 2 for span in spans] == [38, 38, 38, 32, 38, 38]
    assert found.rows_cut == 2 and found.tokens_lost == 24 + 31
    whole = tiny_tokenizer(text(100, 100), add_special_tokens=False)["input_ids"]
    assert spans[0][1:-1].tolist() == whole[:38] and spans[1][1:-1].tolist() == whole[38:76]


def test_the_last_window_ends_with_the_text(tiny_tokenizer) -> None:
    found = windows(tiny_tokenizer, 110, task=MaskedLM(stride=30))
    assert len(found) == 3 and found.tokens_lost == 12, "starts 0, 30, 60; 12 tokens are too short a rest"
    found = windows(tiny_tokenizer, 2 * 38 + 33)
    whole = tiny_tokenizer(text(109, 109), add_special_tokens=False)["input_ids"]
    assert len(found) == 3 and found.ids[found.offsets[2] + 1 : -1].tolist() == whole[-38:]


def test_what_is_left_out_is_told_of_texts_and_their_tokens(tiny_tokenizer) -> None:
    """Windows share tokens, and are more or fewer than the texts: neither may be what the shares are of."""
    found = windows(tiny_tokenizer, 76, *[20] * 9, task=MaskedLM(stride=19))
    assert (len(found), found.tokens_kept, found.tokens_lost) == (3, 76, 180)
    assert TASK.cut_warning(found, 10, 40) == (
        "70% of the tokens are left out: 9 of 10 texts (90%) have fewer than 32 tokens, or so few behind their last "
        "window"
    )
    assert TASK.cut_warning(windows(tiny_tokenizer, *[38 * 9 + 31] * 3), 3, 40) is None, "short rests of long texts"
    assert TASK.label_counts(found.labels, ["masked"]) == {"windows": 3}


def test_lists_of_words_are_texts() -> None:
    words = TASK.prepare(Rows({"words": [["", "a", " film "], ["the"]]}, "here", np.arange(2)), labelled=True)
    assert words.columns == {"text": ["a film", "the"], "masked": ["masked"] * 2}
    with pytest.raises(InputError, match="here: no column 'txt'; it has text"):
        MaskedLM(text="txt").prepare(Rows({"text": ["a"]}, "here", np.arange(1)), labelled=False)
    with pytest.raises(InputError, match="row 2: text is neither a text nor a list of words"):
        TASK.prepare(Rows({"text": ["a", 3]}, "here", np.arange(2)), labelled=False)


def test_masks_are_those_of_the_paper(tiny_tokenizer) -> None:
    tokenized = windows(tiny_tokenizer, *[38] * 400)
    masked = TASK.masked(tokenized, np.arange(400), (0, 1))
    flat = tokenized.ids.reshape(400, 40).reshape(-1)
    assert (flat[masked.places] == masked.targets).all() and not np.isin(masked.places % 40, [0, 39]).any()
    n = 400 * 38
    assert len(masked.places) / n == pytest.approx(0.15, abs=4 * math.sqrt(0.15 * 0.85 / n))
    share = len(masked.places)
    as_mask = (masked.inputs == tiny_tokenizer.mask_token_id).mean()
    stays = (masked.inputs == masked.targets).mean()
    spread = 4 * math.sqrt(0.8 * 0.2 / share)
    assert as_mask == pytest.approx(0.8, abs=spread) and stays == pytest.approx(0.1, abs=spread)
    assert not np.isin(
        masked.inputs[masked.inputs != tiny_tokenizer.mask_token_id], tiny_tokenizer.all_special_ids
    ).any()


def test_masks_depend_on_seed_epoch_and_window_alone(tiny_tokenizer) -> None:
    tokenized = windows(tiny_tokenizer, 38, 35, 100)

    def inputs(rows: list[int], draw: tuple[int, int]) -> dict[int, list[int]]:
        masked = TASK.masked(tokenized, np.array(rows), draw)
        width = tokenized.lengths[rows].max()
        return {
            row: (masked.places[masked.owner == i] - i * width).tolist() + masked.inputs[masked.owner == i].tolist()
            for i, row in enumerate(rows)
        }

    assert inputs([0, 1, 2, 3], (0, 1)) == inputs([3, 2, 1, 0], (0, 1)) == {r: inputs([r], (0, 1))[r] for r in range(4)}
    assert inputs([0], (0, 1)) != inputs([0], (0, 2)) and inputs([0], (0, 1)) != inputs([0], (1, 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_the_whole_batch(tiny_masked_lm: Callable[[str], Path], family: str) -> None:
    """Picking the masked positions before the head gives what the library gives with labels of -100 elsewhere."""
    base = load.load(str(tiny_masked_lm(family)), head=TASK.head, class_names=["masked"], seed=0)
    tokenized = windows(base.tokenizer, 38, 33, 70, 36)
    rows = np.array([2, 0, 3, 1])
    model = ModelRunner(base, torch.float32, CPU).eval()
    pad = base.tokenizer.pad_token_id
    masked = TASK.masked(tokenized, rows, (3, 1))
    with torch.no_grad():
        found = scores(model, TASK, tokenized, rows, pad_id=pad, device=CPU, draw=(3, 1))
        batch = collate(tokenized, rows, pad, CPU)
        labels = torch.full_like(batch["input_ids"], -100)
        labels.view(-1)[masked.places] = torch.from_numpy(masked.targets)
        batch["input_ids"].view(-1)[masked.places] = torch.from_numpy(masked.inputs)
        whole = base.model(**batch).logits
    loss = F.cross_entropy(whole.view(-1, whole.size(-1)), labels.view(-1), reduction="none").view(4, -1)
    torch.testing.assert_close(found[:, 0], loss.sum(1), rtol=1e-5, atol=1e-5)
    assert found[:, 1].tolist() == (labels >= 0).sum(1).tolist()
    assert found[:, 2].tolist() == (whole.argmax(-1) == labels).sum(1).tolist()
    together = logits(model, TASK, tokenized, pad_id=pad, budget=10**6, device=CPU)
    alone = logits(model, TASK, tokenized, pad_id=pad, budget=1, device=CPU)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    metrics = TASK.metrics(together, tokenized.labels, ["masked"])
    assert metrics["loss"] == pytest.approx(together[:, 0].sum() / together[:, 1].sum(), rel=1e-6)
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))


def test_the_interval_and_the_test_are_of_the_accuracy_that_is_shown() -> None:
    """The accuracy is tokens right over tokens: windows with more masked tokens weigh more."""
    task, draw = TASK, np.random.default_rng(0)
    masked = draw.integers(1, 30, size=200)
    right = draw.binomial(masked, np.where(masked > 15, 0.2, 0.8))
    logits = np.stack([np.ones(200), masked, right], axis=1).astype(np.float32)
    shown = task.metrics(logits, np.zeros(200), [])["accuracy"]
    metric = task.metric([])
    rows = metric.row_statistics(logits, np.zeros(200))
    assert metric.value(rows) == pytest.approx(shown, abs=1e-12)
    interval = metric.interval_over_rows(rows[None])
    assert interval.low < shown < interval.high
    assert abs((right / masked).mean() - shown) > 0.05  # the mean of shares is another number


@pytest.mark.parametrize("method", [Lora(rank=2), Full(), Prompt(length=3)], ids=["lora", "full", "prompt"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_bf16_is_near_fp32(tiny_masked_lm: Callable[[str], Path], family: str, method) -> None:
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        base = load.load(str(tiny_masked_lm(family)), head=TASK.head, class_names=["masked"], seed=0)
        method.inject(base, 0)
        tokenized = windows(base.tokenizer, 38, 33)
        model = ModelRunner(base, dtype, CPU).eval()
        pad = base.tokenizer.pad_token_id
        result = scores(model, TASK, tokenized, np.arange(2), pad_id=pad, device=CPU, draw=(0, 1))
        TASK.losses(result, torch.zeros(2)).sum().backward()
        grads = [p.grad for _, p in base.trainable() if p.grad is not None]
        assert grads and all(g.dtype == torch.float32 for g in grads)
        found[dtype] = TASK.losses(result, torch.zeros(2)).tolist()
    assert found[torch.float32] == pytest.approx(found[torch.bfloat16], abs=0.05)


@pytest.fixture(scope="module")
def plain(tiny_masked_lm: Callable[[str], Path]) -> EncoderModel:
    """To be copied, not changed."""
    return load.load(str(tiny_masked_lm("bert")), head=TASK.head, class_names=["masked"], seed=0)


# What `check` accepts: there is no head to train alone, and a prompt in front would shift the answers of the words.
ACCEPTED = [case for case in CASES if not isinstance(case, Head) and getattr(case, "placement", "") != "front"]


@pytest.mark.parametrize("method", ACCEPTED, ids=repr)
def test_every_method_learns_and_moves_to_the_bare_encoder(
    method: Method, plain: EncoderModel, tiny_masked_lm: Callable[[str], Path], tmp_path: Path
) -> None:
    """Training moves what is trainable and nothing else, and the encoder with the saved adapter is the trained one."""
    if any("not installed" in problem for problem in method.problems(plain)):
        pytest.skip(method.problems(plain)[0])
    assert not method.problems(plain)
    tuned, pad = copied(plain), plain.tokenizer.pad_token_id
    tokenized = windows(tuned.tokenizer, 38, 33)
    method.inject(tuned, 0)
    trained, before = dict(tuned.trainable()), {n: p.detach().clone() for n, p in tuned.model.named_parameters()}
    assert isinstance(method, Full) or not any(plain.is_head(name) for name in trained), "a pretrained head is frozen"
    optimizer = torch.optim.AdamW(trained.values(), lr=2e-2)
    model = ModelRunner(tuned, torch.float32, CPU).eval()
    steps = 3  # B of LoRA is zero: A moves from the second step on
    losses = []
    for step in range(1, steps + 1):
        found = scores(model, TASK, tokenized, np.arange(2), pad_id=pad, device=CPU, draw=(0, 1))
        loss = TASK.losses(found, torch.zeros(2)).sum()
        more = method.regulariser(tuned)
        (loss if more is None else loss + more).backward()
        optimizer.step()
        method.after_step(tuned, step, steps)
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert {n for n, p in tuned.model.named_parameters() if not torch.equal(p, before[n])} == set(trained)

    adapters.save(tuned, method, adapters.adapter_tensors(tuned), tmp_path)
    bare = load.load(str(tiny_masked_lm("bert")), head="AutoModel", class_names=[], seed=7)
    ids = tuned.tokenizer([text(20, 3), text(9, 4)], padding=True, return_tensors="pt")
    bare.model.eval()
    with torch.no_grad():
        wanted, untouched = (one.base_model(**ids).last_hidden_state for one in (tuned, bare))
        adapters.load_adapter(bare, tmp_path, head=False)
        assert not torch.allclose(untouched, wanted, atol=1e-4)
        torch.testing.assert_close(bare.base_model(**ids).last_hidden_state, wanted, rtol=0, atol=1e-5)


def test_the_head_alone_is_no_method_of_masked_lm(study: Path) -> None:
    study.write_text(study.read_text().replace('name = "full"', 'name = "head"'))
    with pytest.raises(InputError, match="head"):
        check.check(study)


STUDY = """
model = "{model}"
seeds = [0, 1]
[task]
kind = "masked-lm"
[data]
train = {{ path = "texts.jsonl" }}
validation = {{ fraction = 0.25 }}
test = {{ fraction = 0.25 }}
[train]
epochs = 2
max_length = 40
batch_size = 4
[search]
candidates = 1
[[method]]
name = "lora"
rank = [2, 4]
[[method]]
name = "full"
"""


@pytest.fixture
def study(tmp_path: Path, tiny_masked_lm: Callable[[str], Path]) -> Path:
    lines = [json.dumps({"text": text(60, i)}) for i in range(24)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(model=tiny_masked_lm("bert")))
    return file


def test_a_whole_study(study: Path, tiny_masked_lm: Callable[[str], Path]) -> None:
    report = compare(study)
    page = report.read_text(encoding="utf-8")
    assert "Perplexity" in page and "one standard error over seeds and test rows" in page
    with (report.parent / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"untrained", "lora", "full"}
    for row in rows:
        assert (
            float(row["perplexity"]) == pytest.approx(math.exp(float(row["loss"])), rel=1e-6) and row["macro_f1"] == ""
        )
    summary = json.loads((report.parent / "summary.json").read_text(encoding="utf-8"))["summary"]
    by_name = {row["variant"]: row for row in summary}
    for name, row in by_name.items():  # of the mean loss, as within a run
        losses = [float(one["loss"]) for one in rows if (one["variant"], one["split"]) == (name, "test")]
        assert row["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-9)
    assert 0 < by_name["lora rank=2"]["p"] <= 1 and by_name["lora rank=2"]["difference_low"] is not None
    results = [json.loads(p.read_text()) for p in report.parent.glob("runs/*/result.json")]
    loras = [r for r in results if r["method"] == "lora"]
    assert len(loras) == 4 and all(r["parameters"]["head"] == 0 < r["parameters"]["adapter"] for r in loras)
    bare = load.load(str(tiny_masked_lm("bert")), head="AutoModel", class_names=[], seed=0)
    method = adapters.load_adapter(bare, report.parent / "runs" / loras[0]["id"] / "adapter", head=False)
    assert isinstance(method, Lora)


def test_resumed_runs_see_the_same_masks(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import encoderlab.training.loop as loop

    overrides = ["seeds=[0]", "method.lora.rank=2"]
    whole = compare(study, [*overrides, f"out={tmp_path / 'whole'}"]).parent
    save, calls = loop.checkpoint.save, 0

    def stop_after_one(*args) -> None:
        nonlocal calls
        save(*args)
        calls += 1
        if calls == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.checkpoint, "save", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        compare(study, [*overrides, f"out={tmp_path / 'twice'}"])
    monkeypatch.setattr(loop.checkpoint, "save", save)
    twice = compare(study, [*overrides, f"out={tmp_path / 'twice'}"]).parent

    def metrics(out: Path) -> list[list[str]]:
        keys = ("variant", "split", "loss", "accuracy", "perplexity")
        with (out / "results.csv").open(encoding="utf-8") as file:
            return [[row[k] for k in keys] for row in csv.DictReader(file)]

    assert metrics(whole) == metrics(twice)


GRID = ["method.full.epochs=1", "method.lora.rank=2", "method.lora.epochs=[1, 2]", "method.lora.stride=[10, 20]"]


def test_epochs_and_stride_as_grids(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*GRID, "seeds=[0]", "search.candidates=2", "search.extend=0"]
    report = compare(study, overrides)
    account = json.loads((report.parent / "study.json").read_text(encoding="utf-8"))
    results = {
        number: json.loads((report.parent / "runs" / number / "result.json").read_text()) for number in account["runs"]
    }
    runs = {account["labels"][i]["variant"]: r for i, r in results.items() if r["kind"] == "run"}
    trials = [r for r in results.values() if r["kind"] == "trial"]
    assert {name: (r["epochs"], r["config"].get("stride")) for name, r in runs.items()} == {
        "lora epochs=1 stride=10": (1, 10), "lora epochs=1 stride=20": (1, 20),
        "lora epochs=2 stride=10": (2, 10), "lora epochs=2 stride=20": (2, 20), "full": (1, None),
    }  # fmt: skip
    assert len({r["id"] for r in runs.values()}) == 5
    steps = {name: r["steps"] for name, r in runs.items()}
    assert steps["lora epochs=2 stride=10"] == 2 * steps["lora epochs=1 stride=10"] > 2 * steps["full"]
    data = [r["config"]["data"] for r in runs.values()]
    assert len({d["train"]["fingerprint"] for d in data}) == 3
    assert len({d[split]["fingerprint"] for d in data for split in ("validation", "test")}) == 2, (
        "scored on the same rows"
    )
    # variants that differ in epochs alone have their trials, and so their learning rate, in common
    assert len(trials) == 2 * 3 and all(r["config"]["train"]["epochs"] == 2 for r in trials)
    page = report.read_text(encoding="utf-8")
    assert "lora stride=10: epochs" in page and "lora epochs=2: stride" in page
    assert "not every method has the same epochs (lora: 1, 2; full: 1)" in page
    assert "not every method has the same stride (lora: 10, 20; full: a whole window)" in page
    capsys.readouterr()
    folder = train(
        study, overrides, label="lora epochs=2 stride=10", seed=0, learning_rate=account["search"][0]["chosen"]
    )
    assert folder is not None and folder.name in account["runs"], "compare's run, taken as it is"


def test_the_time_of_a_grid_counts_its_epochs_windows_and_common_trials(study: Path) -> None:
    found = config_load.load(study, [*GRID, "search.candidates=2"])
    splits, class_names, _ = prepare(found)
    context = open_context(found, splits, class_names)
    shipped: Runs = pickle.loads(pickle.dumps(Runs(study=found, context=context)))  # as to a worker
    specs = [spec for v in found.variants for spec in (*trials(found, v), *seeded(found, v, v.learning_rates[0]))]
    assert [shipped.name(pickle.loads(pickle.dumps(spec))) for spec in specs] == [
        Runs(study=found, context=context).name(spec) for spec in specs
    ]
    trained: dict[str, list[int]] = {}
    for work in planned(found, context):
        trained.setdefault(work.group, []).append(work.trained)
    once, twice = (trained[f"lora epochs={n} stride=10"] for n in (1, 2))
    # two trials, a race of two at full length, and the runs, of which the first is the race's winner
    assert len(once) == 2 + 2 + len(found.seeds) and once[4] == twice[4] == 0
    assert twice[2] == twice[3] == 2 * once[2] > 2 * trained["full"][2] > 0 and once[5:] == once[2:3] * (len(once) - 5)
    assert once[0] > 0 and twice[:2] == [0, 0]


@pytest.mark.parametrize("command", ["check", "compare"])
def test_a_stride_above_the_window(study: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, str(study), "-s", "method.lora.stride=[38, 39]", "-s", "method.lora.rank=2"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "method.lora stride=39: stride = 39, but a window has 38 tokens" in line and line.endswith("use at most 38")


def test_a_base_without_a_head(
    study: Path, tiny_model: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = f"model={tiny_model('bert')}"
    with pytest.raises(SystemExit) as stop:
        main(["check", str(study), "-s", plain])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "the checkpoint has no masked-lm head" in said and "task.fresh_head = true" in said
    with pytest.raises(SystemExit) as stop:
        main(["check", str(study), "-s", plain, "-s", "task.fresh_head=true"])
    assert stop.value.code == 0


def test_over_fitting_is_said_plainly() -> None:
    def history(*losses: tuple[float, float]) -> list[Epoch]:
        return [
            Epoch(epoch=n, step=n, train_loss=t, validation={"loss": v}, seconds=n) for n, (t, v) in enumerate(losses)
        ]

    assert over_fitting(history((3, 3), (2, 2.5), (1, 2.4))) == []
    assert over_fitting(history((3, 3), (2, 2.5), (2.1, 2.9))) == []
    (said,) = over_fitting(history((3, 3), (2, 2.5), (1, 2.9)))
    assert "from epoch 2 to 3 the training loss fell from 2.000 to 1.000, that of validation rose from 2.500" in said


def test_no_predictions(tiny_tokenizer) -> None:
    with pytest.raises(InputError, match="encoderlab embed"):
        TASK.predictions(np.zeros((1, 3)), ["masked"], rows_of("a"))


def test_the_section(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}')
    file = tmp_path / "study.toml"
    file.write_text(
        'model = "m"\n[task]\nkind = "masked-lm"\nmask_rate = 1.5\nstride = 0\n[data]\ntrain = "texts.jsonl"\n'
    )
    with pytest.raises(InputError) as error:
        config_load.load(file)
    assert [line.split(": ")[1] for line in error.value.lines] == ["task.stride", "task.mask_rate"]


def refusals(study: Path, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as error:
        check.check(study, overrides)
    return [line.removeprefix(f"{study}: ") for line in error.value.lines]


@pytest.mark.parametrize(
    "override, line",
    [
        (
            "train.max_length=33",
            "train.max_length: 33 leaves windows of 31 tokens; expected at least 34: fewer than 32 tokens have too "
            "little context to learn from",
        ),
        (
            "task.stride=39",
            "task.stride: 39 is more than the 38 tokens of a window (train.max_length = 40 with 2 special ones), and "
            "those between two windows would be left out; use at most 38",
        ),
    ],
)
def test_windows_that_cannot_be(study: Path, override: str, line: str) -> None:
    assert refusals(study, override) == [line]
    assert check.check(study, ["train.max_length=34", "task.stride=32"]).splits["train"].rows == 12


def test_texts_too_short_are_told_with_their_split(study: Path) -> None:
    said = "no text has 32 tokens; shorter ones have too little context to learn from: join them to longer texts"
    for n in (31, 20):
        (study.parent / f"{n}.jsonl").write_text(json.dumps({"text": text(n)}))
    assert refusals(study, "data.validation=31.jsonl", "data.test=20.jsonl") == [
        f"data.validation: 31.jsonl: {said}",
        f"data.test: 20.jsonl: {said}",
    ]


def test_check_counts_texts_and_windows(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (study.parent / "texts.jsonl").open("a") as file:
        file.writelines("\n" + json.dumps({"text": text(20, i)}) for i in range(40))
    report = check.check(study)
    train = report.splits["train"]
    assert train.rows == 32 and train.labels["windows"] < 32 == train.rows_cut
    tables.checked(report)
    printed = capsys.readouterr().out
    assert "32 (100%)" in printed and "label windows" in printed
    (line,) = (line for line in report.warnings if line.startswith("data.train: ") and "left out" in line)
    assert "32 of 32 texts (100%)" in line


@pytest.mark.parametrize("command", ["check", "compare"])
def test_windows_longer_than_the_models_positions(
    study: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, str(study), "-s", "train.max_length=65"])
    assert stop.value.code == 2 and not (study.parent / "results").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "train.max_length: 65, but " in line and line.endswith("has 64 positions; use at most 64")
