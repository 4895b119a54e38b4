"""What transcribers write that nobody said: silence, noise, breath, laughter, sentence boundaries.

Words of the language among them count as marks in brackets only: somebody may say "laughter".
"""

from __future__ import annotations

MARKS = frozenset("# sil sp spn br lg ls ns sl cg ig sentence_start sentence_end unk".split())
BRACKETED = MARKS | frozenset("silence noise laughter breath cough lipsmack inaudible".split())


def is_mark(word: str, *, bare: bool = True) -> bool:
    """Whether a lower-case word is a mark. `bare`: also without brackets, as in the tiers of a TextGrid."""
    inner = word.strip("{}[]()<>")
    return inner in BRACKETED if inner != word else bare and word in MARKS
