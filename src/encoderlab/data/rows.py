"""The rows of a data set, and the canonical form of labels.

Each class has a canonical name, a string, so that the same label matches across files. 1 in a JSONL file and "1" or
"1.0" (as pandas writes it) in a CSV file are the class "1"; true, True and "TRUE" are "true". An empty label (null,
NaN) means an unlabelled row. -1 is a class, unless all rows of a split have it.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import final

import numpy as np

from encoderlab.data.labels import class_order


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """Columns of equal length n.

    Attributes:
        columns: The cells of each column by its name.
        origin: The file, folder or hub name, as messages show it.
        index: The position of each row in its source from 0, int64 (n,).
        notes: One line for each thing that was detected or changed while the rows were read.
    """

    columns: Mapping[str, list]
    origin: str
    index: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """Return the rows at some positions (0 to n-1), in the given order."""
        positions = np.asarray(indices, dtype=np.int64)
        columns = {name: [values[i] for i in positions] for name, values in self.columns.items()}
        return Rows(columns, self.origin, self.index[positions], self.notes)

    def digest(self, columns: Iterable[str]) -> str:
        """Return the SHA-256 of some columns: names, values and their order. It is the same in every process."""
        state = hashlib.sha256()
        for name in columns:
            state.update(json.dumps(name).encode())
            for value in self.columns[name]:
                state.update(json.dumps(value, default=str).encode() + b"\n")
        return state.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all columns."""
        return self.digest(self.columns)


IGNORED = -100  # the label of an unlabelled word in other libraries


def as_text(value: object) -> str:
    """Convert a text cell to a string: null becomes the empty text, and a number its digits.

    Raises:
        ValueError: the cell is a list or an object.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"expected a text, got {type(value).__name__}")
    text = str(value)
    # Tokenizers refuse a lone surrogate (a broken emoji in JSON). ASCII texts need no check and are not copied.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def dropped(count: int, total: int) -> str:
    """Return the note on unlabelled rows that were dropped."""
    return f"{count} of {total} rows are unlabelled and were dropped"


def no_labels(origin: str, count: int, label: str) -> str:
    """Return the message for a split in which no row has a label."""
    return (
        f"{origin}: none of its {count} rows has a label in column {label!r} (all are empty or -1); "
        "use labelled rows, e.g. a cut from train: { fraction = 0.2 }"
    )


def _shown(label: object) -> str:
    """Format a label, or the labels of the first words of a row."""
    if isinstance(label, list):
        return " ".join("_" if name is None else name for name in label[:8]) + (" …" if len(label) > 8 else "")
    return f"{label:g}" if isinstance(label, float) else str(label)


def one_line(cell: str | Sequence[str] | Sequence[tuple[str, str]]) -> str:
    """Format a cell in one line: a text, words joined by spaces, or choices with their labels in front."""
    if isinstance(cell, str):
        return " ".join(cell.split())
    return " ".join(part if isinstance(part, str) else f"({part[0]}) {one_line(part[1])}" for part in cell)


def has_text(cell: str | Sequence[str] | Sequence[tuple[str, str]]) -> bool:
    """Return whether a cell has visible characters. Spaces and characters such as U+200B are invisible."""
    return any(not sign.isspace() and unicodedata.category(sign) not in ("Cf", "Cc") for sign in one_line(cell))


def empty_texts(rows: Rows, text: Sequence[str]) -> int:
    """Return the number of rows with at least one empty text."""
    return sum(not all(map(has_text, cells)) for cells in zip(*(rows.columns[name] for name in text), strict=True))


def example_rows(
    rows: Rows, label: str, *, per_label: int = 2, width: int = 100, by_label: bool = True
) -> list[tuple[str, str]]:
    """Return the first rows of each class as (label, excerpt).

    Args:
        rows: the rows.
        label: the name of the label column.
        per_label: the number of rows of each class.
        width: the maximum length of an excerpt in characters; twice that if it has choices.
        by_label: whether to choose rows by class; if not, the first 2 * `per_label` rows are returned.
    """
    if not by_label:
        rows = rows.take(np.arange(min(2 * per_label, len(rows))))
    texts = [name for name in rows.columns if name != label]
    examples: dict[str, list[str]] = {}
    for i, name in enumerate(map(_shown, rows.columns[label])):
        found = examples.setdefault(name, [])
        if len(found) < per_label:
            line = " | ".join(one_line(rows.columns[column][i]) for column in texts)
            limit = width * (2 if any(not isinstance(rows.columns[column][i], str) for column in texts) else 1)
            found.append(line if len(line) <= limit else line[: limit - 1] + "…")
    return [(name, line) for name in class_order(examples) for line in examples[name]]
