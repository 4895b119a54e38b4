"""Stories from whatever they are kept in: a raw_text.pkl, our Parquet, a TextGrid or TSV, or a folder of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from encoderlab.errors import InputError
from encoderlab.stories.pickled import read_pickle
from encoderlab.stories.saved import read_parquet
from encoderlab.stories.story import Story, checked
from encoderlab.stories.textgrid import read_textgrid
from encoderlab.stories.tsv import read_tsv

ENDINGS = (".pkl", ".pickle", ".parquet", ".textgrid", ".tsv")
MOST_SECONDS = 1e6  # eleven days: what is longer is no recording
MOST_TRS = 1e7
Seconds = float | Mapping[str, float]  # one for all stories, or {story: seconds}
TIMED = (".textgrid", ".tsv")  # these know the words' times and nothing of the scan


def read(
    path: Path | str,
    *,
    tier: str | None = None,
    tr: float = 2.0,
    before: Seconds = 10.0,
    after: Seconds = 10.0,
    trs: Mapping[str, int] | None = None,
) -> list[Story]:
    """The stories of a file, or of every TextGrid and TSV of a folder, by name.

    TextGrid and TSV files know nothing of the scan; their TR times are computed: the scan began `before` seconds before
    the recording (below 0: after its beginning) and has `trs[name]` volumes of `tr` seconds, or as many as reach
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
    stories = _read(path, tier, tr, before, after, trs or {})
    names = [story.name for story in stories]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: story {twice[0]!r} is there twice; rename or remove one")
    return stories


def _read(
    path: Path, tier: str | None, tr: float, before: Seconds, after: Seconds, trs: Mapping[str, int]
) -> list[Story]:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in TIMED and not p.name.startswith("."))
        if not files:
            raise InputError(f"{path}: no TextGrid or TSV file in this folder; expected one a story")
        return [_timed(file, tier, tr, before, after, trs) for file in files]
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; expected stories ({', '.join(ENDINGS)})")
    ending = path.suffix.lower()
    if ending in TIMED:
        return [_timed(path, tier, tr, before, after, trs)]
    if ending in (".pkl", ".pickle"):
        return read_pickle(path)
    if ending == ".parquet":
        return read_parquet(path)
    raise InputError(f"{path}: unknown ending {ending!r}; expected one of {', '.join(ENDINGS)}")


def _timed(path: Path, tier: str | None, tr: float, before: Seconds, after: Seconds, trs: Mapping[str, int]) -> Story:
    if path.suffix.lower() == ".tsv":
        (words, times, end), notes = read_tsv(path), []
    else:
        words, times, end, notes = read_textgrid(path, tier)
    if not 0 <= end < MOST_SECONDS:
        raise InputError(f"{path}: the recording ends at {end:g} s; expected seconds")
    front, back = _seconds(path, "before", before), _seconds(path, "after", after)
    # rounded first: 0.1 + 0.2 is no reason for one more volume
    count = trs.get(path.stem, int(np.ceil(round((front + end + back) / tr, 6))))
    if not 0 < count < MOST_TRS:
        raise InputError(
            f"{path}: before {front:g} s, the recording {end:g} s, after {back:g} s: {count:,} TRs of {tr:g} s; check "
            "`before`, `after` and `tr`"
        )
    return checked(str(path), path.stem, words, times, tr * (np.arange(count) + 0.5) - front, notes)


def _seconds(path: Path, key: str, given: Seconds) -> float:
    """Take one story's number of `before` or `after`."""
    if not isinstance(given, Mapping):
        return given
    if path.stem not in given:
        raise InputError(f"{path}: stories.{key} has no line for story {path.stem!r}; give every story its seconds")
    return given[path.stem]


def noticed(stories: Sequence[Story]) -> dict[str, tuple[int, str]]:
    """{what: (how many, in which stories)} of the notes that begin with a number."""
    found: dict[str, tuple[int, list[str]]] = {}
    for story in stories:
        for note in story.notes:
            number, _, what = note.partition(" ")
            if number.isdigit():
                count, names = found.get(what, (0, []))
                found[what] = (count + int(number), [*names, story.name])
    return {
        what: (count, ", ".join(names[:3]) + (f" and {len(names) - 3} more stories" if len(names) > 3 else ""))
        for what, (count, names) in found.items()
    }
