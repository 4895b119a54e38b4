"""A study of multiple choice from rows to predictions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoderlab.cli import tables
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.inference import evaluate, predict
from encoderlab.inference.export import export
from encoderlab.study import check, compare
from encoderlab.study.estimate import estimate
from fixtures_choices import LETTERS, official, records

STUDY = """
model = {model}
seeds = [0]
out = "out"
[task]
kind = "multiple-choice"
context = "fact1"
[data]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
[train]
epochs = 3
batch_size = 8
max_length = 48
[search]
rows = 30
epochs = 1
candidates = 1
[[method]]
name = "full"
learning_rate = 3e-3
[[method]]
name = "lora"
rank = 4
learning_rate = 1e-2
[[method]]
name = "prefix"
length = 4
[[method]]
name = "prompt"
length = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """A finished study: rows of 3, 4 and 5 choices, full, LoRA, prefix, prompt, and the head that is always there."""
    folder = tmp_path_factory.mktemp("choices")
    for name, count, seed in (("train", 90, 1), ("validation", 24, 2), ("test", 45, 3)):
        lines = [json.dumps(one) for one in records(count, seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "study.toml").write_text(STUDY.format(model=json.dumps(str(tiny_model("bert")))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENCODERLAB_CACHE", str(folder / "cache"))
        compare.compare(folder / "study.toml")
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(folder / "cache"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def runs(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    ids = read_json(folder / "out" / "study.json")["runs"]
    found = [(folder / "out" / "runs" / i, read_json(folder / "out" / "runs" / i / "result.json")) for i in ids]
    return {result["variant"]: (path, result) for path, result in found}


def test_a_whole_study_learns_and_its_tables_are_complete(folder: Path) -> None:
    found = runs(folder)
    assert set(found) == {"majority", "untrained", "full", "lora", "prefix", "prompt", "head"}
    assert all(result["status"] == "done" for _, result in found.values())
    assert found["full"][1]["splits"]["test"]["accuracy"] > 0.6  # chance is .26
    assert set(found["full"][1]["splits"]["test"]) == {"rows", "loss", "accuracy"}
    rows = table(folder / "out" / "results.csv")
    assert len(rows) == 2 * len(found)
    assert all(row["accuracy"] and row["loss"] and not row["macro_f1"] for row in rows)
    summary = table(folder / "out" / "summary.csv")
    assert all(row["accuracy_rows_low"] and not row["macro_f1_rows_low"] for row in summary)
    assert all(row["p"] for row in summary if row["variant"] != "full")
    page = (folder / "out" / "report.html").read_text()
    assert "Macro" not in page and "Confusion" not in page and 'id="classes"' not in page
    readme = (found["full"][0] / "adapter" / "README.md").read_text()
    assert "accuracy" in readme


def test_the_majority_is_the_most_frequent_position_that_a_row_has(folder: Path) -> None:
    path, _ = runs(folder)["majority"]
    counts = np.bincount([LETTERS.index(one["answerKey"]) for one in records(90, 1)], minlength=5)
    tensors = load_file(path / "predictions" / "test.safetensors")
    for row, size in zip(tensors["logits"], [3, 4, 5] * 15, strict=True):
        assert np.isneginf(row[size:]).all() and row.argmax() == counts[:size].argmax()


def test_predict_gives_label_text_and_a_probability_for_each_choice(folder: Path, tmp_path: Path) -> None:
    path, result = runs(folder)["full"]
    out = io.StringIO()
    assert predict.predict(path, folder / "test.jsonl", out) == 45
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert list(rows[0])[-8:] == ["answer", "answer_text", "probability", *(f"probability_{n}" for n in LETTERS)]
    right = 0
    for row, record in zip(rows, records(45, 3), strict=True):
        choices = {one["label"]: one["text"] for one in record["question"]["choices"]}
        numbers = [row[f"probability_{n}"] for n in LETTERS]
        assert [bool(n) for n in numbers] == [n in choices for n in LETTERS]
        assert sum(float(n) for n in numbers if n) == pytest.approx(1, abs=1e-5)
        assert row["answer_text"] == choices[row["answer"]]
        assert float(row["probability"]) == max(float(n) for n in numbers if n)
        right += row["answer"] == record["answerKey"]
    assert right / 45 == pytest.approx(result["splits"]["test"]["accuracy"])
    # columns instead of objects, without the answer
    new = tmp_path / "new.csv"
    new.write_text("question,A,B,C,fact1\nthe plot,bad,not good,,a\na film,good,bad,was,\n")
    out = io.StringIO()
    assert predict.predict(path, new, out) == 2
    assert next(csv.DictReader(io.StringIO(out.getvalue())))["probability_C"] == ""
    six = tmp_path / "six.jsonl"
    six.write_text(json.dumps(official("the plot", list("abcdef"), "A", "ABCDEF")))
    with pytest.raises(InputError, match=r"six.jsonl: row 1: 6 choices, but there are columns for the 5"):
        predict.predict(path, six, io.StringIO())


def test_evaluate_scores_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, result = runs(folder)["prefix"]
    found = evaluate.evaluate(path, folder / "test.jsonl")
    assert found["accuracy"] == pytest.approx(result["splits"]["test"]["accuracy"])
    assert found["loss"] == pytest.approx(result["splits"]["test"]["loss"], rel=1e-4)
    tables.evaluated(found)
    assert "accuracy" in capsys.readouterr().out


def test_check_shows_rows_as_people_read_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check.check(folder / "study.toml", ["task.context=fact1"])
    tables.checked(report)
    printed = capsys.readouterr().out
    first = records(90, 1)[0]["question"]["choices"]
    assert f"(A) {first[0]['text']} (B)" in printed and "label E" in printed
    assert estimate(folder / "study.toml").seconds > 0


@pytest.mark.parametrize("to", ["merged", "peft", "onnx"])
def test_a_run_is_exported_and_held_to_its_logits(folder: Path, to: str, tmp_path: Path) -> None:
    done = export(runs(folder)["lora"][0], to, tmp_path / to)
    assert done.rows > 8 and done.difference < 1e-4 and done.checked_on == "rows of test"


def test_wrong_input_stops_before_anything_is_trained(folder: Path) -> None:
    (folder / "wrong.jsonl").write_text(
        "\n".join(json.dumps(one) for one in [*records(9, 1), official("a", ["x", "y"], "E")])
    )
    with pytest.raises(InputError) as caught:
        compare.compare(folder / "study.toml", ["data.train=wrong.jsonl"])
    (line,) = caught.value.lines
    assert line.endswith(
        "data.train: wrong.jsonl: row 10: answer 'E' (column 'answerKey') is no choice of its row, which has 'A', 'B'; "
        "correct or remove the row"
    )
