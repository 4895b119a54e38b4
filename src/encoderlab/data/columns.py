"""Say which columns a file lacks, and where their names may be instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from encoderlab.data.delimited import shown
from encoderlab.data.source import file_format

if TYPE_CHECKING:
    from encoderlab.data.rows import Rows


def column_problems(rows: Rows, names: Sequence[str]) -> list[str]:
    """One line for each of `names` that the rows lack; one for all where the file seems to have no header."""
    have = list(rows.columns)
    missing = [name for name in names if name not in have]
    if missing and len(missing) == len(names) and _without_header(rows):
        wanted = " and ".join(map(repr, missing))
        return [
            f"{rows.origin}: no column {wanted}; the columns are {shown(have)}: is that a row? "
            "If the file has no header, write the names of its columns into a first line"
        ]
    found = []
    for name in missing:
        near = get_close_matches(name, have, n=1) or [other for other in have if other.lower() == name.lower()]
        hint = f"; did you mean {near[0]!r}?" if near else _elsewhere(rows, name)
        found.append(f"{rows.origin}: no column {name!r}; the columns are {shown(have)}{hint}")
    return found


def _elsewhere(rows: Rows, name: str) -> str:
    """Where the name of a column is, if it is none: in objects, or in a row below lines that are no header."""
    for column, cells in rows.columns.items():
        first = next((cell for cell in cells if cell is not None), None)
        if isinstance(first, Mapping) and name in first:
            return f"; the objects of {column!r} have it: write it as a column of its own"
        if name in cells[:20]:
            return f"; it stands in row {cells.index(name) + 1}: remove the lines above the header"
    return ""


def _without_header(rows: Rows) -> bool:
    """Whether the names of a table's columns look like cells: sentences, or what occurs below them."""
    if file_format(Path(rows.origin)) not in ("csv", "tsv"):
        return False
    return any(
        (len(name.split()) > 4 and not name.endswith("?")) or (name and name in cells[:1000])
        for name, cells in rows.columns.items()
    )
