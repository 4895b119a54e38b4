"""Rows of a data set, and what a label is.

A class is known by a canonical name, a string, so that the same label matches across files: 1 in a JSONL and "1" in a
CSV are the class "1", and so is the "1.0" that pandas writes; true, True and "TRUE" are "true". A label that is empty
(null, NaN) is none. No class is lost by its value: -1 is a class, unless it is all that a whole split has.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, final

import numpy as np

from encoderlab.data.cells import as_list, other_form
from encoderlab.data.columns import column_problems
from encoderlab.data.suspects import label_notes
from encoderlab.errors import InputError


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
_WHOLE_AS_FLOAT = re.compile(r"-?[0-9]{1,300}\.0+")  # a column of whole numbers with a gap is one of floats to pandas


def canonical_label(value: object) -> str | None:
    """The class name of a label as it stands in a file, or None for an unlabelled row (null, empty, NaN).

    Raises ValueError for what cannot be a class: a fraction, a list, an object, half of a character."""
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, str):
        name = value.strip()
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"{name!r} is no class: it holds half of a character, which no file can name; correct it")
        if name.lower() in ("true", "false"):
            name = name.lower()
        elif _WHOLE_AS_FLOAT.fullmatch(name):
            name = str(int(name.partition(".")[0]))
    elif isinstance(value, bool):
        name = str(value).lower()
    elif isinstance(value, int) or (isinstance(value, float | Decimal) and value == value // 1):
        name = str(int(value))
    else:
        several = "; several labels a row (multi-label) are not supported yet" if isinstance(value, list) else ""
        keys = f"; write one of its values alone ({', '.join(map(str, value))})" if isinstance(value, Mapping) else ""
        raise ValueError(f"{value!r} is no class: expected a string, a whole number or a boolean{several}{keys}")
    return name or None


def labels_of(cells: Sequence[object], name: str) -> tuple[Callable[[object], str | None], list[str]]:
    """How the cells of a column with one label a row are read, and a note where that was found out.

    Lists of one label each are that label. A number with decimals is a class where all labels are numbers, as it is in
    a CSV, which knows no numbers. ValueError names multi-label data, which is not supported."""
    given = [cell for cell in cells if cell is not None and cell != ""]
    lists = [found for cell in given if (found := _label_list(cell)) is not None]
    if lists and len(lists) == len(given):
        if all(len(labels) == 1 for labels in lists):
            return _only_label, [f"column {name!r} has lists of one label each; read as that label"]
        most = max(lists, key=len)
        raise ValueError(
            f"column {name!r} has lists of labels, such as {most!r}: several labels a row (multi-label) are not "
            "supported yet; expected one label a row"
        )
    if spelled := next((cell for cell in given if isinstance(cell, str) and _has_strings(_label_list(cell))), None):
        raise ValueError(
            f"column {name!r} has lists of labels, such as {spelled}, and labels without a list; several labels a row "
            "(multi-label) are not supported yet: write one label a row"
        )
    if odd := next((cell for cell in given if isinstance(cell, str) and _no_label(cell)), None):
        raise ValueError(
            f"column {name!r} has lists or objects for labels, such as {odd[:60]!r}: several labels a row "
            "(multi-label) are not supported yet; expected one label a row, without brackets"
        )
    if given and all(isinstance(cell, int | float | Decimal) and not isinstance(cell, bool) for cell in given):
        return _number_label, []
    return canonical_label, []


def _label_list(cell: object) -> list | None:
    try:
        return as_list(cell)
    except ValueError:  # a class of that name
        return None


def _no_label(cell: str) -> bool:
    """Whether a text spells out a list or an object that is not read."""
    try:
        as_list(cell)
    except ValueError:
        return True
    return other_form(cell) is not None


def _has_strings(labels: list | None) -> bool:
    return any(isinstance(label, str) for label in labels or ())


def _only_label(cell: object) -> str | None:
    labels = _label_list(cell)
    return None if labels is None else canonical_label(labels[0])


def _number_label(cell: object) -> str | None:
    if isinstance(cell, float | Decimal) and math.isfinite(cell) and cell != cell // 1:
        return str(cell)
    return canonical_label(cell)


def class_order(names: Iterable[str]) -> list[str]:
    """The distinct class names in their fixed order: by value if all are whole numbers, else alphabetically."""
    distinct = set(names)
    try:
        return sorted(distinct, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(distinct)


def as_text(value: object) -> str:
    """A text cell as a string: null is the empty text, a number is written out; ValueError for lists and objects."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"expected a text, got {type(value).__name__}")
    text = str(value)
    # A lone surrogate (broken emoji in JSON) is no Unicode text; tokenizers refuse it. Other texts are not copied.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def prepare(rows: Rows, *, text: Sequence[str], label: str | None) -> Rows:
    """Only the needed columns, texts as strings, labels as class names; rows without a label are dropped, with a note.

    With `label=None` (a file to predict) every row stays. Raises InputError for a missing column, for a cell that is no
    text or no class, and for a file without a single label."""
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


def dropped(count: int, total: int) -> str:
    return f"{count} of {total} rows are unlabelled and were dropped"


def no_labels(origin: str, count: int, label: str) -> str:
    """Said of a split without a label."""
    return (
        f"{origin}: none of its {count} rows has a label in column {label!r} (all are empty or -1); "
        "use labelled rows, e.g. a cut from train: { fraction = 0.2 }"
    )


def convert(rows: Rows, name: str, function: Callable[[Any], Any]) -> list:
    """A column's cells through a function, whose ValueError becomes an InputError that names the row."""
    converted = []
    for i, value in zip(rows.index, rows.columns[name], strict=True):
        try:
            converted.append(function(value))
        except ValueError as error:
            raise InputError(f"{rows.origin}: row {i + 1}, column {name!r}: {error}") from None
    return converted


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
