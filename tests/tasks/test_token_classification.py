"""A label for every word: every method on every family, and a whole study."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from encoderlab.cli.app import main
from encoderlab.engine.batches import collate
from encoderlab.engine.logits import logits, scores
from encoderlab.engine.runner import ModelRunner
from encoderlab.inference.evaluate import evaluate
from encoderlab.inference.export import export
from encoderlab.inference.predict import predict
from encoderlab.methods.base import Method
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load
from encoderlab.model.families import FAMILIES
from encoderlab.results import collect
from encoderlab.study import check
from encoderlab.study.compare import compare
from fixtures_cells import cells
from fixtures_methods import CASES, REFUSED
from fixtures_words import TAGS, TASK, TEXTS, as_arrays, encoded_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(("family", "method"), cells(FAMILIES, CASES))
def test_every_method_on_every_family(family: str, method: Method, tiny_model: Callable[[str], Path]) -> None:
    """The head on first subwords alone gives what it gives on all tokens; together as alone; every part is reached."""
    base = load.load(str(tiny_model(family)), head=TASK.head, class_names=TAGS, seed=0)
    if any("not installed" in line for line in method.problems(base)):
        pytest.skip("an extra is missing")
    in_front = isinstance(method, Prompt) and method.placement == "front"  # its virtual tokens would be answered
    if (method.name, family) in REFUSED or in_front:
        assert method.problems(base)
        return
    method.inject(base, 0)
    tokenized = encoded_of(base.tokenizer, *TEXTS)
    model, pad, rows = ModelRunner(base, torch.float32, CPU).eval(), base.tokenizer.pad_token_id, np.array([2, 0, 3, 1])
    assert tokenized.places is not None
    found = scores(model, TASK, tokenized, rows, pad_id=pad, device=CPU, draw=(0, 1))
    with torch.no_grad():
        whole = base.model(**collate(tokenized, rows, pad, CPU)).logits
    for i, row in enumerate(rows):
        places = tokenized.places[row][tokenized.places[row] >= 0]
        torch.testing.assert_close(found[i, : len(places)], whole[i, places], rtol=1e-4, atol=1e-5)
        assert torch.isinf(found[i, len(places) :]).all()
    alone = logits(model, TASK, tokenized, pad_id=pad, budget=1, device=CPU)
    together = logits(model, TASK, tokenized, pad_id=pad, budget=10**6, device=CPU)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    TASK.losses(found, torch.from_numpy(tokenized.labels[rows])).sum().backward()
    assert [name for name, p in base.trainable() if p.grad is None] == []


STUDY = """
model = {model}
seeds = [0, 1]
out = "out"
[task]
kind = "token-classification"
[data]
train = "train.jsonl"
test = "test.jsonl"
[train]
epochs = 3
batch_size = 8
max_length = 16
[search]
candidates = 1
[[method]]
name = "full"
learning_rate = 3e-3
[[method]]
name = "lora"
rank = 2
learning_rate = 1e-2
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for seed, (name, count) in enumerate({"train": 120, "test": 50}.items()):
        draw, lines = np.random.default_rng(seed), []
        for _ in range(count):
            words, tags = [], []
            for _ in range(draw.integers(2, 6)):
                if draw.random() < 0.4:
                    words += ["good", "film"]
                    tags += ["B-PER", "I-PER"]
                else:
                    words.append(str(draw.choice(["the", "was", "bad", "plot"])))
                    tags.append("B-LOC" if words[-1] == "plot" else "O")
            lines.append(json.dumps({"tokens": words, "ner_tags": tags}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "study.toml").write_text(STUDY.format(model=json.dumps(str(tiny_model("bert")))))
    return compare(folder / "study.toml").parent


def run_of(out: Path, method: str) -> Path:
    found = (path.parent for path in sorted(out.glob("runs/*/result.json")))
    return next(run for run in found if json.loads((run / "result.json").read_text())["method"] == method)


def test_a_whole_study(out: Path) -> None:
    with (out / "summary.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"majority", "untrained", "full", "lora", "head"}
    assert float(rows["full"]["entity_f1"]) > 0.9 > float(rows["majority"]["entity_f1"]) == 0
    assert float(rows["majority"]["accuracy"]) > 0 and 0 < float(rows["lora"]["p"]) <= 1
    assert float(rows["lora"]["entity_f1_rows_low"]) <= float(rows["lora"]["entity_f1"])
    assert rows["full"]["accuracy_rows_low"] == "" and rows["full"]["entity_precision"]
    page = (out / "report.html").read_text()
    assert "Entity F1 on the test rows" in page and "one standard error over seeds and test rows" in page
    assert '<th scope="row"><span class="cut" title="PER">PER</span></th>' in page and "Confusion" not in page
    table = collect.collect(out)
    assert table.metric.key == "entity_f1" and table.recommendation and table.recommendation.beats_majority
    run = run_of(out, "full")
    found = load_file(run / "predictions" / "test.safetensors")
    again = TASK.metrics(found["logits"], found["labels"], json.loads((run / "result.json").read_text())["class_names"])
    assert again["entity_f1"] == json.loads((run / "result.json").read_text())["splits"]["test"]["entity_f1"]


def test_predict_and_evaluate(out: Path, tmp_path: Path) -> None:
    run, stream = run_of(out, "full"), io.StringIO()
    assert predict(run, out.parent / "test.jsonl", stream) == 50
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    gold, predicted = ([json.loads(row[key]) for row in rows] for key in ("ner_tags", "labels"))
    found = evaluate(run, out.parent / "test.jsonl")
    names = sorted({label for row in (*gold, *predicted) for label in row})
    wanted = TASK.metrics(*as_arrays(gold, predicted, names), names)  # seqeval's, as the golden values show
    assert found["entity_f1"] == pytest.approx(wanted["entity_f1"])
    (tmp_path / "new.csv").write_text("words\nthe good film\nplot\n")
    stream = io.StringIO()
    assert predict(run, tmp_path / "new.csv", stream) == 2
    assert [len(json.loads(row["labels"])) for row in csv.DictReader(io.StringIO(stream.getvalue()))] == [3, 1]


@pytest.mark.parametrize("to", ["merged", "peft"])
def test_export(out: Path, tmp_path: Path, to: str) -> None:
    method = {"merged": "full", "peft": "lora"}[to]
    done = export(run_of(out, method), to, tmp_path / to)
    assert done.rows > 0 and done.difference < 1e-4


def test_check_says_what_is_cut(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check.check(out.parent / "study.toml", ["train.max_length=8"])
    assert any(line.startswith("data.test: ") and "words, in " in line for line in report.warnings)
    assert report.splits["train"].labels["O"] > 0
    with pytest.raises(SystemExit) as stop:
        main(["check", str(out.parent / "study.toml")])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "label B-PER" in said
    assert "reference: full; metric: entity F1 (IOB2 labels of LOC, PER)" in said


def test_prefix_and_prompt_are_among_the_cases() -> None:
    assert {Prefix, Prompt} <= {type(case) for case in CASES}
