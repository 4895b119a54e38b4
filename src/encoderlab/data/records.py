"""CSV, TSV and JSONL files record by record, so that memory does not grow with the file.

Files are UTF-8 (a byte order mark is ignored), each may be compressed. What is wrong with one is an InputError that
names its line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from encoderlab.data.source import file_format
from encoderlab.errors import InputError


def lines(path: Path, *, universal: bool = False) -> Iterator[str]:
    """The lines of a text file with their ends. `universal`: a carriage return alone ends one as well."""
    number = 0
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if universal and "\r" in text:
                    yield from io.StringIO(text, newline="")
                else:
                    yield text
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(
            f"{path}:{number}: byte 0x{byte:02X} is not UTF-8; save the file as UTF-8, e.g. iconv -f LATIN1 -t UTF-8"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a complete gzip file ({error}); copy or download it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def table(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """(column names, records) of a CSV or TSV file; every record has as many fields as there are columns."""
    numbered = _numbered(path)
    line, header = next(numbered, (1, []))
    names = [name.strip() for name in header]
    if names in ([], [""]):
        raise InputError(f"{path}: the file is empty; expected a header and at least one row")
    if len(set(names)) < len(names):
        raise InputError(f"{path}:{line}: the header names a column twice: {', '.join(map(repr, names))}")
    return names, _records(path, names, numbered)


def _records(path: Path, names: list[str], numbered: Iterator[tuple[int, list[str]]]) -> Iterator[list[str]]:
    for line, fields in numbered:
        if len(fields) != len(names):
            raise InputError(
                f"{path}:{line}: {len(fields)} fields, but the header has {len(names)}: {', '.join(map(repr, names))}; "
                "quote a field that holds the delimiter"
            )
        yield fields


def _numbered(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line where the record starts, fields), blank lines left out.

    TSV has two dialects. If every line has as many tabs as the header, a line is a record and a stray quote is a
    character (GLUE); otherwise quoted fields may hold tabs and line breaks (spreadsheets)."""
    if file_format(path) == "csv":
        return _quoted(path, ",")
    tabs = {line.count("\t") for line in lines(path) if line.strip("\r\n")}
    return _quoted(path, "\t") if len(tabs) > 1 else _plain(path)


def _quoted(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)  # the default refuses fields above 128 KiB
    # strict: a quote that is never closed is an error instead of a field that swallows the rest of the file.
    reader = csv.reader(lines(path, universal=True), delimiter=delimiter, strict=True)
    start = 1
    try:
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f'{path}:{start}: {error}; is a quote missing? expected quoted fields as in "a, ""b"""'
        ) from None


_WHOLLY_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def _plain(path: Path) -> Iterator[tuple[int, list[str]]]:
    """A field that is quoted as a whole loses its quotes."""
    for number, line in enumerate(lines(path), 1):
        if line := line.rstrip("\r\n"):
            fields = line.split("\t")
            whole = [_WHOLLY_QUOTED.fullmatch(field) for field in fields]
            yield number, [m[1].replace('""', '"') if m else field for m, field in zip(whole, fields, strict=True)]


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; they may differ in their keys."""
    empty = True
    for number, line in enumerate(lines(path), 1):
        if line := line.strip():
            empty = False
            value = json_value(line, path, "one object per line", number)
            if not isinstance(value, dict):
                raise InputError(f"{path}:{number}: a {type(value).__name__}; expected one object per line")
            yield value
    if empty:
        raise InputError(f"{path}: the file is empty; expected one object per line")


def json_value(text: str, path: Path, expected: str, line: int | None = None) -> Any:
    """`text` decoded; `line`: where it stands in the file, None if it is the file."""
    where = str(path) if line is None else f"{path}:{line}"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{line or error.lineno}: not JSON: {error.msg}; expected {expected}") from None
    except RecursionError:
        raise InputError(f"{where}: values are nested too deeply to be read; expected {expected}") from None
    except ValueError:  # what is left: Python refuses to convert such numbers
        limit = sys.get_int_max_str_digits()
        raise InputError(f"{where}: a whole number has more than {limit} digits; write it as a string") from None


def column_names(objects: Iterable[dict[str, Any]]) -> list[str]:
    """Every key that occurs, in the order of its first occurrence."""
    return list(dict.fromkeys(name for one in objects for name in one))
