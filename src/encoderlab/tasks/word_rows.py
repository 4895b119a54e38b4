"""Read rows with a label for every word: lists of words and of labels, in any form that a cell may have."""

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
    """Columns `words` and `labels` of lists, of the same length in a row; None is a word without a label.

    Args:
        words: the column with the words, None: the first of WORDS that is there.
        labels: the column with their labels, None: the first of LABELS.

    Raises:
        InputError: a column is missing, or a row is not lists of the same length, or no word has a label.
    """
    columns = {"words": _column(rows, words, WORDS, "words")}
    if labelled:
        columns["labels"] = _column(rows, labels, LABELS, "labels")
    found: dict[str, list] = {name: [] for name in columns}
    kept: list[int] = []
    for row, cells in enumerate(zip(*(rows.columns[name] for name in columns.values()), strict=True)):
        where = f"{rows.origin}: row {rows.index[row] + 1}"
        try:
            found_words = [as_text(word) for word in _list(cells[0], columns["words"])]
            if not found_words:
                raise ValueError(f"no words in column {columns['words']!r}; remove the row")
            found_labels = _row_labels(cells[1], columns["labels"], len(found_words)) if labelled else []
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        if labelled and not any(label is not None for label in found_labels):
            continue
        kept.append(row)
        found["words"].append(found_words)
        if labelled:
            found["labels"].append(found_labels)
    if not kept:
        raise InputError(f"{rows.origin}: none of its {len(rows)} rows has a labelled word; use labelled rows")
    names = {name for row in found.get("labels", []) for name in row if name is not None}
    notes = _notes(rows, found, len(rows) - len(kept))
    if large := entities.capitals(names):
        found["labels"] = [[large.get(name, name) for name in row] for row in found["labels"]]
        small = min(name for name in names if name != "o")
        notes.append(f"{rows.origin}: labels in small letters, such as {small!r}, are read as {large[small]!r}")
    return Rows(found, rows.origin, rows.index[kept], (*rows.notes, *notes))


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
    """A list, also one that a text spells out; another text split at white space, a no-break space being part of a
    word."""
    if (found := as_list(cell)) is not None:
        return found
    if (wrong := other_form(cell)) is not None:
        raise ValueError(f"column {column!r}: {wrong}")
    if isinstance(cell, str):
        return _WHITE.findall(cell)
    raise ValueError(f"expected a list in column {column!r}, got {cell!r}")


def _row_labels(cell: Any, column: str, words: int) -> list[str | None]:
    """A label for each word, None where it is to be ignored (-100)."""
    cells = _list(cell, column)
    if isinstance(cell, str) and len(cells) > 1 and as_list(cell) is None:
        signs = {str(name)[-1] for name in cells[:-1]}
        if len(signs) == 1 and signs <= set(",;|"):
            raise ValueError(
                f"the labels of column {column!r} end with {signs.pop()!r}, as in {cell[:40]!r}; write spaces alone "
                'between them, or a list: ["a", "b"]'
            )
    if len(cells) != words:
        one = "; is it one text for several labels?" if isinstance(cell, str) and len(cells) == 1 else ""
        raise ValueError(f"{words} words, but {len(cells)} labels (column {column!r}); expected one for each word{one}")
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


def _notes(rows: Rows, found: Mapping[str, list], left: int) -> list[str]:
    """What was ignored or left out, and whether rows look like words of sentences."""
    notes = []
    if left:
        notes.append(f"{left} of {len(rows)} rows have no labelled word and were dropped")
    labels = found.get("labels", [])
    if ignored := sum(name is None for row in labels for name in row):
        notes.append(
            f"{ignored} of {sum(map(len, labels))} words are labelled {IGNORED}: ignored, neither learned nor scored"
        )
    if labels and (single := single_words(found["words"], rows.columns)):
        notes.append(single)
    names = Counter(name for row in labels for name in row if name is not None)
    notes += label_notes(names.elements() if entities.OUTSIDE not in names else (), "labels", words=True)
    return [f"{rows.origin}: {note}" for note in notes]
