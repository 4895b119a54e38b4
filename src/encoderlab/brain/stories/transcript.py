"""Turn the rows of any file into the words of a story: the one step that all readers of words with times share.

A reader returns what its file holds (`Spoken`). This step decides which words were said, and when, so a cell means the
same in every format. It leaves out and counts `n/a`, empty texts, marks and words without a time. It sorts the words by
their onsets, and counts times from the beginning of the recording.
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

MISSING = ("", "n/a")  # a missing value in BIDS
PANDAS = "NaN"  # a missing value as pandas and numpy write it; no word is spelled so
LIKE_MISSING = ("nan", "NAN", "NA", "null", "NULL", "None")  # missing values or words
LONGEST_WORD = 10.0  # seconds
LONGEST_GAP = 100.0  # seconds from one word to the next, in the middle of a story
SOME_PHRASES = 0.5  # of the rows


class Row(NamedTuple):
    """A text of a file with its times.

    Attributes:
        text: as in the file.
        start: seconds; None if the file has no time for this text.
        stop: seconds; None if the file has no time for this text.
        line: the number of its line, for files that have lines.
    """

    text: str
    start: float | None
    stop: float | None
    line: int | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Spoken:
    """The rows of one story, as a file holds them.

    Attributes:
        name: the story's name.
        rows: texts with times, in the order of the file.
        begin: the beginning of the recording in seconds, on the clock of the rows.
        end: the end of the recording in seconds; None means the end of the last row.
        lower: whether the words become lower case.
        tier: the tier that holds the rows, if the file has tiers.
        notes: lines for the user.
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
    """The words of a story with their times.

    Attributes:
        name: the story's name.
        words: what was said, in the order of the onsets.
        times: the middle of each word, in seconds from the beginning of the recording.
        end: the end of the recording, in seconds from its beginning.
        notes: lines for the user.
    """

    name: str
    words: list[str]
    times: list[float]
    end: float
    notes: list[str]


def transcript(path: Path, spoken: Spoken, marks: Collection[str] = ()) -> Transcript:
    """Choose and order the words of a file.

    Args:
        path: the file, for messages.
        spoken: the rows of one story.
        marks: further texts that are not words.

    Raises:
        InputError: no word is left, a row ends before it begins, or the times cannot be seconds.
    """
    more = {mark.strip().lower() for mark in marks}
    words: list[tuple[float, float, str]] = []  # start, stop, word
    left_out, examples = Counter[str](), dict[str, Counter[str]]()
    for row in spoken.rows:
        word = " ".join(row.text.split())  # a label of a TextGrid may hold a line break
        kind = kind_of_mark(word, more)
        if row.start is not None and row.stop is not None and row.stop < row.start:
            raise InputError(
                f"{_at(path, row)}: {word!r} ends at {row.stop:g} s, before it begins at {row.start:g} s; expected a "
                "duration of 0 or more"
            )
        if word.lower() in MISSING:
            left_out[f"rows {'with n/a for a word' if word else 'without text'} left out"] += 1
        elif word == PANDAS:
            left_out[f"rows with {PANDAS} for a word left out"] += 1
        elif kind is not None:
            left_out[f"{kind} marks left out"] += 1
            examples.setdefault(f"{kind} marks left out", Counter())[word.lower()] += 1
        elif row.start is None or row.stop is None:
            left_out["words without a time left out"] += 1
            examples.setdefault("words without a time left out", Counter())[word] += 1
        else:
            words.append((row.start - spoken.begin, row.stop - spoken.begin, word.lower() if spoken.lower else word))
    stops = [row.stop for row in spoken.rows if row.stop is not None]
    end = (max(stops, default=spoken.begin) if spoken.end is None else spoken.end) - spoken.begin
    if not words:
        why = ", ".join(f"{count} {what}" for what, count in left_out.items()) or "no rows"
        raise InputError(
            f"{path}: story {spoken.name!r}: no words in it ({why}); expected at least one; remove the file, or add "
            "its words"
        )
    _refuse_other_units(path, spoken.name, words)
    notes = [f"tier {spoken.tier!r}: {len(words)} words"] if spoken.tier is not None else []
    notes += spoken.notes
    if spoken.begin:
        notes.append(f"times count from the beginning of the recording, which the file sets to {spoken.begin:g} s")
    for what, count in left_out.items():
        which = f": {_shown(examples[what])}" if what in examples else ""
        notes.append(f"{count} {what}{which}")
    notes += _oddities(words, end)
    words.sort(key=lambda timed: timed[0])  # stable: words with the same onset keep their order
    middles = [(start + stop) / 2 for start, stop, _ in words]
    return Transcript(name=spoken.name, words=[word for *_, word in words], times=middles, end=end, notes=notes)


def _at(path: Path, row: Row) -> str:
    return str(path) if row.line is None else f"{path}:{row.line}"


def _shown(texts: Counter[str], most: int = 5) -> str:
    """List the commonest of some texts."""
    return ", ".join(text[:30] for text, _ in texts.most_common(most)) + (", ..." if len(texts) > most else "")


def _refuse_other_units(path: Path, name: str, words: Sequence[tuple[float, float, str]]) -> None:
    """Raise InputError if the times cannot be seconds."""
    where = f"{path}: story {name!r}"
    duration = median(stop - start for start, stop, _ in words)
    starts = sorted(start for start, *_ in words)
    gap = median(b - a for a, b in zip(starts, starts[1:], strict=False)) if len(starts) > 1 else 0.0
    for what, seconds, limit in (
        ("a word lasts", duration, LONGEST_WORD),
        ("words follow each other after", gap, LONGEST_GAP),
    ):
        if seconds > limit:
            raise InputError(
                f"{where}: {what} {seconds:g} s (the median of {len(words)} words), too long for speech; expected "
                "seconds; divide the times by 1000 if they are milliseconds, by the sampling rate if they are samples"
            )


def _oddities(words: Sequence[tuple[float, float, str]], end: float) -> list[str]:
    """Count what is unusual about the words, one line for each kind that occurs."""
    counts = {
        "words stood after a later word; put in the order of their onsets": sum(
            b[0] < a[0] for a, b in zip(words, words[1:], strict=False)
        ),
        "words begin before the recording (negative times)": sum(start < 0 for start, *_ in words),
        "words end after the recording": sum(stop > end + 1e-3 for _, stop, _ in words),
        f"words last over {LONGEST_WORD:g} s": sum(stop - start > LONGEST_WORD for start, stop, _ in words),
        "words in round brackets (kept)": sum(word[0] == "(" and word[-1] == ")" for *_, word in words),
    }
    if like_missing := Counter(word for *_, word in words if word in LIKE_MISSING):
        what = (
            f"words are kept that may stand for a missing word ({_shown(like_missing)}); if they do, list them under "
            "stories.marks"
        )
        counts[what] = like_missing.total()
    phrases = sum(len(word.split()) > 1 for *_, word in words)
    if phrases > SOME_PHRASES * len(words):  # a few are usual ("new york")
        counts["rows hold several words and count as one word each; align them to get a time for each word"] = phrases
    return [f"{count} {what}" for what, count in counts.items() if count]
