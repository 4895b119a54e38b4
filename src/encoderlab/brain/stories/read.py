"""Read stories from a raw_text.pkl, a Parquet file, a file of words with times, or a folder of such files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from encoderlab.brain.stories.aligned import read_aligned
from encoderlab.brain.stories.ctm import read_ctm
from encoderlab.brain.stories.pickled import read_pickle
from encoderlab.brain.stories.saved import read_parquet
from encoderlab.brain.stories.story import Story, checked
from encoderlab.brain.stories.tables import read_table
from encoderlab.brain.stories.textgrid import read_textgrid
from encoderlab.brain.stories.transcript import Spoken, Transcript, transcript
from encoderlab.core.errors import InputError, Problem, collecting

_READERS: dict[str, Callable[[Path, str | int | None], list[Spoken]]] = {
    ".textgrid": read_textgrid,
    ".tsv": read_table,
    ".csv": read_table,
    ".json": read_aligned,
    ".ctm": read_ctm,
}
TIMED = tuple(_READERS)  # these formats have the words' times, but no times of the scan
MAIN = (".textgrid", ".tsv")  # in a folder with such files, other files are not stories (sidecars, for example)
ENDINGS = (".pkl", ".pickle", ".parquet", *TIMED)
MOST_SECONDS = 1e6  # eleven days: no recording is longer
_ADVICE = {
    ".eaf": "an ELAN file; in ELAN, export it as a Praat TextGrid",
    ".srt": "subtitles give the time of a line, not of each word; align the words first",
    ".vtt": "subtitles give the time of a line, not of each word; align the words first",
    ".txt": "plain text without a known format; save it as .tsv with the columns onset, duration and word",
    ".gz": "compressed; unpack it first (gunzip)",
    ".zip": "compressed; unpack it first (unzip)",
    ".xlsx": "a spreadsheet; save it as .tsv with the columns onset, duration and word",
}
MOST_TRS = 1e7
Seconds = float | Mapping[str, float]  # one for all stories, or {story: seconds}


def read(
    path: Path | str,
    *,
    tier: str | int | None = None,
    marks: Sequence[str] = (),
    tr: float = 2.0,
    before: Seconds = 10.0,
    after: Seconds = 10.0,
    trs: Mapping[str, int] | None = None,
) -> list[Story]:
    """Read the stories of a file, or of every file of words with times in a folder.

    A file of words with times has no times of the scan, so encoderlab computes the TR times. The scan begins `before`
    seconds before the recording. It has `trs[name]` volumes of `tr` seconds, or as many as reach `after` seconds past
    the end of the recording.

    Args:
        path: the file or folder.
        tier: the tier of words in a TextGrid or another file with tiers: its name, or its number from 1 up.
        marks: further texts that nobody said; they are left out.
        tr: seconds from one TR to the next.
        before: seconds from the beginning of the scan to that of the recording, for all stories or as {story: seconds};
            negative if the scan began later.
        after: seconds from the end of the recording to that of the scan, for all stories or as {story: seconds}.
        trs: {story: number of TRs in its scan}; stories that it lacks use `after`.

    Returns:
        The stories in the order of the file, or of the file names.

    Raises:
        InputError: a file cannot be read; the message names it and says what was expected.
    """
    path = Path(path).expanduser()
    if not 0 < tr < MOST_SECONDS:
        raise InputError(f"tr: expected seconds above 0, got {tr:g}")
    for what, given in (("before", before), ("after", after)):
        for seconds in given.values() if isinstance(given, Mapping) else (given,):
            if not abs(seconds) < MOST_SECONDS:
                raise InputError(f"{what}: expected seconds, got {seconds:g}")
    stories = _read(path, tier, marks, tr, before, after, trs or {})
    names = [story.name for story in stories]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: story {repeated[0]!r} occurs twice; rename or remove one")
    return stories


def _read(
    path: Path,
    tier: str | int | None,
    marks: Sequence[str],
    tr: float,
    before: Seconds,
    after: Seconds,
    trs: Mapping[str, int],
) -> list[Story]:
    """Choose the reader by the ending of the path, and read."""
    if not path.exists() and not path.is_symlink():
        raise InputError(f"{path}: no such file or folder; expected stories ({', '.join(ENDINGS)})")
    ending = path.suffix.lower()
    if path.is_dir() or ending in TIMED:
        files, notes = _files(path) if path.is_dir() else ([path], [])
        stories, problems = list[Story](), list[Problem]()
        for file in files:
            with collecting(problems):
                for spoken in _READERS[file.suffix.lower()](file, tier):
                    spoken = replace(spoken, notes=[*spoken.notes, *notes])
                    stories.append(_timed(file, transcript(file, spoken, marks), tr, before, after, trs))
                    notes = []
        if problems:
            raise InputError(*problems)
        return stories
    if ending in (".pkl", ".pickle"):
        return read_pickle(path)
    if ending == ".parquet":
        return read_parquet(path)
    why = f" ({_ADVICE[ending]})" if ending in _ADVICE else ""
    raise InputError(f"{path}: unknown ending {ending!r}{why}; expected one of {', '.join(ENDINGS)}")


def _files(folder: Path) -> tuple[list[Path], list[str]]:
    """List the files of a folder that hold stories, with a note on the files that do not."""
    # respdict.json counts the volumes of the scans (`encoding.origins`).
    present = sorted(p for p in folder.iterdir() if not (p.name.startswith((".", "respdict.json")) or p.is_dir()))
    files = [p for p in present if p.suffix.lower() in MAIN] or [p for p in present if p.suffix.lower() in TIMED]
    if not files:
        raise InputError(f"{folder}: no TextGrid or TSV file in this folder; expected one file per story")
    stems = Counter(p.stem for p in files)
    if repeated := [p.name for p in files if stems[p.stem] > 1]:
        raise InputError(
            f"{folder}: story {Path(repeated[0]).stem!r} occurs twice ({', '.join(repeated[:4])}); rename or remove one"
        )
    others = [p.name for p in present if p not in set(files)]
    shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
    return files, [f"{len(others)} other files in {folder} not read: {shown}"] if others else []


def _timed(path: Path, text: Transcript, tr: float, before: Seconds, after: Seconds, trs: Mapping[str, int]) -> Story:
    """Make a story of a transcript by computing the times of the scan's TRs."""
    if not 0 <= text.end < MOST_SECONDS:
        raise InputError(f"{path}: the recording ends at {text.end:g} s; expected times in seconds")
    front, back = _seconds(path, text.name, "before", before), _seconds(path, text.name, "after", after)
    # Rounding comes first, so that 0.1 + 0.2 does not add one more volume.
    count = trs.get(text.name, int(np.ceil(round((front + text.end + back) / tr, 6))))
    if not 0 < count < MOST_TRS:
        raise InputError(
            f"{path}: {front:g} s before the recording, {text.end:g} s of recording and {back:g} s after it are "
            f"{count:,} TRs of {tr:g} s; expected 1 to {MOST_TRS:,.0f}; check `before`, `after` and `tr`"
        )
    return checked(str(path), text.name, text.words, text.times, tr * (np.arange(count) + 0.5) - front, text.notes)


