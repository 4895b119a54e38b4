"""Which test rows belong together: the `group` column, documents of a CoNLL file, and pairs that share a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import Splits, load_splits
from encoderlab.tasks.token_classification import TokenClassification

AUTHORS = ("ann", "bob", "cy")


def write(path: Path, count: int, authors: Sequence[str] = (), **columns: Sequence[str]) -> None:
    columns = {"author": [authors[i % len(authors)] for i in range(count)], **columns} if authors else columns
    lines = [",".join(["text", "label", *columns])]
    lines += [
        ",".join([f"{path.stem} {i}", "ab"[i % 2], *(cells[i] for cells in columns.values())]) for i in range(count)
    ]
    path.write_text("\n".join(lines) + "\n")


def load(folder: Path, group: str | None = "author", text: Sequence[str] = ("text",), **sources: Any) -> Splits:
    config = DataConfig(train=Source(path="train.csv"), group=group, **sources)
    return load_splits(config, text=text, label="label", base=folder)


def said(splits: Splits) -> list[str]:
    return [line for line in splits.warnings if "group" in line or "independent" in line or "right column" in line]


def test_rows_with_the_same_value_are_a_group(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 30)
    write(tmp_path / "test.csv", 9, AUTHORS)
    splits = load(tmp_path, test=Source(path="test.csv"))
    assert splits.groups["test"].by == "author" and splits.groups["test"].count == 3
    assert splits.groups["test"].numbers.tolist() == [0, 1, 2] * 3
    assert said(splits) == []


def test_a_group_changes_no_row(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 60, AUTHORS)
    with_groups, without = load(tmp_path), load(tmp_path, None)
    for (name, rows), (_, same) in zip(with_groups.items(), without.items(), strict=True):
        assert rows.fingerprint == same.fingerprint and rows.index.tolist() == same.index.tolist(), name
    assert without.groups == {}


def test_rows_that_are_cut_and_sampled_keep_their_groups(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    authors = [f"a{i}" for i in draw.integers(0, 12, 200)]
    write(tmp_path / "train.csv", 200, authors)
    write(tmp_path / "far.csv", 200, authors)
    splits = load(
        tmp_path,
        test=Source(fraction=0.3, rows=40),
        other_tests={"far": Source(path="far.csv", part=(0.2, 0.8), rows=50)},
    )
    for name, rows in (("test", splits.test), ("far", splits.others["far"])):
        wanted = [authors[i] for i in rows.index]
        numbers = splits.groups[name].numbers.tolist()
        assert len(numbers) == len(rows) == len(wanted)
        assert len(set(zip(numbers, wanted, strict=True))) == len(set(numbers)) == len(set(wanted))
    assert any("12 of its 12 groups (column 'author') also occur in train" in line for line in said(splits))


def test_an_empty_cell_is_a_group_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 30)
    write(tmp_path / "test.csv", 6, ["ann", "", "bob", "", "ann", "bob"])
    splits = load(tmp_path, test=Source(path="test.csv"))
    assert splits.groups["test"].numbers.tolist() == [0, 1, 2, 3, 0, 2]
    assert said(splits) == ["data.test: 2 of 6 rows have an empty column 'author'; each is a group of its own"]


def test_numbers_are_groups_too(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 30)
    rows = [f'{{"text": "t {i}", "label": "{"ab"[i % 2]}", "author": {i // 4}}}' for i in range(12)]
    (tmp_path / "test.jsonl").write_text("\n".join(rows))
    assert load(tmp_path, test=Source(path="test.jsonl")).groups["test"].numbers.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_missing_column_is_one_line_with_the_columns(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 30)
    write(tmp_path / "test.csv", 9, AUTHORS)
    with pytest.raises(InputError) as error:
        load(tmp_path, "autor", test=Source(path="test.csv"))
    (line,) = error.value.lines
    assert line.startswith("data.test: group: ") and "no column 'autor'; the columns are " in line
    assert "did you mean 'author'?" in line
    with pytest.raises(InputError, match=r"^data\.train: group: .*no column 'author'"):
        load(tmp_path)  # test is cut from train


def test_a_cell_that_is_a_list_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 30)
    rows = [f'{{"text": "t {i}", "label": "{"ab"[i % 2]}", "author": ["x"]}}' for i in range(4)]
    (tmp_path / "test.jsonl").write_text("\n".join(rows))
    with pytest.raises(InputError, match=r"row 1, column 'author': expected a text, got list"):
        load(tmp_path, test=Source(path="test.jsonl"))


def test_a_single_group_is_refused_and_single_rows_are_doubted(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 30)
    write(tmp_path / "test.csv", 8, ["ann"])
    with pytest.raises(
        InputError, match=r"data\.group: all 8 rows of data\.test have the value 'ann' in column 'author'"
    ):
        load(tmp_path, test=Source(path="test.csv"))
    write(tmp_path / "test.csv", 8, [f"a{i}" for i in range(8)])
    splits = load(tmp_path, test=Source(path="test.csv"))
    assert splits.groups == {}
    assert said(splits) == [
        "data.test: no two of its 8 rows have the same value in column 'author'; is it the right column?"
    ]
    with pytest.raises(InputError, match=r"data\.group: is empty; name a column"):
        load(tmp_path, "", test=Source(path="test.csv"))


def test_a_further_test_set_without_the_column_has_independent_rows(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 30)
    write(tmp_path / "test.csv", 9, AUTHORS)
    write(tmp_path / "far.csv", 9)
    write(tmp_path / "one.csv", 9, ["ann"])
    others = {"far": Source(path="far.csv"), "one": Source(path="one.csv")}
    splits = load(tmp_path, test=Source(path="test.csv"), other_tests=others)
    assert list(splits.groups) == ["test"]
    assert said(splits) == [
        "data.other_tests.far: no column 'author', so its rows count as independent",
        "all 9 rows of data.other_tests.one have the value 'ann' in column 'author', so they count as independent",
    ]


DOCUMENTS = "-DOCSTART- -X- O\n\nEU B-ORG\nrejects O\n\nPeter B-PER\n\n-DOCSTART- -X- O\n\nBlackburn B-PER\nis O\n\n"


def test_documents_of_a_conll_file_are_groups(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("a O\nb B-PER\n\n" * 20)
    (tmp_path / "test.conll").write_text(DOCUMENTS)
    task, sources = TokenClassification(), {"train": "train.conll", "test": "test.conll"}

    def splits(**more: Any) -> Splits:
        config = DataConfig(**{name: Source(path=path) for name, path in sources.items()}, **more)
        return load_splits(
            config,
            text=task.text_columns,
            label=task.label_column,
            base=tmp_path,
            prepare=lambda rows: task.prepare(rows, labelled=True),
            stratify=False,
        )

    for more in ({}, {"group": "document"}):
        groups = splits(**more).groups
        assert {name: (one.by, one.numbers.tolist()) for name, one in groups.items()} == {
            "test": ("document", [0, 0, 1])
        }
    (tmp_path / "test.conll").write_text(DOCUMENTS.replace("\n-DOCSTART- -X- O\n\nBl", "\nBl"))
    assert splits().groups == {}  # a single document


PREMISE = "a man of {} years plays the guitar"


def pairs(folder: Path, columns: Mapping[str, Sequence[str]], group: str | None = None) -> list[str]:
    """What is said of a test set with these two columns of texts."""
    one, two = columns.values()
    count = len(one)
    write(folder / "train.csv", 30, (), one=["x"] * 30, two=["y"] * 30)
    write(folder / "test.csv", count, (), one=one, two=two)
    splits = load(folder, group, ("one", "two"), test=Source(path="test.csv"))
    return [line for line in splits.warnings if "independent" in line]


def test_pairs_that_share_a_text_are_said_not_to_be_independent(tmp_path: Path) -> None:
    premises = [PREMISE.format(i // 3) for i in range(90)]
    hypotheses = [f"the man number {i} is old or so" for i in range(90)]
    (line,) = pairs(tmp_path, {"one": premises, "two": hypotheses})
    assert line == (
        "data.test: 100% of the rows share their 'one' with another row, so they are not independent and the intervals "
        "are too narrow; set data.group to the column that they share"
    )
    assert len(pairs(tmp_path, {"one": hypotheses, "two": premises})) == 1
    assert pairs(tmp_path, {"one": premises, "two": hypotheses}, "one") == []


@pytest.mark.parametrize(
    "one",
    [
        [PREMISE.format(i) for i in range(90)],  # all different
        [PREMISE.format(max(i, 46)) for i in range(90)],  # one text is repeated in half of the rows
        ["food", "service", "price"] * 30,  # topics
        [PREMISE.format(i % 15) for i in range(90)],  # a few questions
        [PREMISE.format(i // 2 if i < 44 else i) for i in range(90)],  # fewer than half of the rows
    ],
)
def test_ordinary_pairs_are_not_suspected(tmp_path: Path, one: list[str]) -> None:
    assert pairs(tmp_path, {"one": one, "two": [f"the text number {i} is old or so" for i in range(90)]}) == []


def test_the_premises_of_multinli_are_found(shared: Path) -> None:
    folder = shared / "data" / "mnli"
    config = DataConfig(
        train=Source(path="train.jsonl.gz", rows=2000),
        validation=Source(fraction=0.1),
        test=Source(path="dev_matched.jsonl.gz"),
    )
    splits = load_splits(config, text=["premise", "hypothesis"], label="label", base=folder)
    assert [line for line in splits.warnings if "'premise' with another row, so they are not independent" in line]
