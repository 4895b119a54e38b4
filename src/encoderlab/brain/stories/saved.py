"""Our own file of stories: Parquet, one row a story, so that nothing is ever kept as a pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from encoderlab.brain.stories.content import content
from encoderlab.brain.stories.story import Story, checked
from encoderlab.core.errors import InputError
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
    """Write the stories; what `read` noted of them it will note again."""
    rows = [{"name": s.name, "words": s.words, "times": s.times, "tr_times": s.tr_times} for s in stories]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    write_atomically(path, lambda beside: pq.write_table(table, beside))


def read_parquet(path: Path) -> list[Story]:
    """Read the stories. Raise InputError for a damaged file, and for one that `save` did not write."""
    data = content(path)
    try:
        table = pq.read_table(pa.BufferReader(data))
        columns, rows = table.column_names, table.to_pylist() if table.schema.equals(_SCHEMA) else None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # pyarrow says OSError of a damaged file
        raise InputError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from None
    if rows is None:
        raise InputError(
            f"{path}: columns {', '.join(columns)}; expected {', '.join(_SCHEMA.names)}, as stories.save writes them"
        )
    for number, row in enumerate(rows, 1):
        if any(value is None or (isinstance(value, list) and None in value) for value in row.values()):
            raise InputError(f"{path}: row {number} has a value that is missing; expected all of {', '.join(row)}")
    return [checked(str(path), r["name"], r["words"], r["times"], r["tr_times"]) for r in rows]
