"""Lists and objects that a text cell spells out: the same in every format and task."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.cells import as_list, as_value
from encoderlab.data.prepare import prepare
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows
from encoderlab.data.source import Source
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.tasks.multiple_choice import MultipleChoice
from encoderlab.tasks.token_classification import TokenClassification

WORDS = ["Mary", "don't", 'a "b"', ",", "é\n", "\\", "[", "None", "...", "New York"]


@pytest.mark.parametrize(
    "write", [json.dumps, repr, lambda words: str(np.array(words, dtype=object)), lambda w: repr(tuple(w))]
)
def test_a_list_comes_back_as_it_was_written(write: Any) -> None:
    assert as_list(write(WORDS)) == WORDS
    assert as_list(write(WORDS[:2])) == WORDS[:2]


@pytest.mark.parametrize(
    "cell, value",
    [
        ("[1 0 0 3]", [1, 0, 0, 3]),
        ("[ 1 10\n -100]", [1, 10, -100]),
        ("[1. 0. nan]", [1.0, 0.0, None]),
        ("[np.str_('a'), np.int64(1)]", ["a", 1]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("{'text': array(['a','b'], dtype=object), 'label': ['A', 'B']}", {"text": ["a", "b"], "label": ["A", "B"]}),
        ("[]", []),
        ("[ applause ]", "[ applause ]"),
        ("[Inaudible] he said, [laughs]", "[Inaudible] he said, [laughs]"),
        ("[ ... ]", "[ ... ]"),
        ("(a b)", "(a b)"),
        ("", ""),
        (None, None),
    ],
)
def test_other_forms_and_what_is_a_text(cell: Any, value: Any) -> None:
    assert as_value(cell) == value


@pytest.mark.parametrize(
    "cell", ["['a' ... 'b']", "[1 2 ... 5]", "['a', 'b", "['a' 'b', 'c']", "[B-PER, O]", "['a', b]"]
)
def test_a_list_that_cannot_be_read_is_no_text(cell: str) -> None:
    with pytest.raises(ValueError, match="looks like a list"):
        as_list(cell)


def test_depth_and_length_are_no_trouble() -> None:
    for cell in ("[" * 5000, "['a'," + "[" * 5000 + "]" * 5001, "['" + "\\'" * 50_000 + "']", "[" + "1" * 5000 + " 2]"):
        try:
            as_list(cell)
        except ValueError as error:
            assert len(str(error)) < 300


WRITERS = {
    "python.csv": lambda rows, path: _csv(path, [{k: repr(v) for k, v in row.items()} for row in rows]),
    "json.csv": lambda rows, path: _csv(path, [{k: json.dumps(v) for k, v in row.items()} for row in rows]),
    "numpy.csv": lambda rows, path: _csv(
        path, [{k: str(np.array(v, dtype=object)) for k, v in row.items()} for row in rows]
    ),
    "a.jsonl": lambda rows, path: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "a.parquet": lambda rows, path: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path),
}


def _csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("name", WRITERS)
def test_words_and_labels_are_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    rows = [{"tokens": ["Mary", "don't"], "ner_tags": ["B-PER", "O"]}, {"tokens": ["Paris"], "ner_tags": ["B-LOC"]}]
    WRITERS[name](rows, tmp_path / name)
    found = TokenClassification().prepare(read(Source(path=name), tmp_path), labelled=True)
    assert found.columns == {"words": [["Mary", "don't"], ["Paris"]], "labels": [["B-PER", "O"], ["B-LOC"]]}
    texts = MaskedLM(text="tokens").prepare(read(Source(path=name), tmp_path), labelled=False)
    assert texts.columns["text"] == ["Mary don't", "Paris"]


@pytest.mark.parametrize("name", WRITERS)
def test_choices_are_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    WRITERS[name]([{"choices": ["a", "it's"]}, {"choices": ["c", "d"]}], tmp_path / name)
    choices = read(Source(path=name), tmp_path).columns["choices"]
    rows = Rows({"question": ["q", "r"], "choices": choices, "answer": ["A", "1"]}, "here", np.arange(2))
    found = MultipleChoice().prepare(rows, labelled=True)
    assert found.columns["choices"] == [[("A", "a"), ("B", "it's")], [("A", "c"), ("B", "d")]]
    assert found.columns["answer"] == ["A", "B"]


def test_a_question_that_a_csv_spells_out_is_an_object() -> None:
    question = {"stem": "what", "choices": [{"text": "x", "label": "P"}, {"text": "y", "label": "Q"}]}
    for write in (json.dumps, repr):
        rows = Rows({"question": [write(question)], "answerKey": ["Q"]}, "here", np.arange(1))
        found = MultipleChoice().prepare(rows, labelled=True)
        assert found.columns["question"] == ["what"] and found.columns["answer"] == ["B"]


@pytest.mark.parametrize("name", WRITERS)
def test_several_labels_a_row_are_refused_by_name_in_every_format(name: str, tmp_path: Path) -> None:
    WRITERS[name]([{"label": ["pos", "x"]}, {"label": ["neg"]}], tmp_path / name)
    rows = read(Source(path=name), tmp_path)
    rows = Rows({**rows.columns, "text": ["a", "b"]}, name, rows.index)
    with pytest.raises(InputError, match=r"column 'label' has lists of labels, such as \['pos', 'x'\]: .*multi-label"):
        prepare(rows, text=["text"], label="label")
    WRITERS[name]([{"label": ["pos"]}, {"label": ["neg"]}], tmp_path / name)
    rows = Rows({**read(Source(path=name), tmp_path).columns, "text": ["a", "b"]}, name, rows.index)
    found = prepare(rows, text=["text"], label="label")
    assert found.columns["label"] == ["pos", "neg"] and "lists of one label each" in found.notes[0]


def test_lists_among_single_labels_are_refused() -> None:
    rows = Rows({"text": ["a", "b"], "label": ["['neg', 'x']", "neg"]}, "here", np.arange(2))
    with pytest.raises(InputError, match="multi-label"):
        prepare(rows, text=["text"], label="label")


OTHER_FORMS = [
    "{'O', 'B-PER'}",
    '{"O", "B-PER"}',
    "{O,B-PER}",
    "{0, 1}",
    "{0}",
    "{}",
    "frozenset({'O'})",
    "tensor([0, 1])",
    "tensor([0, 1], device='cuda:0')",
    "torch.tensor([0,\n 1])",
    "<tf.Tensor: shape=(2,), dtype=int32, numpy=array([0, 1], dtype=int32)>",
    "Series(['O'], dtype=object)",
    "deque(['O', 'B-PER'])",
    "dict_values(['O', 'B-PER'])",
    "Index(['O', 'B-PER'], dtype='object')",
    "0        O\n1    B-PER\ndtype: object",
    "0        O\n1    B-PER\nName: tags, dtype: object",
    "0    O\n      ..\n99   O\nLength: 100, dtype: object",
    "{'tags': ['O', 'B-PER']}",
    '{"B-PER": 1}',
]


@pytest.mark.parametrize("cell", OTHER_FORMS)
def test_what_is_printed_is_no_list_of_words_or_labels(cell: str) -> None:
    for words, labels in (("Ada sang", cell), (cell, "B-PER O")):
        rows = Rows({"tokens": ["Ada", words], "tags": ["O", labels]}, "here", np.arange(2))
        with pytest.raises(InputError, match=r"here: row 2: column .*looks like a list or an object") as error:
            TokenClassification().prepare(rows, labelled=True)
        assert len(error.value.lines) == 1
    rows = Rows({"text": ["a", "b"], "label": ["x", cell]}, "here", np.arange(2))
    with pytest.raises(InputError, match=r"column 'label' has lists or objects as labels, .*multi-label"):
        prepare(rows, text=["text"], label="label")


@pytest.mark.parametrize("cell", ["[neg, x]", "['neg', x]", "{'neg'}"])
def test_several_labels_in_other_brackets_are_refused(cell: str) -> None:
    rows = Rows({"text": ["a", "b"], "label": ["[pos]", cell]}, "here", np.arange(2))
    with pytest.raises(InputError, match="multi-label"):
        prepare(rows, text=["text"], label="label")


@pytest.mark.parametrize("cell", ["{user} likes {name}", "{user}", "set (a)", "f([a, b])", "a dtype: object", "(0, 1]"])
def test_texts_and_labels_with_brackets_stay(cell: str) -> None:
    rows = Rows({"tokens": [cell], "tags": [" ".join(["O"] * len(cell.split()))]}, "here", np.arange(1))
    assert TokenClassification().prepare(rows, labelled=True).columns["words"] == [cell.split()]
    rows = Rows({"text": ["a", "b"], "label": ["x", cell]}, "here", np.arange(2))
    assert prepare(rows, text=["text"], label="label").columns["label"] == ["x", cell]


@pytest.mark.parametrize("cell", ["O, B-PER", "O; B-PER; O", "O| O"])
def test_labels_that_end_with_commas_are_refused(cell: str) -> None:
    rows = Rows({"tokens": [" ".join(["w"] * len(cell.split()))], "tags": [cell]}, "here", np.arange(1))
    with pytest.raises(InputError, match=r"row 1: the labels of column 'tags' end with '.'.* as in"):
        TokenClassification().prepare(rows, labelled=True)


@pytest.mark.parametrize("cell", ["O|B-PER", "O,B-PER,I-PER", "B-PER;O"])
def test_several_labels_of_entities_in_one_are_refused(cell: str) -> None:
    rows = Rows({"tokens": ["Ada|sang"], "tags": [cell]}, "here", np.arange(1))
    with pytest.raises(InputError, match=r"here: row 1: '.*' in column 'tags' is several labels in one"):
        TokenClassification().prepare(rows, labelled=True)
