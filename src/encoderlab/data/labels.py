"""Labels in their one form, and the classes they make."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from encoderlab.data.cells import as_list, other_form

_WHOLE_AS_FLOAT = re.compile(r"-?[0-9]{1,300}\.0+")  # a column of whole numbers with a gap is one of floats to pandas


def canonical_label(value: object) -> str | None:
    """The class name of a label as it stands in a file, or None for an unlabelled row (null, empty, NaN).

    Raises ValueError for what cannot be a class: a fraction, a list, an object, half of a character."""
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, str):
        name = value.strip()
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"{name!r} is no class: it holds half of a character, which no file can name; correct it")
        if name.lower() in ("true", "false"):
            name = name.lower()
        elif _WHOLE_AS_FLOAT.fullmatch(name):
            name = str(int(name.partition(".")[0]))
    elif isinstance(value, bool):
        name = str(value).lower()
    elif isinstance(value, int) or (isinstance(value, float | Decimal) and value == value // 1):
        name = str(int(value))
    else:
        several = "; several labels a row (multi-label) are not supported yet" if isinstance(value, list) else ""
        keys = f"; write one of its values alone ({', '.join(map(str, value))})" if isinstance(value, Mapping) else ""
        raise ValueError(f"{value!r} is no class: expected a string, a whole number or a boolean{several}{keys}")
    return name or None


def labels_of(cells: Sequence[object], name: str) -> tuple[Callable[[object], str | None], list[str]]:
    """How the cells of a column with one label a row are read, and a note where that was found out.

    Lists of one label each are that label. A number with decimals is a class where all labels are numbers, as it is in
    a CSV, which knows no numbers. ValueError names multi-label data, which is not supported."""
    given = [cell for cell in cells if cell is not None and cell != ""]
    lists = [found for cell in given if (found := _label_list(cell)) is not None]
    if lists and len(lists) == len(given):
        if all(len(labels) == 1 for labels in lists):
            return _only_label, [f"column {name!r} has lists of one label each; read as that label"]
        most = max(lists, key=len)
        raise ValueError(
            f"column {name!r} has lists of labels, such as {most!r}: several labels a row (multi-label) are not "
            "supported yet; expected one label a row"
        )
    if spelled := next((cell for cell in given if isinstance(cell, str) and _has_strings(_label_list(cell))), None):
        raise ValueError(
            f"column {name!r} has lists of labels, such as {spelled}, and labels without a list; several labels a row "
            "(multi-label) are not supported yet: write one label a row"
        )
    if odd := next((cell for cell in given if isinstance(cell, str) and _no_label(cell)), None):
        raise ValueError(
            f"column {name!r} has lists or objects for labels, such as {odd[:60]!r}: several labels a row "
            "(multi-label) are not supported yet; expected one label a row, without brackets"
        )
    if given and all(isinstance(cell, int | float | Decimal) and not isinstance(cell, bool) for cell in given):
        return _number_label, []
    return canonical_label, []


def _label_list(cell: object) -> list | None:
    try:
        return as_list(cell)
    except ValueError:  # a class of that name
        return None


def _no_label(cell: str) -> bool:
    """Whether a text spells out a list or an object that is not read."""
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
    """The distinct class names in their fixed order: by value if all are whole numbers, else alphabetically."""
    distinct = set(names)
    try:
        return sorted(distinct, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(distinct)
