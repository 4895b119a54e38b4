r"""Read Praat TextGrid files: the intervals or points of one tier are the words.

Three text forms are read: long (`xmin = ` in front of every value), short (the values alone) and chronological (the
intervals of all tiers in order of time). All are a sequence of free-standing numbers, quoted texts and flags. Anything
else is skipped, and so is a comment, from `!` to the end of its line. A quote inside a text is written twice. Letters
that Praat writes as backslash codes (`\e'`, `\ss`) are read as letters. (Praat manual, "TextGrid file formats".)

Times count from `xmin` of the file, which Praat keeps when it cuts a part out of a longer recording.
"""

from __future__ import annotations

import math
import re
import unicodedata
from pathlib import Path

from encoderlab.brain.stories.content import text_of
from encoderlab.brain.stories.tiers import Tier, choose
from encoderlab.brain.stories.transcript import Row, Spoken
from encoderlab.core.errors import InputError

_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|(?P<open>")|(?P<comment>![^\n]*)|<(?P<flag>exists|absent)>'
    r"|(?<![^\s=])(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)|(?<![^\s=])(?P<comma>-?\d*,\d+)(?!\S)"
)
_CHRONOLOGICAL = "Praat chronological TextGrid text file"
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", ",": "\u0327"}
_ACCENTED = re.compile(r"""\\([A-Za-z])(['`^"~,])""")
_LETTERS = {"ss": "ß", "o/": "ø", "O/": "Ø", "ae": "æ", "Ae": "Æ", "oe": "œ", "Oe": "Œ", "ao": "å", "Ao": "Å"}
_LETTER = re.compile(r"\\(" + "|".join(map(re.escape, _LETTERS)) + ")")


def read_textgrid(path: Path, tier: str | int | None = None) -> list[Spoken]:
    """Read the words of one tier, in lower case.

    Args:
        path: the file.
        tier: the name or the number (from 1) of the tier of words; None chooses it by its name.

    Raises:
        InputError: the file is cut off or is not a TextGrid, or it is not clear which tier is meant.
    """
    begin, end, tiers = _parse(path)
    chosen = choose(path, tiers, tier)
    rows = [row._replace(text=_letters(row.text)) for row in chosen.rows]
    return [Spoken(name=path.stem, rows=rows, begin=begin, end=end, lower=True, tier=chosen.name)]


def _letters(text: str) -> str:
    """Replace Praat's backslash codes by letters."""
    if "\\" not in text:
        return text
    text = _LETTER.sub(lambda match: _LETTERS[match[1]], text)
    return _ACCENTED.sub(lambda match: unicodedata.normalize("NFC", match[1] + _ACCENTS[match[2]]), text)


def _parse(path: Path) -> tuple[float, float, list[Tier]]:
    """Read (beginning in seconds, end in seconds, tiers) of a TextGrid."""
    text = text_of(path)
    head = text[:200]
    if head.startswith("ooBinaryFile"):
        raise InputError(f"{path}: a binary TextGrid; expected a text file; open it in Praat and use Save as text file")
    values = _Values(path, text)
    if _CHRONOLOGICAL in head:
        values.string()
        return _chronological(values)
    if "ooTextFile" not in head or "TextGrid" not in head:
        raise InputError(f'{path}: not a TextGrid text file; expected File type = "ooTextFile" in its first line')
    values.string()  # the file's type and its class
    values.string()
    begin, end = values.span()
    tiers = []
    if values.flag():
        for _ in range(values.count("tiers")):
            points, name = values.tier_class(), values.string()
            values.span()
            rows = [values.row(points) for _ in range(values.count(f"tier {name!r}"))]
            tiers.append(Tier(name=name, rows=tuple(rows), points=points))
    return begin, end, tiers


