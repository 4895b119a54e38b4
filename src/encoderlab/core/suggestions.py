"""Suggest the known name that an unknown one was most likely meant to be."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

MOST = 40  # names in a list; a model has hundreds of modules


def did_you_mean(name: str, known: Sequence[str], otherwise: str = "", *, cutoff: float = 0.6) -> str:
    """Suggest the known name closest to an unknown one, for the end of an error message.

    Names that differ only in upper and lower case are the closest.

    Args:
        name: the unknown name.
        known: the names there are.
        otherwise: the words before a list of the first known names, which follows if none is close; empty: no list.
        cutoff: the least similarity of a close name, from 0 to 1, as in `difflib.get_close_matches`.

    Returns:
        "did you mean 'rank'?", or "known keys: rank, alpha", or an empty string.
    """
    folded = {one.casefold(): one for one in known}
    if close := get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff):
        return f"did you mean {folded[close[0]]!r}?"
    return f"{otherwise}{', '.join(known[:MOST])}" if otherwise and known else ""
