"""A finished run on new rows: `predict` streams a file through it, `evaluate` scores it on a labelled one."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from encoderlab.data import Rows, Source, prepare, read
from encoderlab.data.source import file_format, path_problem
from encoderlab.errors import InputError
from encoderlab.evaluate import load_run, logits

BLOCK = 512  # rows in memory at a time
Record = dict[str, Any]


def predict(run: Path, source: Path, out: TextIO) -> int:
    """Writes a CSV: the columns of `source`, then label, probability, one probability per class. Returns the rows.

    Rows keep their order. A new column whose name the file has already is written as predicted_<name>. Memory does not
    grow with the rows of a CSV, TSV or JSONL file; other formats are read whole. InputError for a folder that is no
    run, a missing column, an unreadable file.
    """
    loaded = load_run(run)
    columns, records = stream(source)
    writer = csv.writer(out, lineterminator="\n")
    count = 0
    while block := list(islice(records, BLOCK)):
        table = {name: [record.get(name) for record in block] for name in columns}
        rows = Rows(table, str(source), np.arange(count, count + len(block)))
        rows = prepare(rows, text=loaded.task.text_columns, label=None)
        encoded = loaded.task.encode(rows, loaded.tokenizer, loaded.max_length, loaded.class_names)
        answers = loaded.task.predictions(logits(loaded, encoded), loaded.class_names)
        if count == 0:
            writer.writerow([*columns, *(f"predicted_{name}" if name in columns else name for name in answers)])
        values = [*table.values(), *answers.values()]
        writer.writerows([_cell(value) for value in row] for row in zip(*values, strict=True))
        count += len(block)
    if count == 0:
        raise InputError(f"{source}: no rows; expected at least one")
    return count


def evaluate(run: Path, source: Path) -> dict[str, Any]:
    """The run's metrics on a labelled file, with `rows` and `notes` (what was dropped). InputError as in `predict`."""
    loaded = load_run(run)
    if problem := path_problem(source):
        raise InputError(problem)
    everything = read(Source(path=str(source.absolute())), Path())
    rows = prepare(everything, text=loaded.task.text_columns, label=loaded.task.label_column)
    encoded = loaded.task.encode(rows, loaded.tokenizer, loaded.max_length, loaded.class_names)
    metrics = loaded.task.metrics(logits(loaded, encoded), encoded.labels, loaded.class_names)
    return {"run": str(run), "file": str(source), "rows": len(rows), **metrics, "notes": list(rows.notes)}


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def stream(path: Path) -> tuple[list[str], Iterator[Record]]:
    """(columns, records one by one) of a file."""
    if problem := path_problem(path):
        raise InputError(problem)
    match file_format(path):
        case "csv":
            return _table(path, csv.reader(_lines(path), strict=True))
        case "tsv":
            # As in `data.readers`: one number of tabs in all lines means that quotes are characters.
            plain = len({line.count("\t") for line in _lines(path) if line.strip("\r\n")}) == 1
            return _table(path, _plain(path) if plain else csv.reader(_lines(path), delimiter="\t", strict=True))
        case "jsonl":
            return list(dict.fromkeys(name for record in _objects(path) for name in record)), _objects(path)
        case _:
            rows = read(Source(path=str(path.absolute())), Path())
            names = list(rows.columns)
            return names, (dict(zip(names, row, strict=True)) for row in zip(*rows.columns.values(), strict=True))


def _lines(path: Path) -> Iterator[str]:
    """The lines with their ends; InputError names the line of a byte that is not UTF-8."""
    number = 0
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(f"{path}:{number}: byte 0x{byte:02X} is not UTF-8; save the file as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a complete gzip file ({error}); copy or download it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _plain(path: Path) -> Iterator[list[str]]:
    """The fields of a TSV whose lines are its records; a field that is quoted as a whole loses its quotes."""
    for line in _lines(path):
        if line := line.rstrip("\r\n"):
            yield [_unquoted(field) for field in line.split("\t")]


def _unquoted(field: str) -> str:
    inner = field[1:-1].replace('""', "")
    whole = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner
    return field[1:-1].replace('""', '"') if whole else field


def _table(path: Path, rows: Iterable[list[str]]) -> tuple[list[str], Iterator[Record]]:
    csv.field_size_limit(sys.maxsize)
    numbered = _numbered(path, rows)
    _, header = next(numbered, (0, []))
    names = [name.strip() for name in header]
    if not names:
        raise InputError(f"{path}: the file is empty; expected a header and at least one row")
    if len(set(names)) < len(names):
        raise InputError(f"{path}:1: the header names a column twice: {', '.join(map(repr, names))}")
    return names, _records(path, names, numbered)


def _numbered(path: Path, rows: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """(number of the record, fields), blank lines left out."""
    number = 0
    try:
        for fields in rows:
            if fields:
                number += 1
                yield number, fields
    except csv.Error as error:
        raise InputError(f"{path}: record {number + 1}: {error}; is a quote missing?") from None


def _records(path: Path, names: list[str], numbered: Iterator[tuple[int, list[str]]]) -> Iterator[Record]:
    for number, fields in numbered:
        if len(fields) != len(names):
            raise InputError(
                f"{path}: record {number}: {len(fields)} fields, but the header has {len(names)}: "
                f"{', '.join(map(repr, names))}; quote a field that holds the delimiter"
            )
        yield dict(zip(names, fields, strict=True))


def _objects(path: Path) -> Iterator[Record]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}:{number}: not JSON: {error.msg}; expected one object per line") from None
            if not isinstance(value, dict):
                raise InputError(f"{path}:{number}: a {type(value).__name__}; expected one object per line")
            yield value
