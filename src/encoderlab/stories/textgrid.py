"""Praat TextGrid files: the intervals of one tier are the words, their middles the word times.

Both text forms (long, with `xmin = ` in front of every value, and short, the values alone) are the same sequence of
numbers and quoted strings once everything else is passed over; that sequence is what is read. UTF-8, UTF-16 with a byte
order mark, and ASCII. A quote inside a string is written twice. (Praat manual, "TextGrid file formats".)

Silence and noise marks are left out, and counted: nobody said them. Point tiers hold no words.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from encoderlab.errors import InputError
from encoderlab.stories.marks import is_mark

# Names that a tier of words goes by, the commonest first.
WORD_TIERS = ("words", "word", "tokensalign", "tokens", "orthography", "ort-mau")

_TOKEN = re.compile(r'"((?:[^"]|"")*)"|<(exists|absent)>|(?<![\w.\[])(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![\w\]])|(")')


@dataclass(frozen=True, kw_only=True)
class Tier:
    """intervals: (start, end, text), seconds."""

    name: str
    intervals: tuple[tuple[float, float, str], ...]


def read_textgrid(path: Path, tier: str | None = None) -> tuple[list[str], list[float], float, list[str]]:
    """The words of one tier, lower-cased, their middles in seconds, the end of the recording, and notes.

    tier: its name; default: the only one, or the one that is called as word tiers usually are. InputError for a file
    that is cut off or no TextGrid, and for a tier that is not there.
    """
    end, tiers = _parse(path)
    chosen = _choose(path, tiers, tier)
    words, times, marks, blank = [], [], 0, 0
    for start, stop, text in chosen.intervals:
        word = text.strip().lower()
        if not word:
            blank += 1
        elif is_mark(word):
            marks += 1
        else:
            words.append(word)
            times.append((start + stop) / 2)
    notes = [f"tier {chosen.name!r}: {len(words)} words"]
    notes += [f"{marks} silence and noise marks left out"] if marks else []
    notes += [f"{blank} intervals without text left out"] if blank else []
    return words, times, end, notes


def _choose(path: Path, tiers: list[Tier], name: str | None) -> Tier:
    names = ", ".join(repr(tier.name) for tier in tiers) or "none"
    if name is not None:
        found = [tier for tier in tiers if tier.name == name] or [t for t in tiers if t.name.lower() == name.lower()]
        if not found:
            raise InputError(f"{path}: no interval tier {name!r}; it has {names}")
        return found[0]
    if len(tiers) == 1:
        return tiers[0]
    for usual in WORD_TIERS:
        for tier in tiers:
            if tier.name.strip().lower() == usual:
                return tier
    raise InputError(f"{path}: which tier holds the words? Name it with `tier`; it has {names}")


def _text(path: Path) -> str:
    data = path.read_bytes()
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is neither UTF-8 nor UTF-16 with a byte order mark; the file is cut off, or "
            "was saved in another encoding: save it as UTF-8 in Praat (Text writing preferences)"
        ) from None


def _parse(path: Path) -> tuple[float, list[Tier]]:
    text = _text(path)
    head = text[:200]
    if "ooTextFile" not in head or "TextGrid" not in head:
        raise InputError(f'{path}: no TextGrid text file; expected File type = "ooTextFile" in its first line')
    values = _Values(path, text)
    values.string()  # the file's type and its class
    values.string()
    values.number()  # where it begins
    end = values.number()
    tiers = []
    if values.flag():
        for _ in range(values.count("tiers")):
            kind, name = values.string(), values.string()
            values.span()
            what = f"tier {name!r}"
            if kind == "IntervalTier":
                some = [(*values.span(), values.string()) for _ in range(values.count(what))]
                tiers.append(Tier(name=name, intervals=tuple(some)))
            elif kind == "TextTier":
                for _ in range(values.count(what)):
                    values.number()
                    values.string()
            else:
                raise InputError(f"{path}: {what} is of class {kind!r}; expected IntervalTier or TextTier")
    if not tiers:
        raise InputError(f"{path}: no interval tier in it; expected one with the words")
    return end, tiers


class _Values:
    """The numbers, strings and flags of a TextGrid in their order."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text, self.at = path, text, 0
        self.found: Iterator[re.Match[str]] = _TOKEN.finditer(text)

    def _next(self, group: int, expected: str) -> str:
        match = next(self.found, None)
        if match is None or match[4]:
            raise InputError(f"{self.path}: cut off: the file ends where {expected} was expected; copy it again")
        self.at = match.start()
        if match[group] is None:
            line = self.text.count("\n", 0, self.at) + 1
            raise InputError(f"{self.path}:{line}: expected {expected}, got {match[0][:40]}")
        return match[group]

    def string(self) -> str:
        return self._next(1, "a quoted text").replace('""', '"')

    def number(self) -> float:
        return float(self._next(3, "a number"))

    def span(self) -> tuple[float, float]:
        return self.number(), self.number()

    def flag(self) -> bool:
        return self._next(2, "<exists>") == "exists"

    def count(self, what: str) -> int:
        number = self.number()
        if number < 0 or number != int(number):
            raise InputError(f"{self.path}: the size of {what} is {number:g}; expected a whole number")
        return int(number)
