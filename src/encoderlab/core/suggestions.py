"""Suggest the known name that an unknown one was most likely meant to be."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def did_you_mean(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """Suggest the known name closest to an unknown one, for the end of an error message.

    Args:
        name: the unknown name.
        known: the names there are.
        otherwise: what introduces a list of all known names if none is close; without it, there is no list.

    Returns:
        "did you mean 'rank'?", or "known keys: rank, alpha", or an empty string.
    """
    if close := get_close_matches(name, known, n=1):
        return f"did you mean {close[0]!r}?"
    return f"{otherwise}{', '.join(known)}" if otherwise and known else ""
