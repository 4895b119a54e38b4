"""Several test sets: read, scored and told beside the one that methods are ranked on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoderlab.cli import tables
from encoderlab.config import load
from encoderlab.core.errors import InputError
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import load_splits
from encoderlab.results import collect
from encoderlab.study import check, compare

STUDY = """
model = {model}
seeds = [0]
out = "out"
[data]
train = "train.csv"
test = "test.csv"
[data.other_tests]
far = "far.csv"
cut = {{ fraction = 0.1 }}
[train]
epochs = 1
max_length = 16
[search]
candidates = 1
[[method]]
name = "lora"
"""


def write_rows(path: Path, count: int, seed: int, labels: str = "ab") -> None:
    draw = np.random.default_rng(seed)
    words = [" ".join(draw.choice("good bad film the plot".split(), 5)) for _ in range(count)]
    lines = [f"{text} {i},{labels[i % len(labels)]}" for i, text in enumerate(words)]
    path.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Path:
    for seed, (name, count) in enumerate({"train": 60, "test": 20, "far": 30}.items()):
        write_rows(tmp_path / f"{name}.csv", count, seed)
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(model=json.dumps(str(tiny_model("bert")))), encoding="utf-8")
    return file


def test_every_set_has_its_rows_its_predictions_and_its_place_in_the_tables(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = compare.compare(path).parent
    with (out / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"]: row["rows"] for row in rows} == {"validation": "6", "test": "20", "far": "30", "cut": "6"}
    with (out / "summary.csv").open(encoding="utf-8") as file:
        summary = {row["variant"]: row for row in csv.DictReader(file)}
    mine = {row["split"]: row for row in rows if row["variant"] == "lora"}
    for name in ("far", "cut"):
        for key in ("accuracy", "macro_f1"):
            assert float(summary["lora"][f"{name}_{key}"]) == pytest.approx(float(mine[name][key]))
        low, high = (float(summary["lora"][f"{name}_accuracy_rows_{end}"]) for end in ("low", "high"))
        assert low <= float(mine[name]["accuracy"]) <= high
    page = (out / "report.html").read_text(encoding="utf-8")
    tables.summary(collect.read_table(out))
    printed = capsys.readouterr().out.splitlines()
    assert "far" in printed[0] and any(f"{100 * float(mine['far']['accuracy']):.1f} %" in line for line in printed)
    assert "Its accuracy on other test sets: far " in page
    assert "far: accuracy, %" in page and "cut: macro F1, %" in page
    for result in map(lambda p: json.loads(p.read_text()), out.glob("runs/*/result.json")):
        for name, split in result["splits"].items():
            found = load_file(out / "runs" / result["id"] / "predictions" / f"{name}.safetensors")
            assert len(found["labels"]) == split["rows"]
            assert (found["logits"].argmax(1) == found["labels"]).mean() == pytest.approx(split["accuracy"])


def test_a_set_more_changes_no_row_of_the_others(path: Path) -> None:
    one = DataConfig(train=Source(path="train.csv"), test=Source(path="test.csv"))
    more = DataConfig(train=one.train, test=one.test, other_tests={"far": Source(path="far.csv")})
    first, second = (load_splits(c, text=["text"], label="label", base=path.parent) for c in (one, more))
    for (name, rows), (_, again) in zip(first.items(), second.items(), strict=False):
        assert rows.fingerprint == again.fingerprint, name


def test_rows_that_a_set_shares_with_train_are_told(path: Path) -> None:
    (path.parent / "far.csv").write_text((path.parent / "train.csv").read_text())
    report = check.check(path)
    assert any(line.startswith("data.other_tests.far: the text of ") for line in report.warnings)
    assert report.splits["far"].rows == 60


@pytest.mark.parametrize(
    "override, said",
    [
        ("data.other_tests.far.rows=0", "expected a positive whole number, got 0"),
        ("data.other_tests.far.path=farr.csv", "did you mean 'far.csv'?"),
        ("data.other_tests.fra.rows=1", "other_tests.fra.rows; did you mean 'data.other_tests.far.rows'?"),
        ("data.validation.path=far.csv", "the same data as data.other_tests.far"),
    ],
)  # fmt: skip
def test_what_can_be_wrong_with_a_set(path: Path, override: str, said: str) -> None:
    overrides = [override, *(["data.validation.fraction=0.1"] if "validation" not in override else [])]
    with pytest.raises(InputError) as error:
        load.load(path, overrides)
    (line,) = error.value.lines
    assert said in line


def test_more_that_can_be_wrong_with_a_set(path: Path) -> None:
    text = path.read_text()
    for broken, said in (
        ("test = 5\n", "data.other_tests.test: expected a file name"),
        ('train = "far.csv"\n', "data.other_tests.train: expected another name"),
        ('"a b" = "far.csv"\n', "data.other_tests.a b: expected another name"),
    ):
        path.write_text(text.replace("[data.other_tests]\n", "[data.other_tests]\n" + broken))
        with pytest.raises(InputError, match=said):
            load.load(path)
    path.write_text(text.replace('[data.other_tests]\nfar = "far.csv"\ncut = { fraction = 0.1 }', "other_tests = 3"))
    with pytest.raises(InputError, match="data.other_tests: expected a table of names, got 3"):
        load.load(path)
    write_rows(path.parent / "far.csv", 9, 3, "abx")
    path.write_text(text)
    with pytest.raises(InputError, match="data.other_tests.far: label 'x'"):
        check.check(path)
