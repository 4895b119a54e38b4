"""Prepare rows with a label for every word: lists of words and of labels, in all forms of a cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from encoderlab.core.errors import InputError
from encoderlab.data.cells import as_list, other_form
from encoderlab.data.columns import column_problems
from encoderlab.data.delimited import shown
from encoderlab.data.labels import canonical_label
from encoderlab.data.rows import IGNORED, Rows, as_text
from encoderlab.data.suspects import label_notes, single_words
from encoderlab.tasks import entities

WORDS, LABELS = ("tokens", "words"), ("ner_tags", "tags", "labels")
_SPANS = {"spans", "entities", "label"}  # of Prodigy, spaCy, doccano: (from, to, type)
_SEVERAL = re.compile(r"(?:(?:O|[BIESLUMW]-[^\s|,;]+)[|,;])+(?:O|[BIESLUMW]-[^\s|,;]+)")
_WHITE = re.compile("[^ \\t\\r\\n\\f\\v]+")


def prepare(rows: Rows, words: str | None, labels: str | None, *, labelled: bool) -> Rows:
    """Make the columns `words` and `labels`, lists that have the same length in a row; None is a missing label.

    Args:
        rows: the rows of a file.
        words: the column with the words; None is the first of WORDS in the file.
        labels: the column with the labels; None is the first of LABELS in the file.
        labelled: whether to make the column `labels`.

    Raises:
        InputError: a column is missing, a row does not have lists of the same length, or no word has a label.
    """
    columns = {"words": _column(rows, words, WORDS, "words")}
    if labelled:
        columns["labels"] = _column(rows, labels, LABELS, "labels")
    prepared: dict[str, list] = {name: [] for name in columns}
    labelled_rows: list[int] = []
    for row, cells in enumerate(zip(*(rows.columns[name] for name in columns.values()), strict=True)):
        where = f"{rows.origin}: row {rows.index[row] + 1}"
        try:
            row_words = [as_text(word) for word in _list(cells[0], columns["words"])]
            if not row_words:
                raise ValueError(f"no words in column {columns['words']!r}; remove the row")
            row_labels = _row_labels(cells[1], columns["labels"], len(row_words)) if labelled else []
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        if labelled and not any(label is not None for label in row_labels):
            continue
        labelled_rows.append(row)
        prepared["words"].append(row_words)
        if labelled:
            prepared["labels"].append(row_labels)
    if not labelled_rows:
        raise InputError(f"{rows.origin}: none of its {len(rows)} rows has a labelled word; use labelled rows")
    names = {name for row in prepared.get("labels", []) for name in row if name is not None}
    notes = _notes(rows, prepared, len(rows) - len(labelled_rows))
    if large := entities.capitals(names):
        prepared["labels"] = [[large.get(name, name) for name in row] for row in prepared["labels"]]
        small = min(name for name in names if name != "o")
        notes.append(f"{rows.origin}: labels in small letters, such as {small!r}, are read as {large[small]!r}")
    return Rows(prepared, rows.origin, rows.index[labelled_rows], (*rows.notes, *notes))


def _column(rows: Rows, written: str | None, usual: Sequence[str], key: str) -> str:
    if written is not None:
        if problems := column_problems(rows, [written]):
            raise InputError(*problems)
        return written
    for name in usual:
        if name in rows.columns:
            return name
    lists = {name for name in _SPANS & set(rows.columns) if any(isinstance(cell, list) for cell in rows.columns[name])}
    spans = "; spans of characters are not read: write a label for each word" if lists else ""
    raise InputError(
        f"{rows.origin}: no column {' or '.join(map(repr, usual))}; name it with `{key}` in [task]; the columns are "
        f"{shown(list(rows.columns))}{spans}"
    )


def _list(cell: Any, column: str) -> Sequence[Any]:
    """Return a list, a list that a text spells out, or a text split at white space.

    A no-break space does not split a text.
    """
    if (cells := as_list(cell)) is not None:
        return cells
    if (wrong := other_form(cell)) is not None:
        raise ValueError(f"column {column!r}: {wrong}")
    if isinstance(cell, str):
        return _WHITE.findall(cell)
    raise ValueError(f"expected a list in column {column!r}, got {cell!r}")


def _row_labels(cell: Any, column: str, words: int) -> list[str | None]:
    """Return a label for each word, None for a word to ignore (-100)."""
    cells = _list(cell, column)
    if isinstance(cell, str) and len(cells) > 1 and as_list(cell) is None:
        signs = {str(name)[-1] for name in cells[:-1]}
        if len(signs) == 1 and signs <= set(",;|"):
            raise ValueError(
                f"the labels of column {column!r} end with {signs.pop()!r}, as in {cell[:40]!r}; write spaces alone "
                'between them, or a list: ["a", "b"]'
            )
    if len(cells) != words:
        hint = "; is it one text for several labels?" if isinstance(cell, str) and len(cells) == 1 else ""
        raise ValueError(
            f"{words} words, but {len(cells)} labels (column {column!r}); expected one for each word{hint}"
        )
    names = list(map(canonical_label, cells))
    if several := next((name for name in names if name and _SEVERAL.fullmatch(name)), None):
        raise ValueError(
            f"{several[:40]!r} in column {column!r} is several labels in one; write spaces alone between them (and "
            'between the words), or a list: ["a", "b"]'
        )
    if None in names:
        raise ValueError(
            f"word {names.index(None) + 1} has no label (column {column!r}); correct it, write -100 for a word that is "
            "to be ignored, or remove the row"
        )
    return [None if name == str(IGNORED) else name for name in names]


def _notes(rows: Rows, prepared: Mapping[str, list], dropped: int) -> list[str]:
    """Return notes about ignored words, dropped rows, and rows that look like single words of sentences."""
    notes = []
    if dropped:
        notes.append(f"{dropped} of {len(rows)} rows have no labelled word and were dropped")
    labels = prepared.get("labels", [])
    if ignored := sum(name is None for row in labels for name in row):
        notes.append(
            f"{ignored} of {sum(map(len, labels))} words are labelled {IGNORED}: ignored, neither learned nor scored"
        )
    if labels and (single := single_words(prepared["words"], rows.columns)):
        notes.append(single)
    names = Counter(name for row in labels for name in row if name is not None)
    notes += label_notes(names.elements() if entities.OUTSIDE not in names else (), "labels", words=True)
    return [f"{rows.origin}: {note}" for note in notes]
