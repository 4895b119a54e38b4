"""A story: its words, when each is spoken, and when each TR of the scan is.

All times are seconds on one clock. A word's time is its middle, a TR's time the middle of its volume, as in the
laboratory's own files (LeBel et al. 2023, doi:10.1038/s41597-023-02437-z). A word may be empty: transcripts hold such
tokens, and every later table has one row for each of them too.
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
    """words: (w,) strings. times: float64 (w,), seconds. tr_times: float64 (t,), seconds, ascending.

    notes: one line for each thing that was noticed or done while reading
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
        """Seconds from one TR to the next, the mean over the story; nan with fewer than two."""
        return float(np.diff(self.tr_times).mean()) if len(self.tr_times) > 1 else float("nan")

    @cached_property
    def words_fingerprint(self) -> str:
        """sha256 of the words alone: what their vectors depend on."""
        digest = hashlib.sha256()
        for word in self.words:
            data = word.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(4, "little") + data)
        return digest.hexdigest()


def checked(
    where: str, name: str, words: Sequence[str], times: ArrayLike, tr_times: ArrayLike, notes: Sequence[str] = ()
) -> Story:
    """A story from what a file holds, with a note for each oddity that later steps live with.

    where: the file, for messages. InputError for what no later step could use: unequal counts, a time that is no
    number, TRs that do not ascend.
    """
    at = f"{where}: story {name!r}"
    if not name.strip(". ") or "/" in name or "\\" in name:
        raise InputError(f"{at}: expected a name without slashes: it becomes the name of files")
    for what, text in (("its name", name), *((f"word {i}", word) for i, word in enumerate(words, 1))):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(f"{at}: {what} is {text!r:.80}, with half of a character in it; expected whole characters")
    seconds, trs = np.asarray(times, dtype=np.float64).ravel(), np.asarray(tr_times, dtype=np.float64).ravel()
    if len(words) != len(seconds):
        raise InputError(f"{at}: {len(words)} words, but {len(seconds)} word times; expected one time a word")
    for what, values in (("word time", seconds), ("TR time", trs)):
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            raise InputError(f"{at}: {what} {bad[0] + 1} is {values[bad[0]]}; expected seconds")
    if len(trs) == 0:
        raise InputError(f"{at}: no TR times; expected the middle of every TR, in seconds")
    if len(bad := np.flatnonzero(np.diff(trs) <= 0)):
        raise InputError(
            f"{at}: TR {bad[0] + 2} is at {trs[bad[0] + 1]:g} s, TR {bad[0] + 1} at {trs[bad[0]]:g} s; "
            "expected ascending times"
        )
    return Story(
        name=name, words=tuple(words), times=seconds, tr_times=trs, notes=(*notes, *_oddities(words, seconds, trs))
    )


def _oddities(words: Sequence[str], times: np.ndarray, trs: np.ndarray) -> list[str]:
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
