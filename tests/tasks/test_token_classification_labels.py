"""A label for every word in files: forms, what the labels are taken for, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.tasks import entities
from encoderlab.tasks.token_classification import TokenClassification
from fixtures_words import TAGS, TASK, rows_of


def test_entities_with_another_sign_are_refused() -> None:
    for labels in (["O", "B_PER", "I_PER"], ["O", "PER-B", "PER-I"]):
        rows = TASK.prepare(rows_of([["a", "b", "c"]], [labels]), labelled=True)
        with pytest.raises(InputError, match="would count as a separate type; write B- and I- in front"):
            TASK.class_names(Splits(rows, rows, rows))
    assert entities.other_sign(["O", "B-X", "B_PER", "I_PER"]) is None and entities.other_sign(["O", "B_PER"]) is None


@pytest.mark.parametrize(
    "words, labels, said",
    [
        ([["a", "b"]], [["O"]], "row 1: 2 words, but 1 labels (column 'ner_tags'); expected one for each word"),
        ([[]], [[]], "row 1: no words in column 'tokens'; remove the row"),
        ([["a"]], [None], "row 1: expected a list in column 'ner_tags', got None"),
        ([["a"], ["b"]], [["O"], [None]], "row 2: word 1 has no label (column 'ner_tags')"),
        ([["a", "b"]], [[-100, "-100"]], "here: none of its 1 rows has a labelled word"),
        ([["a"]], [[1.5]], "row 1: 1.5 is not a class"),
        ([3], [["O"]], "row 1: expected a list in column 'tokens', got 3"),
        ([[["a"]]], [["O"]], "row 1: expected a text, got list"),
    ],
)
def test_bad_rows_are_one_line(words: list, labels: list, said: str) -> None:
    with pytest.raises(InputError) as error:
        TASK.prepare(rows_of(words, labels), labelled=True)
    (line,) = error.value.lines
    assert said in line


def test_more_that_can_be_wrong(tiny_tokenizer) -> None:
    with pytest.raises(InputError, match="no column 'tokens' or 'words'; name it with `words`"):
        TASK.prepare(Rows({"text": ["a"]}, "here", np.arange(1)), labelled=False)
    with pytest.raises(InputError, match="no column 'tag'"):
        TokenClassification(labels="tag").prepare(rows_of([["a"]], [["O"]]), labelled=True)
    assert TokenClassification(words="x", labels="x").problems()
    same = TASK.prepare(rows_of([["a"]], [["O"]]), labelled=True)
    with pytest.raises(InputError, match="all words have the label 'O'"):
        TASK.class_names(Splits(same, same, same))
    other = TASK.prepare(rows_of([["a"]], [["B-ORG"]]), labelled=True)
    with pytest.raises(InputError, match="row 1: label 'B-ORG' is unknown to the model"):
        TASK.tokenize(other, tiny_tokenizer, 32, TAGS)
    assert TASK.class_names(Splits(same, other, same)) == ["O", "B-ORG"]
    book = TASK.prepare(rows_of([["a"], ["a"] * 10_001]), labelled=False)
    with pytest.raises(InputError, match="here: row 2: 10,001 words; expected at most 10,000: make a row of each"):
        TASK.tokenize(book, tiny_tokenizer, 32, TAGS)


def test_an_odd_label_does_not_change_what_the_others_mark() -> None:
    """Read as plain names, B-PER and I-PER would be two types, and the F1 another."""
    good = TASK.prepare(rows_of([["a", "b"]], [["B-PER", "I-PER"]]), labelled=True)
    test = TASK.prepare(rows_of([["a"], ["b", "c"]], [["O"], ["O", "B_LOC"]]), labelled=True)
    with pytest.raises(InputError) as error:
        TASK.class_names(Splits(good, good, test))
    assert error.value.lines == (
        "data.test: here: row 2: label 'B_LOC' marks no entity as the others do: expected O, or a label like 'B-PER'; "
        "correct it",
    )


@pytest.mark.parametrize(
    "labels, odd, said",
    [
        (
            ["O", "B-PER", "I-PER", "B-LOC"],
            [],
            "entity F1 (IOB2 labels of LOC, PER), scored as seqeval does by default",
        ),
        (
            ["O", "B-PER", "L-PER", "U-LOC"],
            [],
            "entity F1 (BILOU labels of LOC, PER), scored as seqeval does by default",
        ),
        (["O", "PER", "E-MAIL"], [], "entity F1 (IO labels of E-MAIL, PER)"),
        (
            ["O", *(f"B-{n}" for n in range(10))],
            [],
            "entity F1 (IOB2 labels of 0, 1, 2, 3, 4, 5, 6, 7 and 2 more), scored as seqeval does by default",
        ),
        (["DET", "NOUN"], [], "word accuracy (the labels mark no entities)"),
        (["O", "B-PER", "X", "B-"], ["X", "B-"], None),
        (["B-PER", "I-PER", "o"], ["o"], None),
    ],
)
def test_what_the_labels_are_taken_for(labels: list[str], odd: list[str], said: str | None) -> None:
    assert entities.odd(labels) == odd
    assert said is None or TASK.compared_by(labels) == said


def test_texts_and_json_are_lists_too() -> None:
    rows = TASK.prepare(rows_of(["a b", '["c", "d"]', "[ e"], ["O O", '["O", "B-A"]', "O O"]), labelled=True)
    assert rows.columns["words"] == [["a", "b"], ["c", "d"], ["[", "e"]]
    assert rows.columns["labels"][1] == ["O", "B-A"]
