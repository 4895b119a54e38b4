"""Tiers of a file that aligns words and other things, and which of them holds the words.

A tier is chosen by its name where the name says "words". Phones are never taken for words unless the study names their
tier, and two tiers that could both be meant are refused: the second may be another speaker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from encoderlab.brain.stories.transcript import Row
from encoderlab.core.errors import InputError

# Names that a tier of words goes by, the commonest first.
WORD_TIERS = ("words", "word", "tokensalign", "tokens", "orthography", "ort-mau")

_PHONE_NAMES = re.compile(r"(?:^|[^a-z])(phon(e|es|eme|emes|em|emics?)?|segments?|mau)$")
_ARPABET = re.compile(
    r"(AA|AE|AH|AO|AW|AX|AXR|AY|B|CH|D|DH|DX|EH|ER|EY|F|G|HH|IH|IX|IY|JH|K|L|M|N|NG|OW|OY|P|R|S|SH|T|TH|UH|UW|V|W|Y|Z|ZH)"
    r"[0-2]?"
)
_PHONE_SHARE = 0.8  # of the texts of a tier that are ARPAbet symbols: more than any English text has


@final
@dataclass(frozen=True, kw_only=True)
class Tier:
    """A tier: its name and rows. points: each row is one time, not a stretch."""

    name: str
    rows: tuple[Row, ...]
    points: bool = False

    @property
    def looks_like_phones(self) -> bool:
        if names_phones(self.name):
            return True
        texts = [text for row in self.rows if (text := row.text.strip()) and text.lower() not in ("sil", "sp", "spn")]
        return len(texts) > 1 and sum(bool(_ARPABET.fullmatch(t.upper())) for t in texts) > _PHONE_SHARE * len(texts)


def names_phones(tier: str) -> bool:
    """Whether a tier of this name holds phones."""
    return _PHONE_NAMES.search(tier.strip().lower()) is not None


def choose(path: Path, tiers: Sequence[Tier], wanted: str | int | None) -> Tier:
    """Choose the tier of the words.

    Args:
        wanted: a name, or a number from 1 up; None: by the usual names, or the only one.

    Raises:
        InputError: which one is meant is not clear, or it is not there. The line lists all tiers.
    """
    twice = len({tier.name for tier in tiers}) < len(tiers)  # then only their numbers tell them apart
    listed = [f"{n} {_said(tier)}" if twice else _said(tier) for n, tier in enumerate(tiers, 1)]
    it_has = f"; it has {', '.join(listed) or 'no tier'}"
    if wanted is not None:
        return _named(path, tiers, wanted, it_has)
    for usual in WORD_TIERS:
        if found := [tier for tier in tiers if tier.name.strip().lower() == usual]:
            break
    else:
        found = [tier for tier in tiers if re.search(r"[-_. ]words?$", tier.name.strip().lower())]
        found = found or (list(tiers) if len(tiers) == 1 else [])
    if len(found) == 1 and found[0].looks_like_phones:
        raise InputError(
            f"{path}: tier {found[0].name!r} seems to hold phones, not words; name the tier of the words with `tier`, "
            f"or this one if it is meant{it_has}"
        )
    if len(found) == 1:
        return found[0]
    number = list(tiers).index(found[0]) + 1 if found else 1
    what = f"{len(found)} tiers may hold the words;" if found else "which tier holds the words?"
    raise InputError(f"{path}: {what} choose one with `tier`, by its name or its number (tier = {number}){it_has}")


def _named(path: Path, tiers: Sequence[Tier], wanted: str | int, it_has: str) -> Tier:
    name = str(wanted)
    found = [tier for tier in tiers if tier.name == name] or [t for t in tiers if t.name.lower() == name.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        number = list(tiers).index(found[0]) + 1
        raise InputError(
            f"{path}: {len(found)} tiers are called {name!r}; choose one by its number (tier = {number}){it_has}"
        )
    if name.isdecimal() and 1 <= int(name) <= len(tiers):
        return tiers[int(name) - 1]
    raise InputError(f"{path}: no tier {name!r}{it_has}")


def _said(tier: Tier) -> str:
    return f"{tier.name!r} (points)" if tier.points else repr(tier.name)
