"""Read CSV and TSV files record by record: detect the delimiter, the quoting and the lines that are records.

The delimiter is a comma in a .csv file and a tab in a .tsv file. If header and rows have another one (semicolon, tab,
bar) instead, encoderlab reads that one and adds a note. `delimiter` of the source overrides the detection.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import final

from encoderlab.core.errors import InputError
from encoderlab.data.source import DELIMITERS, file_format
from encoderlab.data.suspects import is_turned_header
from encoderlab.data.text import TextFile

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LOOK = 50  # records that are read to detect the delimiter
_SAID = re.compile(r"sep=(.)\r?\n?")  # the first line of a file that a spreadsheet wrote
_WHOLLY_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
Numbered = Iterator[tuple[int, list[str]]]  # (line where the record starts, fields)


@final
@dataclass(frozen=True)
class Table:
    """An open table.

    Attributes:
        names: The names of the columns in the order of the file. Several columns may have no name.
        records: The records, each with one field per name.
        delimiter: The delimiter.
        notes: One line for each thing that was detected.
    """

    names: list[str]
    records: Iterator[list[str]]
    delimiter: str
    notes: tuple[str, ...] = ()


def table(file: TextFile, delimiter: str | None = None) -> Table:
    """Open a CSV or TSV file.

    Raises:
        InputError: there is no header, or it names a column twice. The iterator of the records raises it at a record
            with another number of fields.
    """
    notes = list(file.notes)
    usual = "," if file_format(file.path) == "csv" else "\t"
    first = next(file.lines(), "")
    said = _SAID.fullmatch(first)
    if delimiter is None and said and said[1] in DELIMITERS:
        delimiter = said[1]
    if delimiter is None:
        delimiter = _delimiter(file, usual)
        if delimiter != usual:
            notes.append(f"the fields are separated by a {_NAMES[delimiter]}, not by a {_NAMES[usual]}")
    skip = int(bool(said))
    numbered = _records(file, delimiter, skip)
    line, header = next(numbered, (1, []))
    names = [name.strip() for name in header]
    if names in ([], [""]):
        raise InputError(f"{file.path}: the file is empty; expected a header and at least one row")
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        raise InputError(f"{file.path}:{line}: the header names a column twice: {shown(names)}")
    return Table(names, _checked(file, names, numbered, delimiter), delimiter, tuple(notes))


def shown(names: Sequence[str]) -> str:
    """Format column names for a message, shortened so that it stays one readable line."""
    short = (name if len(name) <= 60 else name[:59] + "…" for name in names[:20])
    return ", ".join(map(repr, short)) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _checked(file: TextFile, names: list[str], numbered: Numbered, delimiter: str) -> Iterator[list[str]]:
    """Yield records with one field per name. Raises InputError at any other record."""
    for line, fields in numbered:
        if len(fields) > len(names) and not any(fields[len(names) :]):
            fields = fields[: len(names)]  # empty cells of a spreadsheet after the last column
        if len(fields) != len(names):
            if len(names) > 1 and fields == [fields[0]] and not fields[0].strip():
                continue  # a line of spaces
            raise _wrong_number(file, line, len(fields), names, delimiter)
        if is_turned_header(names, fields):
            raise InputError(
                f"{file.path}:{line}: a second header with the columns in another order ({shown(fields)}); join "
                "files by the names of their columns"
            )
        yield fields


def _wrong_number(file: TextFile, line: int, found: int, names: list[str], delimiter: str) -> InputError:
    """Make the error for a record with another number of fields than the header."""
    what = f"{found} fields, but the header has {len(names)}: {shown(names)}"
    sign = _NAMES.get(delimiter, repr(delimiter))
    hint = f"quote a field that holds the delimiter ({sign})"
    if found < len(names):
        hint = f"a field is missing, or its delimiter ({sign})"
    others = [name for sign, name in _NAMES.items() if sign != delimiter and len(names) == 1 and sign in names[0]]
    if others:
        hint = f"if the fields are separated by a {others[0]}, set `delimiter` in the source"
    return InputError(f"{file.path}:{line}: {what}; {hint}")


def _delimiter(file: TextFile, usual: str) -> str:
    """Detect the delimiter: the usual one, unless exactly one other delimiter gives consistent columns."""
    header = next((line for line in file.lines(universal=True) if line.strip()), "")
    others = [sign for sign in DELIMITERS if sign != usual and sign in header]
    if not others:
        return usual
    fits = {sign: _fits(file, sign) for sign in ([usual] if usual in header else []) + others}
    if fits.get(usual):
        return usual
    good = [sign for sign in others if fits[sign]]
    return good[0] if len(good) == 1 else usual


def _fits(file: TextFile, sign: str) -> bool:
    """Return whether nearly all of the first records have as many fields as the header, two or more."""
    reader = csv.reader(file.lines(universal=True), delimiter=sign)
    try:
        sizes = [len(fields) for fields in islice(reader, _LOOK) if any(field.strip() for field in fields)]
    except csv.Error:
        return False
    return len(sizes) > 1 and sizes[0] > 1 and sum(size == sizes[0] for size in sizes) >= 0.9 * len(sizes)


def _records(file: TextFile, delimiter: str, skip: int) -> Numbered:
    """Yield the records, without blank lines and without lines of spaces above the header.

    Files with tabs have two dialects. If every line has as many tabs as the header, each line is a record and a stray
    quote is a character (GLUE). Otherwise quoted fields may contain tabs and line breaks (spreadsheets).
    """
    if delimiter != "\t":
        found = _quoted(file, delimiter, skip)
    elif _line_by_line(file, skip):
        found = _plain(file, skip)
    else:
        found = _quoted(file, "\t", skip)
    started = False
    for line, fields in found:
        started = started or any(field.strip() for field in fields)
        if started:
            yield line, fields


def _line_by_line(file: TextFile, skip: int) -> bool:
    """Return whether each line of a file with tabs is a record.

    Raises:
        InputError: neither dialect fits the file; the error names the line with another number of tabs.
    """
    header: list[str] = []
    uneven, found = 0, 0
    for line, fields in _plain(file, skip):
        if not header and any(field.strip() for field in fields):
            header = [field.strip() for field in fields]
        elif header and len(fields) != len(header) and any(field.strip() for field in fields):
            uneven, found = line, len(fields)
            break
    if not uneven:
        return True
    fault = _first_fault(file, skip, len(header))
    # Quoted fields that span lines explain the uneven line, unless the quoted dialect fails at or before it.
    if fault is not None and fault <= uneven:
        raise _wrong_number(file, uneven, found, header, "\t")
    return False


def _first_fault(file: TextFile, skip: int, width: int) -> int | None:
    """Return the line of the first record that does not fit the quoted dialect, or None."""
    line = 0
    try:
        for line, fields in _quoted(file, "\t", skip):
            if len(fields) != width and any(fields[width:] or [True]) and any(field.strip() for field in fields):
                return line
    except InputError:
        return line + 1
    return None


def _quoted(file: TextFile, delimiter: str, skip: int) -> Numbered:
    csv.field_size_limit(2**31 - 1)  # the default limit of a field is 128 KiB
    # strict: a quote that is never closed is an error instead of a field that swallows the rest of the file.
    header = next(_behind(file.lines(universal=True), skip), "")
    reader = csv.reader(
        _behind(file.lines(universal=True), skip),
        delimiter=delimiter,
        strict=True,
        skipinitialspace=f'{delimiter} "' in header,  # "text", "label": a quote after a space opens a field
    )
    start = 1 + skip
    try:
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1 + skip
    except csv.Error as error:
        line = next(islice(file.lines(universal=True), start - 1, None), "")
        escaped = "; a quote in a field is written twice, not with a backslash" if '\\"' in line else ""
        raise InputError(
            f'{file.path}:{start}: {error}; is a quote missing? expected quoted fields as in "a, ""b"""{escaped}'
        ) from None


def _plain(file: TextFile, skip: int) -> Numbered:
    """Yield each line as a record. Quotes around a whole field are removed."""
    for number, line in enumerate(_behind(file.lines(), skip), 1 + skip):
        if line := line.rstrip("\r\n"):
            fields = line.split("\t")
            whole = [_WHOLLY_QUOTED.fullmatch(field) for field in fields]
            yield number, [m[1].replace('""', '"') if m else field for m, field in zip(whole, fields, strict=True)]


def _behind(lines: Iterable[str], skip: int) -> Iterator[str]:
    return islice(iter(lines), skip, None)
