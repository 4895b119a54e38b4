"""Rows that say something, and Parquet and Arrow files of them with columns of every type."""

from __future__ import annotations

import datetime
import decimal
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from numpy.random import Generator

from .mutate import chance, pick

COLUMNS = ("text", "label", "score", "words", "tags", "answer")


def records(draw: Generator) -> list[list[Any]]:
    labels = [pick(draw, ["pos", "neg"]) for _ in range(int(draw.integers(2, 9)))]
    texts = ["a good film", "the plot, was not", "very bad", "é \U0001f600"]
    return [
        [pick(draw, texts), label, round(float(draw.normal()), 3), ["Anna", "ran"], ["B-PER", "O"], i % 2]
        for i, label in enumerate(labels)
    ]


def _arrow(draw: Generator, n: int) -> pa.Array:
    now = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    long = "a" * 100_000
    values: list[tuple[Any, Any]] = [
        (pa.string(), pick(draw, ["", "pos", "\0", "é", "nan", "-1", "\x1b[2J", long])),
        (pa.large_string(), "x"),
        (pa.string_view(), "a longer text than twelve"),
        (pa.binary(), pick(draw, [b"\xff\xfe", b"abc"])),
        (pa.float64(), pick(draw, [float("nan"), float("inf"), 1e308, 0.5, -1.0])),
        (pa.float32(), 1e-40),
        (pa.float16(), np.float16(1.5)),
        (pa.int64(), pick(draw, [-1, 0, 2**63 - 1])),
        (pa.uint64(), 2**64 - 1),
        (pa.int8(), -100),
        (pa.bool_(), True),
        (pa.null(), None),
        (pa.decimal128(38, 10), decimal.Decimal("1.5")),
        (pa.timestamp("ns", tz="UTC"), now),
        (pa.timestamp("ns"), pick(draw, [2**62, 1])),
        (pa.date32(), pick(draw, [datetime.date(1, 1, 1), datetime.date(2024, 2, 2)])),
        (pa.time64("ns"), 1),
        (pa.duration("ns"), 123),
        (pa.list_(pa.string()), pick(draw, [[], ["a"], ["a", None], ["a", "b", "c"]])),
        (pa.list_(pa.int64()), pick(draw, [[-100, 1], [0, 1]])),
        (pa.list_(pa.list_(pa.float64())), [[1.0], []]),
        (
            pa.struct([("text", pa.list_(pa.string())), ("label", pa.list_(pa.string()))]),
            {"text": ["a", "b"], "label": ["A", "B"]},
        ),
        (pa.map_(pa.string(), pa.int64()), [("a", 1)]),
        (pa.list_(pa.string(), 2), ["a", "b"]),
    ]
    kind, value = pick(draw, values)
    cells = [value if chance(draw, 0.8) else None for _ in range(n)]
    if chance(draw, 0.1) and kind in (pa.string(), pa.int64()):
        return pa.array(cells, kind).dictionary_encode()
    return pa.array(cells, kind)


def _table(draw: Generator) -> tuple[pa.Table, int | None]:
    """A table, and how many rows of it are to be read, where that is known."""
    rows = records(draw)
    arrays: dict[str, Any] = {name: pa.array([row[i] for row in rows]) for i, name in enumerate(COLUMNS)}
    for _ in range(int(draw.integers(0, 4))):
        arrays[pick(draw, [*COLUMNS, "more", "", "\0"])] = _arrow(draw, len(rows))
    names, columns = list(arrays), list(arrays.values())
    if chance(draw, 0.1):
        names[-1] = names[0]  # a name twice
    table = pa.table(columns, names=names)
    if chance(draw, 0.1):
        table = pick(draw, [table.slice(0, 0), table.select([]), table.slice(1)])
    return table, None if names[-1] in names[:-1] or not table.num_columns else table.num_rows


def parquet(draw: Generator) -> tuple[bytes, int | None]:
    table, count = _table(draw)
    file = io.BytesIO()
    pq.write_table(
        table, file, compression=pick(draw, ["none", "snappy", "gzip", "zstd"]), store_schema=chance(draw, 0.8)
    )
    return file.getvalue(), count


def arrow(draw: Generator) -> tuple[bytes, int | None]:
    """Either form, in one batch or several. Not compressed: a buffer says its size, and pyarrow reserves whatever a
    damaged one says before it finds out (`tests/data/test_readers.py` has one)."""
    table, count = _table(draw)
    file = io.BytesIO()
    form = pick(draw, [pyarrow.ipc.new_file, pyarrow.ipc.new_stream])
    with form(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=pick(draw, [None, 2]))
    return file.getvalue(), count
