"""Rows of a data set, and what a label is.

A class is known by a canonical name, a string, so that the same label matches across files: 1 in a JSONL and "1" in a
CSV are the class "1", and so is the "1.0" that pandas writes; true, True and "TRUE" are "true". A label that is empty
(null, NaN) is none. No class is lost by its value: -1 is a class, unless it is all that a whole split has.
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

    origin: the file, folder or hub name, as it should appear in messages
    index: int64 (n,), the position of each row in its source, counted from 0
    notes: one line for each thing that was done to the rows on the way here
    """

    columns: Mapping[str, list]
    origin: str
    index: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows at these positions (0 .. n-1), in this order."""
        positions = np.asarray(indices, dtype=np.int64)
        columns = {name: [values[i] for i in positions] for name, values in self.columns.items()}
        return Rows(columns, self.origin, self.index[positions], self.notes)

    def digest(self, columns: Iterable[str]) -> str:
        """sha256 of these columns: names, values and their order; the same in every process."""
        state = hashlib.sha256()
        for name in columns:
            state.update(json.dumps(name).encode())
            for value in self.columns[name]:
                state.update(json.dumps(value, default=str).encode() + b"\n")
        return state.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything in `columns`."""
        return self.digest(self.columns)


IGNORED = -100  # how other libraries write that a word has no label


def as_text(value: object) -> str:
    """A text cell as a string: null is the empty text, a number is written out; ValueError for lists and objects."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"expected a text, got {type(value).__name__}")
    text = str(value)
    # A lone surrogate (broken emoji in JSON) is no Unicode text; tokenizers refuse it. Other texts are not copied.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def dropped(count: int, total: int) -> str:
    return f"{count} of {total} rows are unlabelled and were dropped"


def no_labels(origin: str, count: int, label: str) -> str:
    """Said of a split without a label."""
    return (
        f"{origin}: none of its {count} rows has a label in column {label!r} (all are empty or -1); "
        "use labelled rows, e.g. a cut from train: { fraction = 0.2 }"
    )


def _shown(label: object) -> str:
    if isinstance(label, list):
        return " ".join("_" if name is None else name for name in label[:8]) + (" …" if len(label) > 8 else "")
    return f"{label:g}" if isinstance(label, float) else str(label)


def one_line(cell: str | Sequence[str] | Sequence[tuple[str, str]]) -> str:
    """A text without line breaks; words with spaces between them; choices with their labels in front."""
    if isinstance(cell, str):
        return " ".join(cell.split())
    return " ".join(part if isinstance(part, str) else f"({part[0]}) {one_line(part[1])}" for part in cell)


def has_text(cell: str | Sequence[str] | Sequence[tuple[str, str]]) -> bool:
    """Whether there is anything to be seen: spaces and signs such as U+200B are nothing."""
    return any(not sign.isspace() and unicodedata.category(sign) not in ("Cf", "Cc") for sign in one_line(cell))


def empty_texts(rows: Rows, text: Sequence[str]) -> int:
    """How many rows have an empty text, one of a pair included."""
    return sum(not all(map(has_text, cells)) for cells in zip(*(rows.columns[name] for name in text), strict=True))


def example_rows(
    rows: Rows, label: str, *, per_label: int = 2, width: int = 100, by_label: bool = True
) -> list[tuple[str, str]]:
    """The first `per_label` rows of each class as (label, excerpt): one line of at most `width` characters,
    twice that where it holds choices. Without `by_label` the first rows, as many as of two classes."""
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
