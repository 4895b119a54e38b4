"""Choose the tier that holds the words, in a file with several tiers.

A tier is chosen by its name if the name says "words". A tier of phones is never taken for words, unless the study names
it. If two tiers could hold the words, the file is refused, because the second may be another speaker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from encoderlab.brain.stories.transcript import Row
from encoderlab.core.errors import InputError

# Names of a tier of words, the commonest first.
WORD_TIERS = ("words", "word", "tokensalign", "tokens", "orthography", "ort-mau")

_PHONE_NAMES = re.compile(r"(?:^|[^a-z])(phon(e|es|eme|emes|em|emics?)?|segments?|mau)$")
_ARPABET = re.compile(
    r"(AA|AE|AH|AO|AW|AX|AXR|AY|B|CH|D|DH|DX|EH|ER|EY|F|G|HH|IH|IX|IY|JH|K|L|M|N|NG|OW|OY|P|R|S|SH|T|TH|UH|UW|V|W|Y|Z|ZH)"
    r"[0-2]?"
)
_PHONE_SHARE = 0.8  # of a tier's texts that are ARPAbet symbols: more than any English text has


@final
@dataclass(frozen=True, kw_only=True)
class Tier:
    """A tier of a file.

    Attributes:
        name: as in the file.
        rows: its texts with their times.
        points: whether each row is one point in time and not an interval.
    """

    name: str
    rows: tuple[Row, ...]
    points: bool = False

    @property
    def looks_like_phones(self) -> bool:
        """Whether the name says "phones", or most of the texts are ARPAbet symbols."""
        if names_phones(self.name):
            return True
        texts = [text for row in self.rows if (text := row.text.strip()) and text.lower() not in ("sil", "sp", "spn")]
        return len(texts) > 1 and sum(bool(_ARPABET.fullmatch(t.upper())) for t in texts) > _PHONE_SHARE * len(texts)


def names_phones(tier: str) -> bool:
    """Return whether a tier with this name holds phones."""
    return _PHONE_NAMES.search(tier.strip().lower()) is not None


def choose(path: Path, tiers: Sequence[Tier], wanted: str | int | None) -> Tier:
    """Choose the tier of the words.

    Args:
        path: the file, for messages.
        tiers: all tiers of the file.
        wanted: a name, or a number from 1 up; None chooses by the usual names, or takes the only tier.

    Raises:
        InputError: the wanted tier does not exist, or it is not clear which one is meant. The message lists all tiers.
    """
    ambiguous = len({tier.name for tier in tiers}) < len(tiers)  # then only their numbers tell them apart
    listed = [f"{n} {_shown(tier)}" if ambiguous else _shown(tier) for n, tier in enumerate(tiers, 1)]
    file_has = f"; the file has {', '.join(listed) or 'no tier'}"
    if wanted is not None:
        return _named(path, tiers, wanted, file_has)
    for usual in WORD_TIERS:
        if candidates := [tier for tier in tiers if tier.name.strip().lower() == usual]:
            break
    else:
        candidates = [tier for tier in tiers if re.search(r"[-_. ]words?$", tier.name.strip().lower())]
        candidates = candidates or (list(tiers) if len(tiers) == 1 else [])
    if len(candidates) == 1 and candidates[0].looks_like_phones:
        raise InputError(
            f"{path}: tier {candidates[0].name!r} seems to hold phones, not words; set `tier` to the tier of words, or "
            f"to this one if you mean it{file_has}"
        )
    if len(candidates) == 1:
        return candidates[0]
    number = list(tiers).index(candidates[0]) + 1 if candidates else 1
    what = f"{len(candidates)} tiers may hold the words;" if candidates else "which tier holds the words?"
    raise InputError(f"{path}: {what} choose one with `tier`, by its name or its number (tier = {number}){file_has}")


def _named(path: Path, tiers: Sequence[Tier], wanted: str | int, file_has: str) -> Tier:
    """Find the tier that the study names, or raise InputError."""
    name = str(wanted)
    matches = [tier for tier in tiers if tier.name == name] or [t for t in tiers if t.name.lower() == name.lower()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        number = list(tiers).index(matches[0]) + 1
        raise InputError(
            f"{path}: {len(matches)} tiers are called {name!r}; choose one by its number (tier = {number}){file_has}"
        )
    if name.isdecimal() and 1 <= int(name) <= len(tiers):
        return tiers[int(name) - 1]
    raise InputError(f"{path}: no tier {name!r}{file_has}; set `tier` to one of them")


def _shown(tier: Tier) -> str:
    return f"{tier.name!r} (points)" if tier.points else repr(tier.name)
