"""Stories from whatever they are kept in: a raw_text.pkl, our Parquet, a TextGrid or TSV, or a folder of those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from encoderlab.errors import InputError
from encoderlab.stories.pickled import read_pickle
from encoderlab.stories.saved import read_parquet
from encoderlab.stories.story import Story, checked
from encoderlab.stories.textgrid import read_textgrid
from encoderlab.stories.tsv import read_tsv

ENDINGS = (".pkl", ".pickle", ".parquet", ".textgrid", ".tsv")
TIMED = (".textgrid", ".tsv")  # these know the words' times and nothing of the scan


def read(
    path: Path | str,
    *,
    tier: str | None = None,
    tr: float = 2.0,
    before: float = 10.0,
    after: float = 10.0,
    trs: Mapping[str, int] | None = None,
) -> list[Story]:
    """The stories of a file, or of every TextGrid and TSV of a folder, by name.

    TextGrid and TSV files know nothing of the scan; their TR times are computed: the scan began `before` seconds before
    the recording and has `trs[name]` volumes of `tr` seconds, or as many as reach `after` seconds past its end.
    InputError for a file that cannot be read, naming it and what was expected.
    """
    path = Path(path).expanduser()
    if not tr > 0:
        raise InputError(f"tr: expected seconds above 0, got {tr:g}")
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in TIMED and not p.name.startswith("."))
        if not files:
            raise InputError(f"{path}: no TextGrid or TSV file in this folder; expected one a story")
        stories = [_timed(file, tier, tr, before, after, trs or {}) for file in files]
        names = [story.name for story in stories]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{path}: story {twice[0]!r} is there twice, as TextGrid and as TSV; remove one")
        return stories
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; expected stories ({', '.join(ENDINGS)})")
    ending = path.suffix.lower()
    if ending in TIMED:
        return [_timed(path, tier, tr, before, after, trs or {})]
    if ending in (".pkl", ".pickle"):
        return read_pickle(path)
    if ending == ".parquet":
        return read_parquet(path)
    raise InputError(f"{path}: unknown ending {ending!r}; expected one of {', '.join(ENDINGS)}")


def _timed(path: Path, tier: str | None, tr: float, before: float, after: float, trs: Mapping[str, int]) -> Story:
    if path.suffix.lower() == ".tsv":
        (words, times, end), notes = read_tsv(path), []
    else:
        words, times, end, notes = read_textgrid(path, tier)
    count = trs.get(path.stem, int(np.ceil((before + end + after) / tr)))
    return checked(str(path), path.stem, words, times, tr * (np.arange(count) + 0.5) - before, notes)
