"""Select the columns of a task, and convert their cells to canonical form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from encoderlab.core.errors import InputError
from encoderlab.data.columns import column_problems
from encoderlab.data.labels import labels_of
from encoderlab.data.rows import Rows, as_text, dropped, no_labels
from encoderlab.data.suspects import label_notes


def prepare(rows: Rows, *, text: Sequence[str], label: str | None) -> Rows:
    """Select the needed columns, with texts as strings and labels as class names.

    Rows without a label are dropped, with a note.

    Args:
        rows: the rows as they were read.
        text: the names of the text columns.
        label: the name of the label column; None for a file to predict, which keeps every row.

    Raises:
        InputError: a column is missing, a cell is not a text or not a class, or no row has a label.
    """
    needed = [*text, *([label] if label is not None else [])]
    if problems := column_problems(rows, needed):
        raise InputError(*problems)
    columns = {}
    for name in text:
        columns[name] = convert(rows, name, as_text)
    if label is None:
        return Rows(columns, rows.origin, rows.index, rows.notes)
    try:
        read, notes = labels_of(rows.columns[label], label)
    except ValueError as error:
        raise InputError(f"{rows.origin}: {error}") from None
    columns[label] = convert(rows, label, read)
    kept = [i for i, name in enumerate(columns[label]) if name is not None]
    found = Rows(columns, rows.origin, rows.index, rows.notes)
    if not kept:
        raise InputError(no_labels(rows.origin, len(rows), label))
    if len(kept) < len(rows):
        notes.append(f"{dropped(len(rows) - len(kept), len(rows))} ({len(rows) - len(kept)} empty)")
        found = found.take(kept)
    notes += label_notes(found.columns[label], label)
    return replace(found, notes=(*rows.notes, *(f"{rows.origin}: {note}" for note in notes)))


def convert(rows: Rows, name: str, function: Callable[[Any], Any]) -> list:
    """Apply a function to the cells of a column.

    Raises:
        InputError: the function raised ValueError; the error names row and column.
    """
    converted = []
    for i, value in zip(rows.index, rows.columns[name], strict=True):
        try:
            converted.append(function(value))
        except ValueError as error:
            raise InputError(f"{rows.origin}: row {i + 1}, column {name!r}: {error}") from None
    return converted
