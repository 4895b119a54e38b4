"""Turn the word vectors of a story into the rows that ridge regression sees.

    words -> TRs (downsample) -> trim -> z-score within the story -> delays

With `after_stacking`, delays are made once all stories are stacked, as in the code of the Huth laboratory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.fmri import align
from encoderlab.core.errors import InputError, Problem


@final
@dataclass(frozen=True, kw_only=True)
class Design:
    """The settings of the design matrix.

    Attributes:
        downsample: how the words of a TR become its row; see `align`.
        window: lobes of the Lanczos kernel on either side.
        trim: TRs left out in front and at the end of the features, as they are left out of the responses.
        zscore: whether features are z-scored within each story.
        delays: delays of the features in TRs.
        after_stacking: whether delays reach across the borders of stories.
    """

    downsample: align.Downsample = "lanczos"
    window: float = 3
    trim: tuple[int, int] = (10, 5)
    zscore: bool = True
    delays: tuple[int, ...] = (1, 2, 3, 4)
    after_stacking: bool = False

    def problems(self) -> list[Problem]:
        """List what is wrong with the settings; the paths are their names."""
        found = []
        if min(self.trim) < 0:
            message = f"expected numbers of TRs to leave out in front and at the end, 0 or more, got {list(self.trim)}"
            found.append(Problem("trim", message))
        if not self.delays or len(set(self.delays)) < len(self.delays):
            found.append(Problem("delays", f"expected different whole numbers of TRs, got {list(self.delays)}"))
        if not self.window > 0:
            found.append(Problem("window", f"expected a number of lobes above 0, got {self.window:g}"))
        return found

    @property
    def trimmed(self) -> str:
        """The trimming in words, for messages."""
        return f"leaving out the first {self.trim[0]} and the last {self.trim[1]} TRs"

    def rows(self, name: str, vectors: NDArray, times: NDArray, tr_times: NDArray) -> NDArray[np.float64]:
        """Make the rows of one story, without delays.

        Args:
            name: the story's name, for messages.
            vectors: (words, features).
            times: (words,) seconds.
            tr_times: (TRs,) seconds.

        Returns:
            (TRs - trimmed, features).

        Raises:
            InputError: no TR is left after trimming.
        """
        if len(tr_times) <= sum(self.trim) or (self.downsample == "lanczos" and len(tr_times) < 2):
            raise InputError(
                f"story {name!r}: {len(tr_times)} TRs, nothing is left after {self.trimmed}; shorten `trim`, or leave "
                "the story out"
            )
        rows = align.downsample(vectors, times, tr_times, self.downsample, window=self.window)
        rows = align.trim(rows, *self.trim)
        return align.zscore(rows) if self.zscore else rows

    def delayed(self, stories: Sequence[NDArray]) -> list[NDArray]:
        """Add the delays to the rows of all stories: (TRs, features) -> (TRs, features x delays)."""
        if self.after_stacking:
            return align.stacked_delays(stories, self.delays)
        return [align.delay(rows, self.delays) for rows in stories]
