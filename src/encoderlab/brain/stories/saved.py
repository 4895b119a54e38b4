"""Save stories as Parquet, one row a story, so that nothing has to be kept as a pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from encoderlab.brain.stories.content import content
from encoderlab.brain.stories.story import Story, checked
from encoderlab.core.errors import InputError, first_line
from encoderlab.core.files import write_atomically

_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("words", pa.list_(pa.string())),
        ("times", pa.list_(pa.float64())),
        ("tr_times", pa.list_(pa.float64())),
    ]
)


def save(stories: Sequence[Story], path: Path) -> None:
    """Write the stories without their notes; `read` makes the same notes again."""
    rows = [{"name": s.name, "words": s.words, "times": s.times, "tr_times": s.tr_times} for s in stories]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    write_atomically(path, lambda beside: pq.write_table(table, beside))


def read_parquet(path: Path) -> list[Story]:
    """Read the stories that `save` wrote.

    Raises:
        InputError: the file is damaged, or `save` did not write it.
    """
    data = content(path)
    try:
        table = pq.read_table(pa.BufferReader(data))
        columns, rows = table.column_names, table.to_pylist() if table.schema.equals(_SCHEMA) else None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # pyarrow raises OSError for a damaged file
        raise InputError(
            f"{path}: not readable as Parquet ({first_line(error)}); write it again with `encoderlab stories`"
        ) from None
    if rows is None:
        raise InputError(
            f"{path}: the columns are {', '.join(columns)}; expected {', '.join(_SCHEMA.names)}, as `encoderlab "
            "stories` writes them"
        )
    for number, row in enumerate(rows, 1):
        if any(value is None or (isinstance(value, list) and None in value) for value in row.values()):
            raise InputError(f"{path}: row {number} has a missing value; expected a value for each of {', '.join(row)}")
    return [checked(str(path), r["name"], r["words"], r["times"], r["tr_times"]) for r in rows]
