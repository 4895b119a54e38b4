"""Censored volumes: TRs of a story without a number in any voxel, as scrubbing for head motion leaves them.

    nan in a whole TR            the TR is left out, of the features too, once these are delayed: exactly as if the row
                                 had been deleted from the design and from the responses
    nan in a whole voxel         the voxel is left out of that story (`voxels`)
    nan here and there           the same: one TR without a number leaves the voxel out of that story

A TR counts as censored where every voxel that has numbers in the story, not all the same, has none in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.fmri.responses import StoryResponses

FIRST, LATER = 64, 4096  # voxels read at a time


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Censored:
    """rows: (T_s,) True where a TR is censored, or None where no TR of the story is."""

    rows: tuple[NDArray[np.bool_] | None, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Censored TRs of every story."""
        return tuple(0 if rows is None else int(rows.sum()) for rows in self.rows)


def censored(responses: StoryResponses) -> Censored:
    """Find the censored TRs of every story. Reads a few voxels where there are none, all voxels where there are."""
    return Censored(rows=tuple(_story(responses, story) for story in range(len(responses))))


def _story(responses: StoryResponses, story: int) -> NDArray[np.bool_] | None:
    missing = np.ones(responses.lengths[story], dtype=bool)
    measured = False
    start = 0
    while start < responses.voxels:
        stop = min(start + (FIRST if start == 0 else LATER), responses.voxels)
        block = responses.read(story, slice(start, stop))
        gaps = np.isnan(block)
        # a voxel without a number anywhere, or with the same one everywhere (outside the brain), says nothing of a TR
        first = np.take_along_axis(block, gaps.argmin(axis=0)[None], axis=0)
        some = ~(gaps | (block == first)).all(axis=0)
        missing &= gaps[:, some].all(axis=1)
        measured |= bool(some.any())
        if not missing.any():
            return None
        start = stop
    return missing if measured else None
