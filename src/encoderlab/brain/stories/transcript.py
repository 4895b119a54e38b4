"""From the rows of any file to the words of a story: the one step that every reader of words with times goes through.

A reader says what its file holds (`Spoken`); this step decides what of it was said and when. So the same cell means
the same in every form: `n/a`, an empty text, a mark and a word without a time are left out and counted, words stand in
the order of their onsets, and times count from the beginning of the recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple, final

from encoderlab.brain.stories.marks import kind_of_mark
from encoderlab.core.errors import InputError

MISSING = ("", "n/a")  # BIDS: a value that is not there
PANDAS = "NaN"  # what pandas and numpy write for a value that is not there; nobody's spelling of a word
LIKE_MISSING = ("nan", "NAN", "NA", "null", "NULL", "None")  # these may be words
LONGEST_WORD = 10.0  # seconds
LONGEST_GAP = 100.0  # seconds from one word to the next, in the middle of a story
SOME_PHRASES = 0.5  # of the rows


class Row(NamedTuple):
    """start, stop: seconds; None where the file has no time for this text. line: in the file, where it has lines."""

    text: str
    start: float | None
    stop: float | None
    line: int | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What a file holds of one story, as it stands there.

    begin, end: of the recording, on the clock of the rows; end None: the end of the last row. lower: words in lower
    case. tier: that holds the rows. notes: lines for the user
    """

    name: str
    rows: Sequence[Row]
    begin: float = 0.0
    end: float | None = None
    lower: bool = False
    tier: str | None = None
    notes: Sequence[str] = field(default=())


@final
@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The words of a story, their middles and the end of the recording: seconds from the recording's beginning."""

    name: str
    words: list[str]
    times: list[float]
    end: float
    notes: list[str]


def transcript(path: Path, spoken: Spoken, marks: Collection[str] = ()) -> Transcript:
    """Choose and order the words of a file.

    Args:
        marks: further texts that are no words.

    Raises:
        InputError: no word is left, a row ends before it begins, or the times cannot be seconds.
    """
    more = {mark.strip().lower() for mark in marks}
    kept: list[tuple[float, float, str]] = []
    left, examples = Counter[str](), dict[str, Counter[str]]()
    for row in spoken.rows:
        word = " ".join(row.text.split())  # a label of a TextGrid may hold a line break
        kind = kind_of_mark(word, more)
        if row.start is not None and row.stop is not None and row.stop < row.start:
            raise InputError(
                f"{_at(path, row)}: {word!r} ends at {row.stop:g} s, before it begins at {row.start:g} s; expected a "
                "duration of 0 or more"
            )
        if word.lower() in MISSING:
            left[f"rows {'with n/a for a word' if word else 'without text'} left out"] += 1
        elif word == PANDAS:
            left[f"rows with {PANDAS} for a word left out"] += 1
        elif kind is not None:
            left[f"{kind} marks left out"] += 1
            examples.setdefault(f"{kind} marks left out", Counter())[word.lower()] += 1
        elif row.start is None or row.stop is None:
            left["words without a time left out"] += 1
            examples.setdefault("words without a time left out", Counter())[word] += 1
        else:
            kept.append((row.start - spoken.begin, row.stop - spoken.begin, word.lower() if spoken.lower else word))
    stops = [row.stop for row in spoken.rows if row.stop is not None]
    end = (max(stops, default=spoken.begin) if spoken.end is None else spoken.end) - spoken.begin
    if not kept:
        said = ", ".join(f"{count} {what}" for what, count in left.items()) or "no rows"
        raise InputError(f"{path}: story {spoken.name!r}: no words in it ({said}); remove the file, or fill it")
    _refuse_other_units(path, spoken.name, kept)
    notes = [f"tier {spoken.tier!r}: {len(kept)} words"] if spoken.tier is not None else []
    notes += spoken.notes
    if spoken.begin:
        notes.append(f"times count from the beginning of the recording, which the file sets to {spoken.begin:g} s")
    for what, count in left.items():
        which = f": {_shown(examples[what])}" if what in examples else ""
        notes.append(f"{count} {what}{which}")
    notes += _oddities(kept, end)
    kept.sort(key=lambda one: one[0])  # stable: words of one onset keep their order
    middles = [(start + stop) / 2 for start, stop, _ in kept]
    return Transcript(name=spoken.name, words=[word for *_, word in kept], times=middles, end=end, notes=notes)


def _at(path: Path, row: Row) -> str:
    return str(path) if row.line is None else f"{path}:{row.line}"


def _shown(found: Counter[str], most: int = 5) -> str:
    """The commonest of some texts."""
    return ", ".join(text[:30] for text, _ in found.most_common(most)) + (", ..." if len(found) > most else "")


def _refuse_other_units(path: Path, name: str, kept: Sequence[tuple[float, float, str]]) -> None:
    """Raise InputError where times cannot be seconds."""
    where = f"{path}: story {name!r}"
    lasts = median(stop - start for start, stop, _ in kept)
    starts = sorted(start for start, *_ in kept)
    gap = median(b - a for a, b in zip(starts, starts[1:], strict=False)) if len(starts) > 1 else 0.0
    for what, seconds, limit in (
        ("a word lasts", lasts, LONGEST_WORD),
        ("words follow each other after", gap, LONGEST_GAP),
    ):
        if seconds > limit:
            raise InputError(
                f"{where}: {what} {seconds:g} s (the median of {len(kept)} words), which no speech has; expected "
                "seconds: divide the times by 1000 if they are milliseconds, by the rate if they are samples"
            )


def _oddities(kept: Sequence[tuple[float, float, str]], end: float) -> list[str]:
    counts = {
        "words stood after a later word; put in the order of their onsets": sum(
            b[0] < a[0] for a, b in zip(kept, kept[1:], strict=False)
        ),
        "words begin before the recording (negative times)": sum(start < 0 for start, *_ in kept),
        "words end after the recording": sum(stop > end + 1e-3 for _, stop, _ in kept),
        f"words last over {LONGEST_WORD:g} s": sum(stop - start > LONGEST_WORD for start, stop, _ in kept),
        "words in round brackets (kept)": sum(word[0] == "(" and word[-1] == ")" for *_, word in kept),
    }
    if like := Counter(word for *_, word in kept if word in LIKE_MISSING):
        what = (
            f"words are kept that may stand for a missing word ({_shown(like)}); if so, list them under stories.marks"
        )
        counts[what] = like.total()
    if (phrases := sum(len(word.split()) > 1 for *_, word in kept)) > SOME_PHRASES * len(kept):  # "new york" is usual
        counts["rows hold several words and count as one word each; align them for a time of each"] = phrases
    return [f"{count} {what}" for what, count in counts.items() if count]
