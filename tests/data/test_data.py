"""The [data] section, what becomes train, validation and test, and what is said about it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from encoderlab.core.errors import InputError
from encoderlab.data.labels import class_order
from encoderlab.data.prepare import prepare
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows, example_rows
from encoderlab.data.source import DataConfig, Source
from encoderlab.data.splits import Splits, load_splits
from fixtures_data import write_jsonl


def test_the_data_section_reports_every_problem_at_once(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nx,1\n")
    (tmp_path / "notes.docx").write_text("x")
    config = DataConfig(
        train=Source(path="trian.csv", rows=0, revision="main"),
        validation=Source(fraction=1.5, seed=-1),
        test=Source(path="notes.docx", hub="imdb"),
    )
    assert [str(problem) for problem in config.problems("data", tmp_path)] == [
        f"data.train.path: no such file: {tmp_path / 'trian.csv'}; did you mean 'train.csv'?",
        "data.train.rows: expected a positive whole number, got 0",
        "data.train.revision: only a hub data set has a revision; remove it, or name the data set with `hub`",
        "data.validation.fraction: expected a number between 0 and 1, both excluded, got 1.5",
        "data.validation.seed: expected a whole number from 0 up, got -1",
        "data.test: expected exactly one of path, hub, fraction, got path and hub",
        f"data.test.path: {tmp_path / 'notes.docx'} has no known ending; expected one of .csv, .tsv, .json, .jsonl, "
        ".conll, .parquet, .arrow, .feather (all but .parquet, .arrow, .feather also with .gz)",
    ]


def test_more_that_the_data_section_can_get_wrong(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nx,1\n")
    train = Source(path="train.csv")

    def problems(**sources: Any) -> str:
        given: dict[str, Any] = {"train": train, **sources}
        return "\n".join(map(str, DataConfig(**given).problems("data", tmp_path)))

    assert problems() == ""
    assert problems(train=Source(fraction=0.5)) == "data.train: expected exactly one of path, hub, got fraction"
    assert problems(test=Source()) == "data.test: expected exactly one of path, hub, fraction, got none of them"
    assert "validation and test together cut 1 of the training rows" in problems(test=Source(fraction=0.9))
    assert "data.train.split: only a hub data set" in problems(train=Source(path="train.csv", split="test"))
    assert "data.train.part: expected [from, to] with 0 <= from < to <= 1" in problems(
        train=Source(path="train.csv", part=(0.5, 0.5))
    )
    assert "data.test.part: a share of train has no parts" in problems(test=Source(fraction=0.1, part=(0, 1)))
    assert "is a folder that `datasets` did not save" in problems(test=Source(path="."))
    assert "data.test: the name of the source is empty" in problems(test=Source(hub=""))


def numbered(count: int, classes: dict[str, int] | None = None) -> list[dict]:
    """`count` rows with distinct texts, in cycles of the classes: {"a": 2, "b": 1} is a, a, b, a, a, b, ..."""
    cycle = [name for name, times in (classes or {"a": 1, "b": 1}).items() for _ in range(times)]
    return [{"text": f"text {i}", "label": cycle[i % len(cycle)]} for i in range(count)]


def load(base: Path, train: list[dict], test: list[dict] | None = None, /, **sources: Any) -> Splits:
    config: dict[str, Any] = {"train": Source(path="train.jsonl"), "test": Source(path="test.jsonl")}
    write_jsonl(base / "train.jsonl", train)
    if test is None:
        del config["test"]
    else:
        write_jsonl(base / "test.jsonl", test)
    return load_splits(DataConfig(**config | sources), text=["text"], label="label", base=base)


def test_default_cuts_are_disjoint_stratified_and_complete(tmp_path: Path) -> None:
    splits = load(tmp_path, numbered(300, {"a": 2, "b": 1}))
    assert [len(rows) for _, rows in splits.items()] == [210, 30, 60]
    for _, rows in splits.items():
        counts = Counter(rows.columns["label"])
        assert counts["a"] == 2 * counts["b"]
        assert rows.index.tolist() == sorted(rows.index)
        assert rows.columns["text"] == [f"text {i}" for i in rows.index]
    assert sorted(i for _, rows in splits.items() for i in rows.index) == list(range(300))
    assert splits.warnings == ()


def test_parts_of_a_file_make_a_whole_and_share_no_row(tmp_path: Path) -> None:
    held = write_jsonl(tmp_path / "held.jsonl", numbered(11))
    halves = [Source(path=held.name, part=(0, 0.5)), Source(path=held.name, part=(0.5, 1))]
    first, again = (load(tmp_path, numbered(30), validation=halves[0], test=halves[1]) for _ in range(2))
    assert len(first.validation) == 6 and len(first.test) == 5  # half of 11, rounded to the even one
    assert sorted([*first.validation.index, *first.test.index]) == list(range(11))
    assert first.test.fingerprint == again.test.fingerprint
    both = {"validation": Source(path=held.name, part=(0, 0.6)), "test": halves[1]}
    with pytest.raises(InputError, match="data.validation.path: the same data as data.test"):
        load(tmp_path, numbered(30), **both)
    with pytest.raises(InputError, match=r"data.test: part = \[0.0, 0.01\] of the 11 rows of held"):
        load(tmp_path, numbered(30), test=Source(path=held.name, part=(0.0, 0.01)))


def test_cuts_and_samples_depend_on_their_seed_alone(tmp_path: Path) -> None:
    records = numbered(200)

    def indices(seed: int) -> list[list[int]]:
        train = Source(path="train.jsonl", rows=50, seed=seed)
        splits = load(tmp_path, records, train=train, test=Source(fraction=0.2, seed=seed))
        return [rows.index.tolist() for _, rows in splits.items()]

    np.random.seed(1)
    first = indices(0)
    np.random.seed(2)
    assert indices(0) == first
    train, _, test = indices(1)
    assert train != first[0] and test != first[2]


def test_a_sample_keeps_proportions_order_and_every_class(tmp_path: Path) -> None:
    records = numbered(1000, {"a": 90, "b": 9, "c": 1})
    splits = load(tmp_path, records, train=Source(path="train.jsonl", rows=200))
    used = [*splits.train.columns["label"], *splits.validation.columns["label"]]
    assert Counter(used) == {"a": 180, "b": 18, "c": 2}
    assert splits.train.index.tolist() == sorted(splits.train.index)
    assert len(splits.validation) == 20  # of the rows in use
    few = load(tmp_path, records, train=Source(path="train.jsonl", rows=20))
    used = [*few.train.columns["label"], *few.validation.columns["label"]]
    assert Counter(used) == {"a": 18, "b": 1, "c": 1}  # in proportion, c would have 0.2


def test_a_cut_leaves_the_last_row_of_a_class_in_train(tmp_path: Path) -> None:
    records = [*numbered(20), {"text": "the only one", "label": "rare"}]
    for seed in range(5):
        splits = load(tmp_path, records, test=Source(fraction=0.6, seed=seed), validation=Source(fraction=0.3))
        assert splits.train.columns["label"].count("rare") == 1


def test_asking_for_more_rows_than_there_are_takes_all(tmp_path: Path) -> None:
    splits = load(tmp_path, numbered(10), numbered(4), test=Source(path="test.jsonl", rows=9))
    assert len(splits.test) == 4
    assert "data.test: rows = 9, but there are 4; all of them are used" in splits.warnings


def test_a_fraction_of_too_few_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.validation: fraction = 0.1 of the 4 rows of train.jsonl gives no row"):
        load(tmp_path, numbered(4))


@pytest.mark.parametrize(
    ("train_labels", "test_labels", "names"),
    [
        ([0, 1], ["0", "1"], ["0", "1"]),
        ([10, 9], [10.0, 9.0], ["9", "10"]),
        ([1, -2], ["1.0", "-2.00"], ["-2", "1"]),
        ([0, 1.0], ["-0.0", "1.0"], ["0", "1"]),
        (["1.5", "2"], ["1.5", "2.0"], ["1.5", "2"]),
        ([True, False], ["True", "FALSE"], ["false", "true"]),
        (["b ", "A"], ["b", " A"], ["A", "b"]),
    ],
)
def test_the_same_label_matches_whatever_its_type(train_labels, test_labels, names: list[str], tmp_path: Path) -> None:
    train = [{"text": f"x{i}", "label": label} for i, label in enumerate(train_labels * 5)]
    test = [{"text": f"y{i}", "label": label} for i, label in enumerate(test_labels)]
    splits = load(tmp_path, train, test)
    assert class_order(splits.train.columns["label"]) == class_order(splits.test.columns["label"]) == names


@pytest.mark.parametrize("label", [0.5, [1], {"a": 1}])
def test_what_is_no_class_is_an_error_with_its_row(label: object, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"data.train: train.jsonl: row 11, column 'label': .* is not a class: expected"
    ):
        load(tmp_path, [*numbered(10), {"text": "x", "label": label}])


def test_unlabelled_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    unlabelled = [None, "", "  ", float("nan")]
    records = [*numbered(20), *({"text": f"no label {i}", "label": label} for i, label in enumerate(unlabelled))]
    splits = load(tmp_path, records[::-1], numbered(4))
    used = [i for rows in (splits.train, splits.validation) for i in rows.index]
    assert sorted(used) == list(range(4, 24))
    assert "train.jsonl: 4 of 24 rows are unlabelled and were dropped (4 empty)" in splits.warnings


def test_a_test_file_without_labels_is_an_error(tmp_path: Path) -> None:
    test = [{"text": "x", "label": -1}, {"text": "y", "label": None}]
    with pytest.raises(InputError, match=r"data.test: test.jsonl: none of its 2 rows has a label in column 'label'"):
        load(tmp_path, numbered(20), test)


def test_missing_columns_of_every_split_are_reported_at_once(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"text": "x", "labels": 1}])
    write_jsonl(tmp_path / "test.jsonl", [{"review": "x", "label": 1}])
    config = DataConfig(train=Source(path="train.jsonl"), test=Source(path="test.jsonl"))
    with pytest.raises(InputError) as caught:
        load_splits(config, text=["text"], label="label", base=tmp_path)
    assert caught.value.lines == (
        "data.train: train.jsonl: no column 'label'; the columns are 'text', 'labels'; did you mean 'labels'?",
        "data.test: test.jsonl: no column 'text'; the columns are 'review', 'label'",
    )


def test_empty_texts_are_counted_and_kept(tmp_path: Path) -> None:
    empty = [{"text": text, "label": "a"} for text in ("", "  ", None, float("nan"))]
    splits = load(tmp_path, numbered(20), [*numbered(4), *empty])
    assert len(splits.test) == 8 and splits.test.columns["text"][-2:] == ["", ""]
    assert "data.test: 4 of 8 rows have an empty text; they are kept" in splits.warnings


def test_texts_are_strings_whatever_the_file_holds(tmp_path: Path) -> None:
    # A lone surrogate is half an emoji: JSON can spell it, UTF-8 cannot.
    (tmp_path / "a.jsonl").write_text('{"text": 12, "label": 1}\n{"text": "\\ud83d!", "label": 0}\n')
    rows = prepare(read(Source(path="a.jsonl"), tmp_path), text=["text"], label="label")
    assert rows.columns["text"] == ["12", "?!"]
    write_jsonl(tmp_path / "a.jsonl", [{"text": ["a", "list"], "label": 1}])
    with pytest.raises(InputError, match=r"a.jsonl: row 1, column 'text': expected a text, got list"):
        prepare(read(Source(path="a.jsonl"), tmp_path), text=["text"], label="label")


def test_without_a_label_column_every_row_stays(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "label": None, "id": 7}, {"text": None}])
    rows = prepare(read(Source(path="a.jsonl"), tmp_path), text=["text"], label=None)
    assert rows.columns == {"text": ["x", ""]}


def test_texts_that_two_splits_share_are_counted(tmp_path: Path) -> None:
    shared = [{"text": " text\n 3 ", "label": "a"}, {"text": "text 4", "label": "a"}, {"text": "new", "label": "b"}]
    write_jsonl(tmp_path / "dev.jsonl", [*shared, {"text": "", "label": "a"}])
    test = [*shared[1:], {"text": "", "label": "a"}, {"text": "newer", "label": "b"}]  # an empty text is no leak
    splits = load(tmp_path, numbered(10), test, validation=Source(path="dev.jsonl"))
    remembered = "also occurs in train; a method that remembers it scores higher"
    others = ("empty text", "several labels")
    assert [line for line in splits.warnings if not any(other in line for other in others)] == [
        f"data.validation: the text of 2 of 4 rows (50.0 %) {remembered}",
        f"data.test: the text of 1 of 4 rows (25.0 %) {remembered}",
        "data.test: the text of 2 of 4 rows (50.0 %) also occurs in validation; epochs and learning rates are chosen "
        "on it",
    ]


@pytest.mark.parametrize("split, refused", [("train", True), ("extra", False)])
def test_validation_and_test_must_not_be_the_same_data(split: str, refused: bool, tmp_path: Path) -> None:
    part = Dataset.from_list([{"text": "x", "label": 0}])
    DatasetDict({"train": part, "extra": part}).save_to_disk(tmp_path / "folder")
    test = Source(path="folder", split="train", rows=100)
    validation = Source(path="./folder", split=split, rows=5, seed=3)
    problems = DataConfig(train=Source(hub="x"), validation=validation, test=test).problems("data", tmp_path)
    assert len(problems) == refused
    assert all(p.path == "data.validation.path" for p in problems)
    assert all(p.message.startswith("the same data as data.test; epochs and") for p in problems)
    hub = DataConfig(
        train=Source(hub="x"), validation=Source(hub="x", split=split), test=Source(hub="x", split="train")
    )
    problems = hub.problems("data", tmp_path)
    assert len(problems) == refused and all(p.path == "data.validation.hub" for p in problems)
    assert DataConfig(train=Source(hub="x")).problems("data", tmp_path) == []  # two cuts are not the same


def test_a_split_that_is_the_training_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    splits = load(tmp_path, numbered(20), test=Source(path="sub/../train.jsonl"))
    assert (
        "data.test is the same data as data.train: its scores measure memorization, not generalization"
        in splits.warnings
    )
    assert not any(line.startswith("data.validation is") for line in splits.warnings)


def test_the_fingerprint_is_of_the_content_and_equal_across_processes(tmp_path: Path) -> None:
    splits = load(tmp_path, numbered(50))
    fingerprint = splits.train.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    for seed in ("1", "2"):  # of Python's own string hash, which differs between processes
        code = (
            "from pathlib import Path; from encoderlab.data.source import DataConfig, Source;"
            "from encoderlab.data.splits import load_splits;"
            "config = DataConfig(train=Source(path='train.jsonl'));"
            "print(load_splits(config, text=['text'], label='label', base=Path()).train.fingerprint)"
        )
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == fingerprint, done.stderr
    assert splits.train.take(range(len(splits.train))).fingerprint == fingerprint
    for changed in (splits.train.take(range(34)), splits.train.take([1, 0, *range(2, len(splits.train))])):
        assert changed.fingerprint != fingerprint
    columns = dict(splits.train.columns)
    columns["text"] = ["changed", *columns["text"][1:]]
    assert Rows(columns, splits.train.origin, splits.train.index).fingerprint != fingerprint


def test_example_rows_show_each_class_on_one_line(tmp_path: Path) -> None:
    records = [{"a": "one\n two", "b": "x" * 40, "label": i % 2} for i in range(10)]
    write_jsonl(tmp_path / "a.jsonl", records)
    rows = prepare(read(Source(path="a.jsonl"), tmp_path), text=["a", "b"], label="label")
    excerpt = "one two | " + "x" * 9 + "…"
    assert example_rows(rows, "label", width=20) == [("0", excerpt), ("0", excerpt), ("1", excerpt), ("1", excerpt)]


def test_imdb_full_files(shared: Path) -> None:
    config = DataConfig(
        train=Source(path="train.jsonl.gz"),
        validation=Source(fraction=0.2),
        test=Source(path="test_5k.jsonl.gz"),
    )
    splits = load_splits(config, text=["text"], label="label", base=shared / "data" / "imdb")
    assert [len(rows) for _, rows in splits.items()] == [20_000, 5_000, 5_000]
    assert Counter(splits.train.columns["label"]) == {"0": 10_000, "1": 10_000}
    # 123 of the official test split of 25,000 are in train, 24 in this sample of it; the cut has taken 4 of these
    shared_with = dict(
        re.findall(r"data.test: the text of (\d+) of 5000 rows .* also occurs in (\w+)", "\n".join(splits.warnings))
    )
    assert shared_with == {"20": "train", "4": "validation"}


def test_mnli_pairs_with_string_labels_and_null_genres(shared: Path) -> None:
    source = Source(path="dev_matched.jsonl.gz", rows=300)
    everything = read(source, shared / "data" / "mnli")
    assert everything.columns["genre"].count(None) == 323
    config = DataConfig(train=source, test=Source(fraction=0.2, rows=100))
    splits = load_splits(config, text=["premise", "hypothesis"], label="label", base=shared / "data" / "mnli")
    assert list(splits.train.columns) == ["premise", "hypothesis", "label"]
    assert [len(rows) for _, rows in splits.items()] == [270, 30, 100]
    assert class_order(splits.train.columns["label"]) == ["contradiction", "entailment", "neutral"]


def test_validation_is_cut_from_the_rows_in_use(tmp_path: Path) -> None:
    """Who has 400 labels has none to validate on beside them."""
    records = [{"text": f"row {i}", "label": ("a", "b")[i % 2]} for i in range(5000)]
    train = Source(path="train.jsonl", rows=400)
    splits = load(tmp_path, records, train=train, validation=Source(fraction=0.2), test=Source(fraction=0.1))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (320, 80, 500)
    whole = load(tmp_path, records, validation=Source(fraction=0.2), test=Source(fraction=0.1))
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (3500, 1000, 500)
