"""Masked language modelling: its loss, its numbers, and every method that learns it and leaves with the encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from encoderlab.adapters import folder as adapters
from encoderlab.cli.app import main
from encoderlab.config import load as config_load
from encoderlab.core.errors import InputError
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
from encoderlab.training.epochs import Epoch, over_fitting
from fixtures_masked import TASK, plain, rows_of, study, text, windows  # noqa: F401  (a fixture)
from fixtures_methods import CASES
from fixtures_reload import copied

CPU = torch.device("cpu")


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
