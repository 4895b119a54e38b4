"""Find censored volumes: TRs of a story without a number in any voxel, as scrubbing for head motion leaves them.

    nan in a whole TR            the TR is left out, also from the delayed features: exactly as if the row had been
                                 deleted from the design and from the responses
    nan in a whole voxel         the voxel is left out of that story (`ridge.voxel_batches`)
    nan in single TRs            the same: one TR without a number leaves the voxel out of that story

A TR is censored if it is nan in every voxel that varies within the story.
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
    """The censored TRs of S stories.

    Attributes:
        rows: for each story, (T_s,) True for a censored TR; None if no TR of the story is censored.
    """

    rows: tuple[NDArray[np.bool_] | None, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of censored TRs of every story."""
        return tuple(0 if rows is None else int(rows.sum()) for rows in self.rows)


def censored(responses: StoryResponses) -> Censored:
    """Find the censored TRs of every story; a story without any is recognised from a few voxels."""
    return Censored(rows=tuple(_story(responses, story) for story in range(len(responses))))


def _story(responses: StoryResponses, story: int) -> NDArray[np.bool_] | None:
    missing = np.ones(responses.lengths[story], dtype=bool)
    measured = False
    start = 0
    while start < responses.voxels:
        stop = min(start + (FIRST if start == 0 else LATER), responses.voxels)
        block = responses.read(story, slice(start, stop))
        gaps = np.isnan(block)
        # A voxel that is nan in all TRs, or constant (outside the brain), tells nothing about a TR.
        first = np.take_along_axis(block, gaps.argmin(axis=0)[None], axis=0)
        varying = ~(gaps | (block == first)).all(axis=0)
        missing &= gaps[:, varying].all(axis=1)
        measured |= bool(varying.any())
        if not missing.any():
            return None
        start = stop
    return missing if measured else None
