"""A TSV of words: columns `onset` (seconds), `duration` (seconds) and `word`, as BIDS events files have them.

Read by pyarrow, without quoting: a word may be a quotation mark. `n/a` durations count as zero.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from encoderlab.errors import InputError


def read_tsv(path: Path) -> tuple[list[str], list[float], float]:
    """The words, their middles and the end of the last one, seconds. InputError naming the line that has no number."""
    try:
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False, newlines_in_values=False),
            convert_options=csv.ConvertOptions(
                column_types={"word": pa.string(), "onset": pa.string(), "duration": pa.string()},
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as error:
        raise InputError(f"{path}: not readable as TSV ({str(error).splitlines()[0]})") from None
    missing = [name for name in ("onset", "duration", "word") if name not in table.column_names]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; expected onset, duration and word, got "
            f"{', '.join(table.column_names)}"
        )
    onset, duration = (_seconds(path, name, table[name]) for name in ("onset", "duration"))
    ends = onset + duration
    return table["word"].to_pylist(), ((onset + ends) / 2).tolist(), float(ends.max()) if len(ends) else 0.0


def _seconds(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    text = pc.utf8_trim_whitespace(column)  # type: ignore[attr-defined]
    if name == "duration":
        text = pc.if_else(pc.is_in(text, value_set=pa.array(["", "n/a"])), "0", text)  # type: ignore[attr-defined]
    values = []
    for line, value in enumerate(text.to_pylist(), start=2):
        try:
            values.append(float(value))
            if not np.isfinite(values[-1]):
                raise ValueError
        except ValueError:
            raise InputError(f"{path}:{line}: {name} is {value!r}; expected seconds") from None
    return np.array(values, dtype=np.float64)
