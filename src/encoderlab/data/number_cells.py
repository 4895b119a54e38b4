"""Read a column of numbers in the notations of people, spreadsheets and other countries.

Normally the decimal sign is a point, and numbers have no separators. A column may also have decimal commas (0,5) or
thousands separators (1,100.5 or 1.100,5 or 1 100), if all its cells together have one reading. 1,100 alone has two.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, final

_EXPONENT = r"(?:[eE][-+]?[0-9]++)?"
_PLAIN = re.compile(r"[-+]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)" + _EXPONENT)  # possessive: linear in a cell's length
_SPACES = " \u00a0\u2009\u202f'\u2019"  # between groups of three digits
_POINT = re.compile(rf"[-+]?(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[,{_SPACES}][0-9]{{3}})+)?(?:\.[0-9]*)?{_EXPONENT}")
_COMMA = re.compile(rf"[-+]?(?:[0-9]+|[1-9][0-9]{{0,2}}(?:[.{_SPACES}][0-9]{{3}})+)?(?:,[0-9]*)?{_EXPONENT}")
_LIKE = re.compile(rf"[-+]?[0-9.,{_SPACES}]*[0-9][0-9.,{_SPACES}]*{_EXPONENT}")
_LONGEST = 400  # characters of a number; on other cells, the patterns with groups take quadratic time
_SIGNS = {"\u2212": "-", "\uff0d": "-", "\uff0b": "+", "\uff0e": ".", "\uff0c": ",", "\u066b": ".", "\u066c": " "}


@final
@dataclass(frozen=True)
class Numbers:
    """The numbers of a column.

    Attributes:
        values: The value of each cell; None for a cell that is not a finite number.
        notes: How cells in unusual notations were read.
        hint: What to do about the cells that are not numbers; empty if unknown.
    """

    values: list[float | None]
    notes: tuple[str, ...]
    hint: str


def read_numbers(cells: Sequence[Any]) -> Numbers:
    """Read the cells of a column as finite numbers."""
    texts = {i: _usual_digits(cell.strip()) for i, cell in enumerate(cells) if isinstance(cell, str)}
    notes = []
    changed = next((cells[i] for i, text in texts.items() if text != cells[i].strip() and _is_like(text)), None)
    if changed is not None:
        notes.append(f"numbers with digits or signs other than 0-9 and -, such as {changed!r}, are read as 0-9")
    like = {i: text for i, text in texts.items() if _is_like(text)}
    odd = next((text for text in like.values() if not _PLAIN.fullmatch(text)), None)
    hint = ""
    if odd is not None:
        found = {name: _all(like, name) for name in ("point", "comma")}
        values = found["point"] if found["comma"] is None else found["comma"]
        if values is None:
            hint = "decimal commas, decimal points and thousands separators are mixed: write 1100.5"
        elif None not in found.values() and found["point"] != found["comma"]:
            hint = f"{odd!r} has a thousands separator or a decimal comma, and it is not clear which: write 1100 or 1.1"
        else:
            texts |= values
            notes.append(_said(odd, values, like))
    result = [_number(texts.get(i, cell)) for i, cell in enumerate(cells)]
    wrong = next((texts[i] for i, value in enumerate(result) if value is None and i in texts), "")
    return Numbers(result, tuple(notes), hint if _is_like(wrong) else _hint(wrong))


def _is_like(text: str) -> bool:
    """Return whether a cell has only the characters of a number."""
    return len(text) <= _LONGEST and _LIKE.fullmatch(text) is not None


def _usual_digits(text: str) -> str:
    """Replace full-width, Arabic, Indian and other digits with 0-9, and their signs with ASCII signs."""
    if text.isascii():
        return text
    return "".join(_SIGNS.get(sign, str(unicodedata.decimal(sign, sign))) for sign in text)


def _all(texts: dict[int, str], form: str) -> dict[int, str] | None:
    """Return all cells with a decimal point and without separators; None if a cell does not have the form."""
    pattern, thousands = (_POINT, ",") if form == "point" else (_COMMA, ".")
    if not all(map(pattern.fullmatch, texts.values())):
        return None
    drop = str.maketrans({sign: None for sign in thousands + _SPACES} | ({} if form == "point" else {",": "."}))
    return {i: text.translate(drop) for i, text in texts.items()}


def _said(odd: str, values: dict[int, str], texts: dict[int, str]) -> str:
    """Return the note on decimal commas and thousands separators."""
    value = next(values[i] for i, text in texts.items() if text == odd)
    return f"numbers with a decimal comma or thousands separators, such as {odd!r}, are read as {value}"


def _hint(text: str) -> str:
    """Return what to do about a cell that is not a number, or an empty string."""
    if len(text) > _LONGEST:
        return ""
    if text.endswith("%"):
        return "write percentages as numbers, without %"
    if re.fullmatch(r"[-+]?[0-9]+(_[0-9]+)+(\.[0-9_]*)?", text):
        return "write it without _"
    if re.search(r"[0-9]", text) and re.fullmatch(r"\W*[-+]?[0-9.,]+\s*[^\W\d]*\W*", text):
        return "write numbers without a unit or another sign"
    return ""


def _number(cell: Any) -> float | None:
    """Return the value of a finite number, or of a text in the usual form, else None."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | str | Decimal):
        return None
    if isinstance(cell, str) and not _PLAIN.fullmatch(cell):
        return None
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
