"""The list of marks: tokens of a transcript that nobody said (silence, noise, breath, laughter, sentence boundaries).

The same list holds for all file formats. A token is a mark in two cases:

- It is on the list below. The short codes count with and without brackets. Words of the language count only in
  brackets, because a speaker may say "laughter". A bracket may be missing on one side, as in `{ns`.
- It stands wholly in square, curly or angle brackets: `[door slams]`, `<cutoff-th>`, `{xyz}`. Round brackets are not
  enough, because transcribers also put doubtful words into them.

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
    """Return whether a lower-case word is on the list; with `bare`, the short codes also count without brackets."""
    inner = word.strip(_BRACKETS)
    return inner.strip() in _KIND_IN_BRACKETS if inner != word else bare and word in _KIND_OF_CODE


def kind_of_mark(word: str, more: Collection[str] = ()) -> str | None:
    """Name the kind of a mark, or return None for a word.

    Args:
        word: a token in upper or lower case, without white space around it.
        more: further marks in lower case, as `stories.marks` of a study lists them.
    """
    word = word.lower()
    if word in more:
        return "listed"
    inner = word.strip(_BRACKETS)
    if inner == word:
        return _KIND_OF_CODE.get(word)
    if (kind := _KIND_IN_BRACKETS.get(inner.strip())) is not None:
        return kind
    for _ in range(3):  # nested brackets, removed from the inside
        word = _WHOLE.sub("", word)
    return "bracketed" if not word.strip() else None
