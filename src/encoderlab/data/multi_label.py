"""Warn if the names of classes look like several labels in one cell: neg;pos, 2,10."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_SEPARATORS = ("|", ";", ",", "/", "+", "&", "\t", "\n", " ")
_PLAIN = ("|", ";", "\t", "\n")  # rare in the name of a single class
_WHOLE = re.compile(r"\d+")


def several_labels(counts: Mapping[str, int], column: str) -> str | None:
    """Return one line if some names consist of other names, or of whole numbers, else None.

    Args:
        counts: the number of rows of each name.
        column: the name of the column, for the message.
    """
    for sign in _SEPARATORS:
        parts = {name: [part.strip() for part in name.split(sign)] for name in counts}
        made = [name for name, found in parts.items() if len(found) > 1 and all(found)]
        if not made or len({len(parts[name]) for name in counts}) == 1:
            continue
        pieces = Counter(part for name in counts for part in set(parts[name]))
        known = {part for part in pieces if part in counts or (pieces[part] > 1 and sign != " ")}
        if sign not in _PLAIN:
            made = [name for name in made if set(parts[name]) <= known or all(map(_WHOLE.fullmatch, parts[name]))]
        if sign not in _PLAIN and all(map(_WHOLE.fullmatch, (part for name in made for part in parts[name]))):
            # 2,10 may be several numbers if other labels are numbers like 27; among names it is one name, like 1/2.
            made = made if all(_WHOLE.fullmatch(part) for name in counts for part in parts[name]) else []
        if made:
            rows = sum(counts[name] for name in made)
            return (
                f"{made[0]!r} in column {column!r} looks like {len(parts[made[0]])} labels in one cell ({rows} such "
                "rows), but is read as one class: several labels per row (multi-label) are not supported yet; write "
                "one label per row"
            )
    return None
