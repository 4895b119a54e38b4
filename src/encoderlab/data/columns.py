"""Report missing columns, and where their names occur instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encoderlab.core.suggestions import did_you_mean
from encoderlab.data.delimited import shown
from encoderlab.data.source import file_format

if TYPE_CHECKING:
    from encoderlab.data.rows import Rows


def column_problems(rows: Rows, names: Sequence[str]) -> list[str]:
    """Return one line per missing column, or one line for all if the file seems to have no header."""
    have = list(rows.columns)
    missing = [name for name in names if name not in have]
    if missing and len(missing) == len(names) and _without_header(rows):
        wanted = " and ".join(map(repr, missing))
        return [
            f"{rows.origin}: no column {wanted}; the columns are {shown(have)}: is the first line a row? "
            "If the file has no header, add a first line with the names of its columns"
        ]
    found = []
    for name in missing:
        hint = _elsewhere(rows, name) or (f"; {near}" if (near := did_you_mean(name, have)) else "")
        found.append(f"{rows.origin}: no column {name!r}; the columns are {shown(have)}{hint}")
    return found


def _elsewhere(rows: Rows, name: str) -> str:
    """Return where a missing name occurs: as a key of objects, or in a row, if other lines precede the header."""
    for column, cells in rows.columns.items():
        first = next((cell for cell in cells if cell is not None), None)
        if isinstance(first, Mapping) and name in first:
            return f"; the objects in column {column!r} have this key: write it as a separate column"
        if name in cells[:20]:
            return f"; row {cells.index(name) + 1} has this name: remove the lines above the header"
    return ""


def _without_header(rows: Rows) -> bool:
    """Return whether the column names look like cells: they are sentences, or occur again below."""
    if file_format(Path(rows.origin)) not in ("csv", "tsv"):
        return False
    return any(
        (len(name.split()) > 4 and not name.endswith("?")) or (name and name in cells[:1000])
        for name, cells in rows.columns.items()
    )