def _chronological(values: _Values) -> tuple[float, float, list[Tier]]:
    """Read the rest of a chronological TextGrid, in which the rows of all tiers are mixed."""
    begin, end = values.span()
    kinds: list[tuple[bool, str]] = []
    for _ in range(values.count("tiers")):
        kinds.append((values.tier_class(), values.string()))
        values.span()
    rows: list[list[Row]] = [[] for _ in kinds]
    while values.more():
        number = values.count("tiers, up to this one,")
        if not 1 <= number <= len(kinds):
            raise InputError(
                f"{values.path}:{values.line}: tier {number}; the file has {len(kinds)} tiers; copy it again"
            )
        rows[number - 1].append(values.row(kinds[number - 1][0]))
    pairs = zip(kinds, rows, strict=True)
    return begin, end, [Tier(name=name, rows=tuple(tier_rows), points=points) for (points, name), tier_rows in pairs]


class _Values:
    """The numbers, texts and flags of a TextGrid, read one after the other."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.tokens = (match for match in _TOKEN.finditer(text) if match["comment"] is None)
        self.ahead: re.Match[str] | None = None  # the next token, if it was looked at already
        self.line, self.at = 1, 0  # line and position of the last token

    def more(self) -> bool:
        self.ahead = self.ahead or next(self.tokens, None)
        return self.ahead is not None

    def _next(self, group: str, expected: str) -> str:
        """Read the next token, which has to be of this group of `_TOKEN`; `expected` names it in messages."""
        if not self.more() or self.ahead is None:
            raise InputError(f"{self.path}: cut off: the file ends where {expected} was expected; copy it again")
        match, self.ahead = self.ahead, None
        self.line += self.text.count("\n", self.at, match.start())
        self.at = match.start()
        where = f"{self.path}:{self.line}"
        if match["text"] is not None or match["open"] is not None:
            self._check_quotes(match, where)
        if match["comma"] is not None:
            raise InputError(f"{where}: {match[0]} has a decimal comma; expected a point, as in 0.5")
        if match["open"] is not None:
            raise InputError(f"{where}: cut off: a text begins here and does not end; copy it again")
        if match[group] is None:
            raise InputError(f"{where}: expected {expected}, got {' '.join(match[0].split())[:40]}")
        return match[group]

    def _check_quotes(self, match: re.Match[str], where: str) -> None:
        """Raise InputError if a character touches the quotes of a text: a quote inside it was not written twice."""
        before, after = self.text[match.start() - 1 : match.start()], self.text[match.end() : match.end() + 1]
        if (before and before not in " \t\r\n=") or (after and not after.isspace() and match["open"] is None):
            line = self.text[self.text.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0].strip()
            raise InputError(
                f'{where}: a quote inside a text is not written twice ({line[:60]}); expected "" for each, as in '
                '"say ""no"""'
            )

    def string(self) -> str:
        return self._next("text", "a quoted text").replace('""', '"')

    def number(self) -> float:
        number = float(self._next("number", "a number"))
        if not math.isfinite(number):
            raise InputError(f"{self.path}:{self.line}: the number is too large; expected seconds or a count")
        return number

    def span(self) -> tuple[float, float]:
        return self.number(), self.number()

    def flag(self) -> bool:
        return self._next("flag", "<exists>") == "exists"

    def tier_class(self) -> bool:
        """Read the class of a tier; True for a tier of points."""
        kind = self._next("text", "the class of one more tier")
        if kind not in ("IntervalTier", "TextTier"):
            raise InputError(f"{self.path}:{self.line}: a tier of class {kind!r}; expected IntervalTier or TextTier")
        return kind == "TextTier"

    def row(self, point: bool) -> Row:
        start = self.number()
        line = self.line
        stop = start if point else self.number()
        return Row(self.string(), start, stop, line)

    def count(self, what: str) -> int:
        number = self.number()
        if number < 0 or number != int(number):
            raise InputError(f"{self.path}:{self.line}: the size of {what} is {number:g}; expected a whole number")
        return int(number)
