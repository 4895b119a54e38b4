"""Read JSON files, whole or record by record. Reading by record keeps only one record in memory.

The content of a file decides how it is read, not its ending (.json or .jsonl):

    {"text": ...}                               one object per line, or one after another over several lines
    {"text": ...}
    [{"text": ...}, ...]                        a list of objects, alone or as the only list of an object ("data", ...)
    {"text": [...], "label": [...]}             lists of equal length, one per column
    {"text": {"0": ...}, "label": {"0": ...}}   as pandas writes it by default (orient="columns")
    {"0": {"text": ..., "label": ...}, ...}     orient="index"
    {"columns": [...], "data": [[...], ...]}    orient="split"

An error in a file is an InputError that names the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from encoderlab.core.errors import InputError
from encoderlab.core.files import json_value
from encoderlab.data.text import TextFile

T = TypeVar("T")
Columns = dict[str, list]
_WHOLE = re.compile(r"\[\s*(\{.*)?|\{")  # a first line that opens a list, or an object over several lines
_WANTED = "a list of objects"


def by_lines(file: TextFile) -> bool:
    """Return whether a file has one object per line.

    It has not if its first line opens a list, or an object that continues on the next line.
    """
    first = next((line.strip() for line in file.lines() if line.strip()), "")
    return _WHOLE.fullmatch(first) is None


def whole(file: TextFile, *, lines: bool) -> tuple[Columns, tuple[str, ...]]:
    """Read a file in any of the forms above.

    Args:
        file: the file.
        lines: whether its name promises an object per line.

    Returns:
        The columns, and a note if the file is not what its name promises.

    Raises:
        InputError: the file is empty, is not JSON, or has none of the forms.
    """
    path, text = file.path, "".join(file.lines())
    if not text.strip():
        raise InputError(f"{path}: the file is empty; expected {_WANTED}")
    content = _content(text, path)
    if isinstance(content, _Several):
        return from_objects(_all_objects(content, path, "")), (() if lines else ("read as one object per line",))
    columns, form = _columns(content, path)
    if lines:
        return columns, (f"read as {form or _WANTED}, not as one object per line",)
    return columns, ((f"read as {form}",) if form else ())


class _Several(list):
    """Values that follow each other in a file."""


def _content(text: str, path: Path) -> Any:
    """Decode the value of a file, or all values if several follow each other."""
    expected = f"{_WANTED}, or one object per line"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data") or not text.lstrip().startswith("{"):
            return json_value(text, path, expected)
    except (RecursionError, ValueError):
        return json_value(text, path, expected)
    values, place, decoder = _Several(), 0, json.JSONDecoder()
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        try:
            value, place = decoder.raw_decode(text, place)
        except (RecursionError, ValueError):
            before = text.count("\n", 0, place)
            return json_value("\n" * before + text[place:], path, expected)
        values.append(value)
    return values


def _columns(content: Any, path: Path) -> tuple[Columns, str]:
    """Return the columns of a value, and the name of its form; "" for a list of objects."""
    if isinstance(content, list):
        return from_objects(_all_objects(content, path, "item ")), ""
    if isinstance(content, dict) and content:
        names, data = content.get("columns"), content.get("data")
        if _is_list_of(names, str) and _is_list_of(data, list) and all(len(row) == len(names) for row in data):
            return {name: [row[i] for row in data] for i, name in enumerate(names)}, 'columns and data (orient="split")'
        if isinstance(data, list):
            return from_objects(_all_objects(data, path, "item ")), ""
        values = list(content.values())
        if all(isinstance(value, list) for value in values):
            if len(values) == 1 and _is_list_of(values[0], dict):
                return from_objects(values[0]), f"a list of objects under {next(iter(content))!r}"
            if len({len(value) for value in values}) == 1 and not all(_is_list_of(value, dict) for value in values):
                return dict(content), "an object with a list for each column"
        if all(isinstance(value, dict) for value in values):
            outer, inner = _numbered(content), all(map(_numbered, values))
            if inner and not outer and len({tuple(value) for value in values}) == 1:
                return {name: list(column.values()) for name, column in content.items()}, "a table as pandas writes it"
            if outer and not inner:
                return from_objects(values), 'an object for each row (orient="index")'
    keys = f" (its keys are {', '.join(map(repr, list(content)[:6]))})" if isinstance(content, dict) else ""
    raise InputError(f'{path}: expected a list of objects, or {{"data": [...]}}{keys}')


def _is_list_of(value: Any, kind: type[T]) -> TypeGuard[list[T]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, kind) for one in value)


def _numbered(value: Mapping[str, object]) -> bool:
    """Return whether the keys are whole numbers, as the keys of rows are."""
    return bool(value) and all(key.isdecimal() for key in value)


def _all_objects(values: list, path: Path, what: str) -> list[dict[str, Any]]:
    for i, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise InputError(
                f'{path}: {what or "value "}{i} is a {type(value).__name__}; expected an object such as {{"text": ...}}'
            )
    return values


def from_objects(objects: Iterable[Mapping[str, object]]) -> Columns:
    """Return the columns of objects; a missing key is None. One pass, so only the columns are in memory."""
    columns: Columns = {}
    for count, value in enumerate(objects):
        for name, cell in value.items():
            if name not in columns:
                columns[name] = [None] * count
            columns[name].append(cell)
        for column in columns.values():
            if len(column) == count:
                column.append(None)
    return columns


def objects(file: TextFile) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one object per line. Their keys may differ.

    Raises:
        InputError: the file is empty, or a line is not an object.
    """
    empty = True
    for number, line in enumerate(file.lines(), 1):
        if line := line.strip():
            empty = False
            value = json_value(line, file.path, "one object per line", number)
            if not isinstance(value, dict):
                raise InputError(f"{file.path}:{number}: a {type(value).__name__}; expected one object per line")
            yield value
    if empty:
        raise InputError(f"{file.path}: the file is empty; expected one object per line")


def column_names(objects: Iterable[Mapping[str, object]]) -> list[str]:
    """Return all keys of the objects, in the order of their first occurrence."""
    return list(dict.fromkeys(name for one in objects for name in one))
