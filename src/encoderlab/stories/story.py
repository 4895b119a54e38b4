"""A story: its words, when each is spoken, and when each TR of the scan is.

All times are seconds on one clock. A word's time is its middle, a TR's time the middle of its volume, as in the
laboratory's own files (LeBel et al. 2023, doi:10.1038/s41597-023-02437-z). A word may be empty: transcripts hold such
tokens, and every later table has one row for each of them too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np


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

    @cached_property
    def words_fingerprint(self) -> str:
        """sha256 of the words alone: what their vectors depend on."""
        digest = hashlib.sha256()
        for word in self.words:
            data = word.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(4, "little") + data)
        return digest.hexdigest()
