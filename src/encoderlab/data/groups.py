"""Which test rows belong together: those with the same value in the `group` column of the [data] section.

Rows of one text, premise, document, author or story are not independent, so intervals and tests draw whole groups.
Groups change neither rows nor training. A CoNLL file that marks its documents has groups without the key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from encoderlab.core.errors import InputError, Problem
from encoderlab.data.columns import column_problems
from encoderlab.data.conll import DOCUMENT
from encoderlab.data.prepare import convert
from encoderlab.data.rows import Rows, as_text, one_line
from encoderlab.data.source import DataConfig, file_format, place

Names = Mapping[int, str]  # the group of each row of a source, by the row's index
REPEATED = 0.5  # share of test rows that have a text in common with another row, from which they look like groups
TEXTS, WORDS = 20, 5  # different repeated texts, and their words on average; fewer are topics or labels, not texts


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Groups:
    """The groups of the rows of one split.

    Attributes:
        by: What the rows of a group share, as the report says it: the name of the column.
        numbers: The number of each row's group from 0, int64 (n,).
    """

    by: str
    numbers: np.ndarray

    @property
    def count(self) -> int:
        """The number of groups."""
        return len(np.unique(self.numbers))


def names_of(rows: Rows, name: str, config: DataConfig) -> Names | None:
    """Return the groups of the rows of a source, as they were read. None if the source has none.

    Args:
        rows: The rows with all columns of the source.
        name: The split that has the source.
        config: The [data] section.

    Raises:
        InputError: `test` needs the column and lacks it, or a cell is a list or an object.
    """
    column = config.group
    if name == "validation":  # no interval is of its rows
        return None
    if column is None:
        column = DOCUMENT if file_format(Path(rows.origin)) == "conll" else None
    elif column not in rows.columns and name == ("train" if config.test.fraction is not None else "test"):
        raise InputError(*(f"group: {line}" for line in column_problems(rows, [column])))
    if column is None or column not in rows.columns:
        return None
    return dict(zip(rows.index.tolist(), convert(rows, column, as_text), strict=True))


def groups_of(
    config: DataConfig, rows: Mapping[str, Rows], names: Mapping[str, Names | None]
) -> tuple[dict[str, Groups], list[str]]:
    """Return the groups of each test set that has them, and the warnings about them.

    A row with an empty cell is a group of its own.

    Args:
        config: The [data] section.
        rows: The rows of each split.
        names: What `names_of` found in each source.

    Raises:
        InputError: All rows of `test` have the same value.
    """
    found: dict[str, Groups] = {}
    warnings: list[str] = []
    of_train = set(_cells(config, rows, names, "train") or ())
    for name in ("test", *config.other_tests):
        cells = _cells(config, rows, names, name)
        if cells is None:
            if config.group is not None:
                warnings.append(f"{place(name)}: no column {config.group!r}, so its rows count as independent")
            continue
        groups = Groups(by=config.group or DOCUMENT, numbers=_numbered(cells))
        if 1 < groups.count < len(cells):
            found[name] = groups
        if config.group is not None:
            warnings += _doubts(name, groups, cells, of_train)
    return found, warnings


def _cells(
    config: DataConfig, rows: Mapping[str, Rows], names: Mapping[str, Names | None], name: str
) -> list[str] | None:
    """Return the group of each row of a split; a cut split has those of train."""
    of_source = names.get("train" if config.sources[name].fraction is not None else name)
    return None if of_source is None else [of_source[i] for i in rows[name].index.tolist()]


def _numbered(cells: Sequence[str]) -> np.ndarray:
    """Number the groups in the order of their first rows. Each empty cell gets a number of its own."""
    numbers: dict[str | int, int] = {}
    keys = [cell if cell.strip() else i for i, cell in enumerate(cells)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _doubts(name: str, groups: Groups, cells: Sequence[str], of_train: set[str]) -> list[str]:
    """Return the warnings about the groups of one test set.

    Raises:
        InputError: `test` is a single group.
    """
    rows, said = len(cells), f"column {groups.by!r}"
    if groups.count == 1 and rows > 1:
        message = f"all {rows} rows of {place(name)} have the value {cells[0][:40]!r} in {said}"
        if name == "test":
            raise InputError(Problem("data.group", message, "an interval needs two groups or more"))
        return [f"{message}, so they count as independent"]
    if groups.count == rows:
        return [f"{place(name)}: no two of its {rows} rows have the same value in {said}; is it the right column?"]
    warnings = []
    if empty := sum(not cell.strip() for cell in cells):
        warnings.append(f"{place(name)}: {empty} of {rows} rows have an empty {said}; each is a group of its own")
    if shared := len({cell for cell in cells if cell.strip()} & of_train):
        warnings.append(
            f"{place(name)}: {shared} of its {groups.count} groups ({said}) also occur in train; the intervals assume "
            "that new groups are as similar to the training rows"
        )
    return warnings


def ungrouped_texts(rows: Mapping[str, Rows], text: Sequence[str], known: Mapping[str, Groups]) -> list[str]:
    """Warn of test sets in which most rows share one of their texts, such as the premises of MultiNLI.

    Args:
        rows: The rows of each split.
        text: The text columns. A single text that occurs again is a duplicate, not a group.
        known: The test sets that have groups.
    """
    found = []
    for name, part in rows.items():
        if len(text) < 2 or name in ("train", "validation", *known):
            continue
        columns = (column for column in text if all(isinstance(cell, str) for cell in part.columns[column]))
        shares = {column: _shared(part.columns[column]) for column in columns}
        column = max(shares, key=lambda one: shares[one], default="")
        if shares.get(column, 0.0) >= REPEATED:
            found.append(
                f"{place(name)}: {shares[column]:.0%} of the rows share their {column!r} with another row, so they are "
                "not independent and the intervals are too narrow; set data.group to the column that they share"
            )
    return found


def _shared(cells: Sequence[str]) -> float:
    """Return the share of cells that occur again. 0 if these are few different texts, or short ones."""
    counts = Counter(map(one_line, cells))
    repeated = {cell: count for cell, count in counts.items() if count > 1 and cell}
    words = sum(len(cell.split()) for cell in repeated)
    if len(repeated) < TEXTS or words < WORDS * len(repeated):
        return 0.0
    return sum(repeated.values()) / len(cells)
