"""Multiple choice in files: every form a row can have, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import BertTokenizer

from encoderlab.core.errors import InputError
from encoderlab.data.splits import Splits
from encoderlab.tasks.multiple_choice import MultipleChoice
from fixtures_choices import TASK, official, prepared, raw, records

WANTED = {
    "question": ["the plot", "a film"],
    "choices": [[("A", "bad"), ("B", "good"), ("C", "very bad")], [("A", "was"), ("B", "not")]],
    "answer": ["B", "A"],
}
SHAPES: dict[str, dict[str, list]] = {
    "official": {
        "question": [
            {"stem": "the plot", "choices": [{"text": t, "label": n} for n, t in WANTED["choices"][0]]},
            {"stem": "a film", "choices": [{"text": t, "label": n} for n, t in WANTED["choices"][1]]},
        ],
        "answerKey": ["B", "A"],
    },
    "hub": {
        "question_stem": ["the plot", "a film"],
        "choices": [
            {"text": ["bad", "good", "very bad"], "label": ["A", "B", "C"]},
            {"text": ["was", "not"], "label": ["A", "B"]},
        ],
        "answerKey": ["B", "A"],
    },
    "lists": {
        "question": ["the plot", "a film"],
        "choices": [["bad", "good", "very bad"], ["was", "not"]],
        "answer": [1, 0],
    },
    "columns": {
        "question": ["the plot", "a film"],
        "A": ["bad", "was"],
        "B": ["good", "not"],
        "C": ["very bad", ""],
        "answer": ["B", "A"],
    },
    "endings": {
        "question": ["the plot", "a film"],
        "ending0": ["bad", "was"],
        "ending1": ["good", "not"],
        "ending2": ["very bad", None],
        "label": ["1", "0"],
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_files_of_every_shape_become_the_same_rows(shape: str) -> None:
    rows = TASK.prepare(raw(**SHAPES[shape]), labelled=True)
    assert dict(rows.columns) == WANTED
    assert dict(TASK.prepare(raw(**SHAPES[shape]), labelled=False).columns) == {
        k: WANTED[k] for k in ("question", "choices")
    }


def test_columns_can_be_named_and_a_context_follows_the_question(tiny_tokenizer: BertTokenizer) -> None:
    task = MultipleChoice(question="q", choices=("right", "wrong"), answer="key", context="fact")
    rows = task.prepare(
        raw(q=["the plot"], right=["good"], wrong=["bad"], key=["A"], fact=["a film"], answer=["C"]), labelled=True
    )
    assert rows.columns["choices"] == [[("A", "good"), ("B", "bad")]] and task.text_columns == (
        "question",
        "context",
        "choices",
    )
    tokenized = task.tokenize(rows, tiny_tokenizer, 32, ["A", "B"])
    words = [tiny_tokenizer.convert_ids_to_tokens(tokenized.ids[a:b].tolist()) for a, b in ((0, 8), (8, 16))]
    assert words[0] == ["[CLS]", "the", "plot", "a", "film", "[SEP]", "good", "[SEP]"]
    assert words[1] == ["[CLS]", "the", "plot", "a", "film", "[SEP]", "bad", "[SEP]"]
    # what a long row loses is the context's end, whatever the number of choices: one row was cut
    short = task.tokenize(rows, tiny_tokenizer, 7, ["A", "B"])
    assert tiny_tokenizer.convert_ids_to_tokens(short.ids[:7].tolist()) == [
        "[CLS]",
        "the",
        "plot",
        "a",
        "[SEP]",
        "good",
        "[SEP]",
    ]
    assert (short.rows_cut, short.tokens_lost) == (1, 2)


def test_labels_are_those_of_each_row_and_unlabelled_rows_are_dropped() -> None:
    texts = ["good", "bad", "film"]
    objects = [
        official("a", texts, "3", "123"),
        official("b", texts, "C"),
        official("c", texts, ""),
        official("d", texts, "-1"),
    ]
    rows = prepared(objects)
    assert rows.columns["answer"] == ["C", "C"] and rows.columns["question"] == ["a", "b"]
    assert rows.columns["choices"][0][2] == ("3", "film") and rows.index.tolist() == [0, 1]
    assert "2 of 4 rows are unlabelled and were dropped (1 empty, 1 -1)" in rows.notes[0]


def test_an_empty_choice_in_the_middle_keeps_the_letters_of_the_others() -> None:
    rows = TASK.prepare(raw(question=["a"], A=["good"], B=[" "], C=["bad"], answer=["C"]), labelled=True)
    assert rows.columns["choices"] == [[("A", "good"), ("C", "bad")]] and rows.columns["answer"] == ["B"]


OBJECTS = [{"text": "x", "label": "P"}, {"text": "y", "label": "Q"}]
BAD: list[tuple[dict[str, list], str]] = [
    (
        {"question": ["a"], "choices": [["x", "y"]], "answer": ["C"]},
        "made.jsonl: row 1: answer 'C' (column 'answer') is no choice of its row, which has 'A', 'B' (or numbers "
        "from 0); correct or remove the row",
    ),
    (
        {"question": ["a"], "choices": [{"text": ["x", "y"], "label": ["A", "B"]}], "answerKey": ["1"]},
        "made.jsonl: row 1: answer '1' (column 'answerKey') is no choice of its row, which has 'A', 'B'; correct or "
        "remove the row",
    ),
    (
        {"question": ["a", "b"], "choices": [["x", "y"], []], "answer": ["A", "A"]},
        "made.jsonl: row 2: no choices; expected two or more, or remove the row",
    ),
    (
        {"question": [{"stem": "a"}], "answerKey": ["A"]},
        "made.jsonl: no column with choices; expected 'choices' (lists), or 'A', 'B', ... (a text each), or name them "
        "with `choices` in [task]; the columns are 'question', 'answerKey'",
    ),
    (
        {"question": [{"stem": "a", "choices": ["x", "y"]}, {"stem": "b"}], "answer": ["A", "A"]},
        "made.jsonl: row 2: no choices; expected two or more, or remove the row",
    ),
    (
        {"question": ["a"], "choices": [["x", "y"]], "answer": ["²"]},
        "made.jsonl: row 1: answer '²' (column 'answer') is no choice of its row, which has 'A', 'B' (or numbers "
        "from 0); correct or remove the row",
    ),
    (  # the odd row alone is blamed
        {"question": ["a", "b", "c"], "choices": [["x", "y"], OBJECTS, ["x", "y"]], "answer": [1, 1, 0]},
        "made.jsonl: row 2: answer '1' (column 'answer') is no choice of its row, which has 'P', 'Q'; correct or "
        "remove the row",
    ),
    (
        {"question": ["a", "b"], "choices": [["x", "y", "z"], ["x", "y"]], "answer": [1, 2]},
        "made.jsonl: row 2: answer 2 (column 'answer') of 2 choices, and no row's answer is 0: answers count from 0; "
        "subtract 1 from each, or write letters (A, B, ...)",
    ),
    (
        {"question": ["a"], "choice1": ["x"], "choice2": ["y"], "choice3": [""], "answer": ["2"]},
        "made.jsonl: row 1: answer 2 (column 'answer') of 2 choices, and no row's answer is 0: answers count from 0; "
        "subtract 1 from each, or write letters (A, B, ...)",
    ),
    (
        {"question": ["a"], "A": ["x"], "B": [""], "answer": ["A"]},
        "made.jsonl: row 1: only one choice, 'x'; expected two or more, or remove the row",
    ),
    (
        {"question": ["a"], "choices": ["x, y"], "answer": ["A"]},
        "made.jsonl: row 1: choices are no list: expected texts, objects with text and label, or an object with lists "
        "text and label",
    ),
    (
        {"question": ["a"], "choices": [{"text": ["x", "y"], "label": ["A"]}], "answer": ["A"]},
        "made.jsonl: row 1: 2 choices, but 1 labels of choices; expected one for each",
    ),
    (
        {"question": ["a"], "choices": [{"text": ["x", "y"], "label": ["A", "A"]}], "answer": ["A"]},
        "made.jsonl: row 1: the labels of the choices are 'A', 'A'; expected different ones",
    ),
    (
        {"query": ["a"], "choices": [["x", "y"]], "answer": ["A"]},
        "made.jsonl: no column 'question' or 'question_stem'; name it with `question` in [task]; the columns are "
        "'query', 'choices', 'answer'",
    ),
    (
        {"question": ["a"], "answer": ["A"]},
        "made.jsonl: no column with choices; expected 'choices' (lists), or 'A', 'B', ... (a text each), or name them "
        "with `choices` in [task]; the columns are 'question', 'answer'",
    ),
    (
        {"question": ["a"], "choices": [["x", "y"]]},
        "made.jsonl: no column 'answerKey' or 'answer' or 'label'; name it with `answer` in [task]; the columns are "
        "'question', 'choices'",
    ),
]


@pytest.mark.parametrize("columns, line", BAD)
def test_wrong_rows_are_one_line_each(columns: dict[str, list], line: str) -> None:
    with pytest.raises(InputError) as caught:
        TASK.prepare(raw(**columns), labelled=True)
    assert caught.value.lines == (line,)


@pytest.mark.parametrize(
    "columns, warned",
    [
        ({"choices": [["x", "y", "z"]] * 3, "answer": [1, 2, 1]}, True),
        ({"choice1": ["x"] * 2, "choice2": ["y"] * 2, "choice3": ["z"] * 2, "answer": ["1", "2"]}, True),
        ({"choices": [["x", "y", "z"]] * 3, "answer": [1, 2, 0]}, False),
        ({"choices": [["x", "y", "z"]] * 2, "answer": ["B", "C"]}, False),
        ({"choices": [{"text": ["x", "y"], "label": ["1", "2"]}], "answer": ["1"]}, False),
    ],
)
def test_numbers_without_a_0_are_told(columns: dict[str, list], warned: bool) -> None:
    count = len(columns["answer"])
    rows = TASK.prepare(raw(question=["a"] * count, **columns), labelled=True)
    expected = (
        f"made.jsonl: none of the {count} answers that are numbers (column 'answer') is 0, and answers count from 0, 1 "
        "being the second choice; if these count from 1, subtract 1 from each, or write letters (A, B, ...)"
    )
    assert rows.notes == ((expected,) if warned else ())


def test_a_wrong_count_hides_no_other_problem() -> None:
    with pytest.raises(InputError) as caught:
        TASK.prepare(raw(question=["a"] * 4, choices=[["x", "y"]] * 4, answer=[2, "Q", 2, 7]), labelled=True)
    assert [line.split(": ")[1] for line in caught.value.lines] == ["row 1", "row 2", "row 4"]


def test_rows_of_one_file_may_differ_in_shape() -> None:
    inside = {"stem": "a", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}
    rows = TASK.prepare(
        raw(question=[inside, "b", {"stem": "c"}], choices=[None, ["x", "y"], OBJECTS], answer=["B", 1, "Q"]),
        labelled=True,
    )
    assert rows.columns["question"] == ["a", "b", "c"] and rows.columns["answer"] == ["B", "B", "B"]
    assert [[text for _, text in cell] for cell in rows.columns["choices"]] == [["x", "y"]] * 3


@pytest.mark.parametrize("columns", [{"choices": [["x", "y"]]}, {"A": ["x"], "B": ["y"]}])
def test_objects_with_a_stem_alone_have_their_choices_beside_them(columns: dict[str, list]) -> None:
    rows = TASK.prepare(raw(question=[{"stem": "a"}], **columns, answer=["B"]), labelled=True)
    assert dict(rows.columns) == {"question": ["a"], "choices": [[("A", "x"), ("B", "y")]], "answer": ["B"]}


def test_objects_of_texts_alone_are_choices_without_labels() -> None:
    rows = TASK.prepare(raw(question=["a"], choices=[[{"text": "x"}, {"text": "y"}]], answer=[0]), labelled=True)
    assert rows.columns["choices"] == [[("A", "x"), ("B", "y")]] and rows.columns["answer"] == ["A"]


def test_many_wrong_rows_are_counted_and_a_named_column_that_is_missing_is_named() -> None:
    with pytest.raises(InputError) as caught:
        prepared([official("a", ["x", "y"], "Q")] * 9)
    assert len(caught.value.lines) == 6 and caught.value.lines[5] == "made.jsonl: 4 more such rows"
    with pytest.raises(InputError, match="no column 'fact2'; the columns are .*did you mean 'fact1'"):
        prepared(records(2, 0), MultipleChoice(context="fact2"))


def test_the_section_itself() -> None:
    assert TASK.problems() == []
    assert [str(problem) for problem in MultipleChoice(choices=("A",)).problems()] == [
        "choices: expected two columns or more, or the name of one column with lists"
    ]
    (twice,) = MultipleChoice(choices=("A", "B"), answer="A").problems()
    assert "column 'A' is named for two purposes" in twice.message
    rows = prepared(records(6, 0))
    assert TASK.class_names(Splits(rows.take([0]), rows.take([1]), rows.take([2]))) == list("ABCDE")


def test_openbookqa_as_it_is_published(shared: Path) -> None:
    lines = (shared / "data" / "openbookqa" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    rows = prepared([json.loads(line) for line in lines], MultipleChoice(context="fact1"))
    assert len(rows) == 500 and rows.columns["answer"].count("A") == 129
    assert all(len(cell) == 4 for cell in rows.columns["choices"]) and all(rows.columns["context"])
