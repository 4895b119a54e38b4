"""Stories from a raw_text.pkl, our Parquet, a file of words with times, or a folder of such files."""

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
TIMED = tuple(_READERS)  # these know the words' times and nothing of the scan
MAIN = (".textgrid", ".tsv")  # in a folder that has such files, others are no stories but, say, sidecars
ENDINGS = (".pkl", ".pickle", ".parquet", *TIMED)
MOST_SECONDS = 1e6  # eleven days: what is longer is no recording
_ADVICE = {
    ".eaf": "an ELAN file; in ELAN, export it as a Praat TextGrid",
    ".srt": "subtitles give the time of a line, not of each word; align the words first",
    ".vtt": "subtitles give the time of a line, not of each word; align the words first",
    ".txt": "a text without a known form; save it as .tsv with the columns onset, duration and word",
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
    """The stories of a file, or of every file of words with times of a folder, by name.

    tier: of a TextGrid or another file with tiers: name, or number from 1 up. marks: further texts that nobody said.

    Files of words with times know nothing of the scan; their TR times are computed: the scan began `before` seconds
    before the recording (below 0: after its beginning) and has `trs[name]` volumes of `tr` seconds, or as many as reach
    `after` seconds past its end. `before` and `after` are one number for all stories, or {story: seconds}.
    InputError for a file that cannot be read, naming it and what was expected.
    """
    path = Path(path).expanduser()
    if not 0 < tr < MOST_SECONDS:
        raise InputError(f"tr: expected seconds, got {tr:g}")
    for what, given in (("before", before), ("after", after)):
        for seconds in given.values() if isinstance(given, Mapping) else (given,):
            if not abs(seconds) < MOST_SECONDS:
                raise InputError(f"{what}: expected seconds, got {seconds:g}")
    stories = _read(path, tier, marks, tr, before, after, trs or {})
    names = [story.name for story in stories]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: story {twice[0]!r} is there twice; rename or remove one")
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
    """List the files of a folder that hold stories, and say which were passed over."""
    # respdict.json counts the volumes of the scans (`encoding.origins`)
    there = sorted(p for p in folder.iterdir() if not (p.name.startswith((".", "respdict.json")) or p.is_dir()))
    some = [p for p in there if p.suffix.lower() in MAIN] or [p for p in there if p.suffix.lower() in TIMED]
    if not some:
        raise InputError(f"{folder}: no TextGrid or TSV file in this folder; expected one a story")
    stems = Counter(p.stem for p in some)
    if twice := [p.name for p in some if stems[p.stem] > 1]:
        raise InputError(
            f"{folder}: story {Path(twice[0]).stem!r} is there twice ({', '.join(twice[:4])}); rename or remove one"
        )
    left = [p.name for p in there if p not in set(some)]
    shown = ", ".join(left[:5]) + (", ..." if len(left) > 5 else "")
    return some, [f"{len(left)} other files in {folder} not read: {shown}"] if left else []


def _timed(path: Path, said: Transcript, tr: float, before: Seconds, after: Seconds, trs: Mapping[str, int]) -> Story:
    if not 0 <= said.end < MOST_SECONDS:
        raise InputError(f"{path}: the recording ends at {said.end:g} s; expected seconds")
    front, back = _seconds(path, said.name, "before", before), _seconds(path, said.name, "after", after)
    # rounded first: 0.1 + 0.2 is no reason for one more volume
    count = trs.get(said.name, int(np.ceil(round((front + said.end + back) / tr, 6))))
    if not 0 < count < MOST_TRS:
        raise InputError(
            f"{path}: before {front:g} s, the recording {said.end:g} s, after {back:g} s: {count:,} TRs of {tr:g} s; "
            "check `before`, `after` and `tr`"
        )
    return checked(str(path), said.name, said.words, said.times, tr * (np.arange(count) + 0.5) - front, said.notes)


def _seconds(path: Path, name: str, key: str, given: Seconds) -> float:
    """Take one story's number of `before` or `after`."""
    if not isinstance(given, Mapping):
        return given
    if name not in given:
        raise InputError(f"{path}: stories.{key} has no line for story {name!r}; give every story its seconds")
    return given[name]


def noticed(stories: Sequence[Story]) -> list[str]:
    """Gather the notes of all stories: one line for each kind, with its number and in which stories.

    What stands behind a colon in a note are examples, or what differs from story to story.
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
        few = [one for one in examples.get(what, ()) if one != "..."]
        some = f": {', '.join(few[:8])}{', ...' if len(few) > 8 else ''}" if few else ""
        there = ", ".join(where[:3]) + (f" and {len(where) - 3} more stories" if len(where) > 3 else "")
        lines.append(f"{number}{what}{some} ({there})")
    return lines
