"""One list for all files of what nobody said: silence, noise, breath, laughter, sentence boundaries.

A token is a mark in two cases:

- it is on the list below. The short codes count with and without brackets; the words of the language count in brackets
  only, since somebody may say "laughter". A bracket may be missing on one side, as in `{ns`.
- it stands wholly in square, curly or angle brackets: `[door slams]`, `<cutoff-th>`, `{xyz}`. Round brackets are not
  enough: transcribers also put words that they are not sure of into them.

Sources: the TextGrids of ds003020 (LeBel et al. 2023), the Montreal Forced Aligner, WebMAUS, Buckeye, Kaldi.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_CODES = {
    "silence": "# sil sp sl",
    "noise": "spn ns ls cg ig",
    "breath": "br",
    "laughter": "lg",
    "boundary": "sentence_start sentence_end",
    "unknown word": "unk",
}
_WORDS = {
    "silence": "silence pause p: eps .",
    "noise": "noise cough coughs coughing lipsmack lip_smack click music applause usb nib",
    "breath": "breath breathing inhale inhales exhale exhales sigh sighs",
    "laughter": "laughter laugh laughs laughing chuckle chuckles",
    "unknown word": "inaudible unintelligible unclear",
}
_KIND_OF_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
_KIND_IN_BRACKETS = _KIND_OF_CODE | {word: kind for kind, words in _WORDS.items() for word in words.split()}
_BRACKETS = "{}[]()<>"
_WHOLE = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}|<[^<>]*>")


def is_mark(word: str, *, bare: bool = True) -> bool:
    """Whether a lower-case word is on the list. `bare`: the short codes also without brackets."""
    inner = word.strip(_BRACKETS)
    return inner.strip() in _KIND_IN_BRACKETS if inner != word else bare and word in _KIND_OF_CODE


def kind_of_mark(word: str, more: Collection[str] = ()) -> str | None:
    """Name the kind of a mark, or return None for a word.

    Args:
        word: in any case, without white space around it.
        more: further marks, in lower case: what `stories.marks` of a study lists.
    """
    word = word.lower()
    if word in more:
        return "listed"
    inner = word.strip(_BRACKETS)
    if inner == word:
        return _KIND_OF_CODE.get(word)
    if (kind := _KIND_IN_BRACKETS.get(inner.strip())) is not None:
        return kind
    for _ in range(3):  # brackets in brackets, from the inside
        word = _WHOLE.sub("", word)
    return "bracketed" if not word.strip() else None
