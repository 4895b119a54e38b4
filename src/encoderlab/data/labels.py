"""Convert labels to their canonical form, and order the classes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from encoderlab.data.cells import as_list, other_form

_WHOLE_AS_FLOAT = re.compile(r"-?[0-9]{1,300}\.0+")  # pandas writes a column of whole numbers with a gap as floats


def canonical_label(value: object) -> str | None:
    """Return the class name of a label as a file has it, or None for an unlabelled row (null, empty, NaN).

    Raises:
        ValueError: the value cannot be a class: a fraction, a list, an object, or text with a lone surrogate.
    """
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, str):
        name = value.strip()
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"{name!r} is not a class: it has half of a character (a lone surrogate); correct it")
        if name.lower() in ("true", "false"):
            name = name.lower()
        elif _WHOLE_AS_FLOAT.fullmatch(name):
            name = str(int(name.partition(".")[0]))
    elif isinstance(value, bool):
        name = str(value).lower()
    elif isinstance(value, int) or (isinstance(value, float | Decimal) and value == value // 1):
        name = str(int(value))
    else:
        several = "; several labels per row (multi-label) are not supported yet" if isinstance(value, list) else ""
        keys = f"; write only one of its values ({', '.join(map(str, value))})" if isinstance(value, Mapping) else ""
        raise ValueError(f"{value!r} is not a class: expected a string, a whole number or a boolean{several}{keys}")
    return name or None


def labels_of(cells: Sequence[object], name: str) -> tuple[Callable[[object], str | None], list[str]]:
    """Choose how to read the cells of a column with one label per row.

    A list of one label is read as that label. If all labels are numbers, a number with decimals is a class, as it is in
    a CSV file, where every cell is text.

    Args:
        cells: the cells of the column.
        name: the name of the column, for messages.

    Returns:
        The function that reads a cell, and the notes on what was detected.

    Raises:
        ValueError: the column has several labels per row, which is not supported.
    """
    given = [cell for cell in cells if cell is not None and cell != ""]
    lists = [found for cell in given if (found := _label_list(cell)) is not None]
    if lists and len(lists) == len(given):
        if all(len(labels) == 1 for labels in lists):
            return _only_label, [f"column {name!r} has lists of one label each; read as that label"]
        most = max(lists, key=len)
        raise ValueError(
            f"column {name!r} has lists of labels, such as {most!r}: several labels per row (multi-label) are not "
            "supported yet; expected one label per row"
        )
    if spelled := next((cell for cell in given if isinstance(cell, str) and _has_strings(_label_list(cell))), None):
        raise ValueError(
            f"column {name!r} has lists of labels, such as {spelled}, and labels without a list; several labels per "
            "row (multi-label) are not supported yet: write one label per row"
        )
    if odd := next((cell for cell in given if isinstance(cell, str) and _no_label(cell)), None):
        raise ValueError(
            f"column {name!r} has lists or objects as labels, such as {odd[:60]!r}: several labels per row "
            "(multi-label) are not supported yet; expected one label per row, without brackets"
        )
    if given and all(isinstance(cell, int | float | Decimal) and not isinstance(cell, bool) for cell in given):
        return _number_label, []
    return canonical_label, []


def _label_list(cell: object) -> list | None:
    try:
        return as_list(cell)
    except ValueError:  # not a list, but the name of a class
        return None


def _no_label(cell: str) -> bool:
    """Return whether a text looks like a list or an object but cannot be read."""
    try:
        as_list(cell)
    except ValueError:
        return True
    return other_form(cell) is not None


def _has_strings(labels: list | None) -> bool:
    return any(isinstance(label, str) for label in labels or ())


def _only_label(cell: object) -> str | None:
    labels = _label_list(cell)
    return None if labels is None else canonical_label(labels[0])


def _number_label(cell: object) -> str | None:
    if isinstance(cell, float | Decimal) and math.isfinite(cell) and cell != cell // 1:
        return str(cell)
    return canonical_label(cell)


def class_order(names: Iterable[str]) -> list[str]:
    """Return the distinct class names in their fixed order: by value if all are whole numbers, else alphabetically."""
    distinct = set(names)
    try:
        return sorted(distinct, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(distinct)
