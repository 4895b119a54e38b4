"""How files write questions with choices, found from the rows where [task] does not say it.

    question {"stem": "...", "choices": [{"text": "...", "label": "A"}, ...]}, answerKey    OpenBookQA, ARC: own JSONL
    question_stem or question, choices {"text": [...], "label": [...]}, answerKey           the same on the hub
    question, choices ["...", "..."], answer                                                lists of texts
    question, A, B, C, ..., answer                                                          one column a choice

A CSV spells lists and objects out in its cells (`data.cells`). A choice without words is none. Labels are canonical, as
those of classes; choices without labels are A, B, C, ...
Rows are read one by one, so that a file may have several of these, and a wrong row is blamed by itself alone.
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
    """rows: the file's, where a question is an object also with its stem as a column of texts.
    question, context, answer: names of columns of `rows`.
    choices: number of a row -> its `Choices`, ValueError for fewer than two, and for what is no choice."""

    rows: Rows
    question: str
    context: str | None
    answer: str
    choices: Callable[[int], Choices]

    def has_label(self, row: int, label: str) -> bool:
        """Whether a choice of the row has that label."""
        try:
            return any(name == label for name, _ in self.choices(row).pairs)
        except ValueError:  # said where the row is read
            return False


@final
@dataclass(frozen=True)
class Choices:
    """Of one row. pairs: (label, text) of each choice that has words.
    numbered: they have no labels in the file, so that the answer may be a number from 0."""

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
    """The layout of a file. The names are those of [task], None: to be found. InputError for each missing column."""
    several = [choices] if isinstance(choices, str) else list(choices or [])
    named = [name for name in (question, *several, context) if name] + ([answer] if answer and labelled else [])
    problems = column_problems(rows, named)
    rows = _spelled_out(rows)
    question = question or _first(rows, QUESTIONS, "question", problems)
    if labelled:
        answer = answer or _first(rows, ANSWERS, "answer", problems)
    nested = question in rows.columns and _are_objects(rows.columns[question])
    inside = nested and not several and any("choices" in one for one in rows.columns[question] if _is_object(one))
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
        columns |= {question: [one.get("stem") if _is_object(one) else one for one in objects]}
        if inside:
            several = [question.removesuffix("stem") + "choices"]
            beside = columns.get("choices", [None] * len(rows))
            columns |= {
                several[0]: [
                    one["choices"] if _is_object(one) and "choices" in one else other
                    for one, other in zip(objects, beside, strict=True)
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
    """Cells that spell out an object are that object, in a column in which all of them do."""

    def cells(column: list) -> list:
        given = [cell for cell in column if cell is not None and cell != ""]
        if not given or not all(isinstance(cell, str) and cell.lstrip().startswith("{") for cell in given):
            return column
        try:
            found = [as_value(cell) for cell in column]
        except ValueError:  # texts, or said where the row is read
            return column
        return found if all(_is_object(cell) for cell in found if cell is not None and cell != "") else column

    return Rows({name: cells(column) for name, column in rows.columns.items()}, rows.origin, rows.index, rows.notes)


def letter(position: int) -> str:
    """A, B, ... Z, then numbers from 27."""
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
    """Columns named A, B, ... or choice1, choice2, ...; none where there is no second one."""
    found = [name for name in rows.columns if isinstance(name, str) and COLUMN.fullmatch(name)]
    same = [name for name in found if found and len(name) == len(found[0]) and name[:-1] == found[0][:-1]]
    return sorted(same) if len(same) > 1 else []


def _names(columns: Sequence[str]) -> list[str]:
    """The labels of choices in columns of their own: the columns' last letters where they end so, else A, B, ..."""
    ends = [name[-1].upper() for name in columns]
    lettered = all(COLUMN.fullmatch(name) and end.isalpha() for name, end in zip(columns, ends, strict=True))
    return ends if lettered and len(set(ends)) == len(ends) else [letter(i) for i in range(len(columns))]


def _is_object(cell: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(cell, Mapping)


def _are_objects(cells: Sequence[Any]) -> bool:
    return any(map(_is_object, cells))


def _choices(cell: Any, names: Sequence[str] | None) -> Choices:
    """The choices of a cell; `names`: the labels where each choice is a column."""
    texts, labels = _taken_apart(cell)
    usual = [letter(i) for i in range(len(texts))]
    labels = names if names is not None else labels
    numbered = labels is None or (names is not None and names == usual)
    labels = usual if labels is None else labels
    if len(labels) != len(texts):
        raise ValueError(f"{len(texts)} choices, but {len(labels)} labels of choices; expected one for each")
    pairs = zip(map(canonical_label, labels), map(as_text, texts), strict=True)
    found = [(label or "", text) for label, text in pairs if text.strip()]
    if not found:
        raise ValueError("no choices; expected two or more, or remove the row")
    if len(found) == 1:
        raise ValueError(f"only one choice, {found[0][1]!r}; expected two or more, or remove the row")
    if len({label for label, _ in found}) < len(found) or not all(label for label, _ in found):
        raise ValueError(
            f"the labels of the choices are {', '.join(repr(label) for label, _ in found)}; expected different ones"
        )
    return Choices(found, numbered)


def _taken_apart(cell: Any) -> tuple[Sequence[Any], Sequence[Any] | None]:
    """(texts, labels or None) of a cell as any of the files above has it."""
    cell = as_value(cell)
    if isinstance(cell, Mapping):
        texts, labels = cell.get("text"), cell.get("label")
        if isinstance(texts, list) and (labels is None or isinstance(labels, list)):
            return texts, labels
    elif isinstance(cell, list | tuple):
        if cell and all(isinstance(one, Mapping) for one in cell):
            labelled = any("label" in one for one in cell)
            return [one.get("text") for one in cell], [one.get("label") for one in cell] if labelled else None
        return cell, None
    elif cell is None or (isinstance(cell, str) and not cell.strip()):
        return [], None
    raise ValueError(
        "choices are no list: expected texts, objects with text and label, or an object with lists text and label"
    )