def _seconds(path: Path, name: str, key: str, given: Seconds) -> float:
    """Look up the seconds of `before` or `after` for one story."""
    if not isinstance(given, Mapping):
        return given
    if name not in given:
        raise InputError(f"{path}: stories.{key} has no line for story {name!r}; add one with its seconds")
    return given[name]


def noticed(stories: Sequence[Story]) -> list[str]:
    """Gather the notes of all stories: one line for each kind, with its total number and the stories' names.

    The part of a note behind a colon holds examples, or what differs from story to story.
    """
    counts, examples, names = Counter[str](), dict[str, dict[str, None]](), dict[str, list[str]]()
    for story in stories:
        for note in story.notes:
            number, _, what = note.partition(" ")
            counted = number.isdigit()
            what, _, shown = (what if counted else note).partition(": ")
            names.setdefault(what, []).append(story.name)
            if counted:
                counts[what] += int(number)
                examples.setdefault(what, {}).update(dict.fromkeys(shown.split(", ") if shown else ()))
    lines = []
    for what, where in names.items():
        number = f"{counts[what]:,} " if what in counts else ""
        all_examples = [text for text in examples.get(what, ()) if text != "..."]
        shown = f": {', '.join(all_examples[:8])}{', ...' if len(all_examples) > 8 else ''}" if all_examples else ""
        there = ", ".join(where[:3]) + (f" and {len(where) - 3} more stories" if len(where) > 3 else "")
        lines.append(f"{number}{what}{shown} ({there})")
    return lines
