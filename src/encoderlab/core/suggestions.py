"""The nearest known word to one that is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def near(word: str, known: Sequence[str], label: str = "known keys: ") -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; {label}{', '.join(known)}"
