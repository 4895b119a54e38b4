"""JSON values and JSONL files record by record, so that memory does not grow with the file.

What is wrong with one is an InputError that names its line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from encoderlab.data.text import TextFile
from encoderlab.errors import InputError


def objects(file: TextFile) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; they may differ in their keys."""
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
