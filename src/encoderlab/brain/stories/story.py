"""A story: its words, the time of each word, and the time of each TR of the scan.

All times are seconds on one clock. The time of a word is its middle; the time of a TR is the middle of its volume. This
is the convention of the Huth laboratory's files (LeBel et al. 2023, doi:10.1038/s41597-023-02437-z). A word may be
empty: transcripts hold such tokens, and every later table has one row for each of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from encoderlab.brain.stories.marks import kind_of_mark
from encoderlab.core.errors import InputError


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Story:
    """The words of one story with their times and the times of the scan's TRs.

    Attributes:
        name: the story's name; encoderlab names files after it.
        words: (words,) strings, some of which may be empty.
        times: (words,) float64, the middle of each word in seconds.
        tr_times: (TRs,) float64, the middle of each TR in seconds, ascending.
        notes: one line for each thing that was noticed or changed while reading.
    """

    name: str
    words: tuple[str, ...]
    times: np.ndarray
    tr_times: np.ndarray
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.times.shape == (len(self.words),), (self.name, self.times.shape, len(self.words))
        assert self.tr_times.ndim == 1, (self.name, self.tr_times.shape)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tr(self) -> float:
        """The mean time from one TR to the next, in seconds; nan with fewer than two TRs."""
        return float(np.diff(self.tr_times).mean()) if len(self.tr_times) > 1 else float("nan")

    @cached_property
    def words_fingerprint(self) -> str:
        """The SHA-256 of the words alone, which is all that their vectors depend on."""
        digest = hashlib.sha256()
        for word in self.words:
            data = word.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(4, "little") + data)
        return digest.hexdigest()


def checked(
    where: str, name: str, words: Sequence[str], times: ArrayLike, tr_times: ArrayLike, notes: Sequence[str] = ()
) -> Story:
    """Make a story from what a file holds, with a note for each oddity that later steps can handle.

    Args:
        where: the file, for messages.
        name: the story's name.
        words: (words,) strings.
        times: (words,) the middle of each word in seconds.
        tr_times: (TRs,) the middle of each TR in seconds.
        notes: lines that the reader of the file has already written.

    Raises:
        InputError: no later step could use the story: the numbers of words and times differ, a time is not a finite
            number, the TR times do not ascend, or the name cannot be the name of a file.
    """
    at = f"{where}: story {name!r}"
    if not name.strip(". ") or "/" in name or "\\" in name:
        raise InputError(f"{at}: expected a name without slashes, because files are named after it; rename the story")
    for what, text in (("its name", name), *((f"word {i}", word) for i, word in enumerate(words, 1))):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(
                f"{at}: {what} is {text!r:.80}, which contains half of a character (a lone surrogate); expected whole "
                "characters; save the file again as UTF-8"
            )
    seconds, trs = np.asarray(times, dtype=np.float64).ravel(), np.asarray(tr_times, dtype=np.float64).ravel()
    if len(words) != len(seconds):
        raise InputError(f"{at}: {len(words)} words, but {len(seconds)} word times; expected one time for each word")
    for what, values in (("word time", seconds), ("TR time", trs)):
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            raise InputError(f"{at}: {what} {bad[0] + 1} is {values[bad[0]]}; expected seconds")
    if len(trs) == 0:
        raise InputError(f"{at}: no TR times; expected the middle of every TR in seconds")
    if len(bad := np.flatnonzero(np.diff(trs) <= 0)):
        raise InputError(
            f"{at}: TR {bad[0] + 2} is at {trs[bad[0] + 1]:g} s, TR {bad[0] + 1} at {trs[bad[0]]:g} s; "
            "expected ascending times"
        )
    return Story(
        name=name, words=tuple(words), times=seconds, tr_times=trs, notes=(*notes, *_oddities(words, seconds, trs))
    )


def _oddities(words: Sequence[str], times: np.ndarray, trs: np.ndarray) -> list[str]:
    """Count what is unusual about the words and their times, one line for each kind that occurs."""
    steps = np.diff(times)
    half = np.diff(trs).mean() / 2 if len(trs) > 1 else 0.0
    marks = Counter(word.strip() for word in words if kind_of_mark(word.strip()))
    shown = ", ".join(mark[:30] for mark, _ in marks.most_common(5))
    counts = {
        "empty words (kept; their vectors are zero)": sum(not word.strip() for word in words),
        f"marks such as silence and noise kept as words: {shown}": marks.total(),
        "words at the time of the word before": int((steps == 0).sum()),
        "words earlier than the word before": int((steps < 0).sum()),
        "words outside the TRs": int(((times < trs[0] - half) | (times >= trs[-1] + half)).sum()),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]
