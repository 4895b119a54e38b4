"""Say where the names of classes look like several labels in one cell: neg;pos, 2,10."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_SEPARATORS = ("|", ";", ",", "/", "+", "&", "\t", "\n", " ")
_PLAIN = ("|", ";", "\t", "\n")  # hardly in the name of one class
_WHOLE = re.compile(r"\d+")


def several_labels(counts: Mapping[str, int], column: str) -> str | None:
    """One line where names are made of other names, or of whole numbers; counts: rows of each name."""
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
            # 2,10 beside 27 may be several numbers; beside names it is a name of its own, as 1/2 is.
            made = made if all(_WHOLE.fullmatch(part) for name in counts for part in parts[name]) else []
        if made:
            rows = sum(counts[name] for name in made)
            return (
                f"{made[0]!r} in column {column!r} looks like {len(parts[made[0]])} labels in one cell ({rows} rows "
                "are like it), but is read as a class of its own: several labels a row (multi-label) are not supported "
                "yet; write one label a row"
            )
    return None
