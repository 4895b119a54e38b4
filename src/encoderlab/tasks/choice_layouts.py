"""Find the form in which a file writes questions with choices, from its rows and the section [task].

    question {"stem": "...", "choices": [{"text": "...", "label": "A"}, ...]}, answerKey    OpenBookQA, ARC: own JSONL
    question_stem or question, choices {"text": [...], "label": [...]}, answerKey           the same on the hub
    question, choices ["...", "..."], answer                                                lists of texts
    question, A, B, C, ..., answer                                                          one column per choice

A CSV file spells out lists and objects in its cells (`data.cells`). A choice without words does not count. Labels are
canonical, like those of classes; choices without labels are A, B, C, ...
Rows are read one by one, so that a file may mix these forms, and a wrong row is reported by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, final

from encoderlab.core.errors import InputError
from encoderlab.data.cells import as_value
from encoderlab.data.columns import column_problems
from encoderlab.data.delimited import shown
from encoderlab.data.labels import canonical_label
from encoderlab.data.rows import Rows, as_text

QUESTIONS = ("question", "question_stem")
ANSWERS = ("answerKey", "answer", "label")
COLUMN = re.compile(r"(?:[A-Z]|(?:choice|option|ending)[ _-]?(?:[A-Za-z]|\d))")


@final
@dataclass(frozen=True, kw_only=True)
class Layout:
    """The form of a file.

    rows: the rows of the file; if a question is an object, its stem is also a column of texts.
    question, context, answer: names of columns of `rows`.
    choices: returns the `Choices` of a row by its number, or raises ValueError if it does not have two or more.
    """

    rows: Rows
    question: str
    context: str | None
    answer: str
    choices: Callable[[int], Choices]

    def has_label(self, row: int, label: str) -> bool:
        """Return whether a choice of the row has this label."""
        try:
            return any(name == label for name, _ in self.choices(row).pairs)
        except ValueError:  # reported when the row is read
            return False


@final
@dataclass(frozen=True)
class Choices:
    """The choices of one row.

    pairs: (label, text) of each choice that has words.
    numbered: the choices have no labels in the file, so that the answer may be a number from 0.
    """

    pairs: list[tuple[str, str]]
    numbered: bool


def find(
    rows: Rows,
    question: str | None,
    choices: str | Sequence[str] | None,
    answer: str | None,
    context: str | None,
    *,
    labelled: bool,
) -> Layout:
    """Find the form of a file.

    Args:
        rows: the rows of the file.
        question: the column of questions as [task] names it; None to find it, as for the next three.
        choices: the column, or columns, of choices.
        answer: the column of answers.
        context: the column of contexts; None for no context.
        labelled: whether the rows must have answers.

    Raises:
        InputError: columns are missing.
    """
    several = [choices] if isinstance(choices, str) else list(choices or [])
    named = [name for name in (question, *several, context) if name] + ([answer] if answer and labelled else [])
    problems = column_problems(rows, named)
    rows = _spelled_out(rows)
    question = question or _first(rows, QUESTIONS, "question", problems)
    if labelled:
        answer = answer or _first(rows, ANSWERS, "answer", problems)
    nested = question in rows.columns and _are_objects(rows.columns[question])
    inside = nested and not several and any("choices" in cell for cell in rows.columns[question] if _is_object(cell))
    if not several and not inside:
        several = ["choices"] if "choices" in rows.columns else _one_column_each(rows)
        if not several:
            problems.append(
                f"{rows.origin}: no column with choices; expected 'choices' (lists), or 'A', 'B', ... (a text each), "
                f"or name them with `choices` in [task]; the columns are {shown(list(rows.columns))}"
            )
    if problems:
        raise InputError(*problems)
    columns = dict(rows.columns)
    if nested:
        objects, question = columns[question], f"{question}.stem"
        columns |= {question: [cell.get("stem") if _is_object(cell) else cell for cell in objects]}
        if inside:
            several = [question.removesuffix("stem") + "choices"]
            beside = columns.get("choices", [None] * len(rows))
            columns |= {
                several[0]: [
                    cell["choices"] if _is_object(cell) and "choices" in cell else other
                    for cell, other in zip(objects, beside, strict=True)
                ]
            }
    whole = several[0] if len(several) == 1 else None
    cells = columns[whole] if whole else list(zip(*(columns[name] for name in several), strict=True))
    labels = None if whole else _names(several)
    return Layout(
        rows=Rows(columns, rows.origin, rows.index, rows.notes),
        question=question,
        context=context,
        answer=answer or "",
        choices=lambda row: _choices(cells[row], labels),
    )


def _spelled_out(rows: Rows) -> Rows:
    """Parse the cells of columns in which every cell spells out an object."""

    def cells(column: list) -> list:
        given = [cell for cell in column if cell is not None and cell != ""]
        if not given or not all(isinstance(cell, str) and cell.lstrip().startswith("{") for cell in given):
            return column
        try:
            values = [as_value(cell) for cell in column]
        except ValueError:  # texts, or an error that is reported when the row is read
            return column
        return values if all(_is_object(cell) for cell in values if cell is not None and cell != "") else column

    return Rows({name: cells(column) for name, column in rows.columns.items()}, rows.origin, rows.index, rows.notes)


def letter(position: int) -> str:
    """Return A, B, ... Z for the positions 0 to 25, then numbers from 27."""
    return chr(ord("A") + position) if position < 26 else str(position + 1)


def _first(rows: Rows, names: Sequence[str], key: str, problems: list[str]) -> str:
    for name in names:
        if name in rows.columns:
            return name
    problems.append(
        f"{rows.origin}: no column {' or '.join(map(repr, names))}; name it with `{key}` in [task]; the columns are "
        f"{shown(list(rows.columns))}"
    )
    return ""


def _one_column_each(rows: Rows) -> list[str]:
    """Return the columns A, B, ... or choice1, choice2, ..., if there are two or more."""
    names = [name for name in rows.columns if isinstance(name, str) and COLUMN.fullmatch(name)]
    same = [name for name in names if len(name) == len(names[0]) and name[:-1] == names[0][:-1]]
    return sorted(same) if len(same) > 1 else []


def _names(columns: Sequence[str]) -> list[str]:
    """Return the labels of choices in separate columns: the last letters of their names, else A, B, ..."""
    ends = [name[-1].upper() for name in columns]
    lettered = all(COLUMN.fullmatch(name) and end.isalpha() for name, end in zip(columns, ends, strict=True))
    return ends if lettered and len(set(ends)) == len(ends) else [letter(i) for i in range(len(columns))]


def _is_object(cell: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(cell, Mapping)


def _are_objects(cells: Sequence[Any]) -> bool:
    return any(map(_is_object, cells))


def _choices(cell: Any, names: Sequence[str] | None) -> Choices:
    """Return the choices of a cell. `names` are the labels if each choice has a column."""
    texts, labels = _taken_apart(cell)
    default = [letter(i) for i in range(len(texts))]
    labels = names if names is not None else labels
    numbered = labels is None or (names is not None and names == default)
    labels = default if labels is None else labels
    if len(labels) != len(texts):
        raise ValueError(f"{len(texts)} choices, but {len(labels)} labels of choices; expected one for each")
    pairs = zip(map(canonical_label, labels), map(as_text, texts), strict=True)
    choices = [(label or "", text) for label, text in pairs if text.strip()]
    if not choices:
        raise ValueError("no choices; expected two or more, or remove the row")
    if len(choices) == 1:
        raise ValueError(f"only one choice, {choices[0][1]!r}; expected two or more, or remove the row")
    if len({label for label, _ in choices}) < len(choices) or not all(label for label, _ in choices):
        raise ValueError(
            f"the labels of the choices are {', '.join(repr(label) for label, _ in choices)}; expected different ones"
        )
    return Choices(choices, numbered)


def _taken_apart(cell: Any) -> tuple[Sequence[Any], Sequence[Any] | None]:
    """Return the texts, and the labels or None, of a cell in any of the forms above."""
    cell = as_value(cell)
    if isinstance(cell, Mapping):
        texts, labels = cell.get("text"), cell.get("label")
        if isinstance(texts, list) and (labels is None or isinstance(labels, list)):
            return texts, labels
    elif isinstance(cell, list | tuple):
        if cell and all(isinstance(choice, Mapping) for choice in cell):
            labels = [choice.get("label") for choice in cell] if any("label" in choice for choice in cell) else None
            return [choice.get("text") for choice in cell], labels
        return cell, None
    elif cell is None or (isinstance(cell, str) and not cell.strip()):
        return [], None
    raise ValueError(
        "choices are no list: expected texts, objects with text and label, or an object with lists text and label"
    )
