"""The result of a ridge regression: scores, alphas, and what was left out, under the names that the report uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.fmri.scores import nan_mean
from encoderlab.brain.ridge.moments import Moments

EDGE = 0.01  # a larger share of alphas at one end of the grid gives a warning


@dataclass(frozen=True, kw_only=True)
class RidgeResult:
    """The result of `Ridge.score` for S stories, V voxels and A alphas.

    Attributes:
        scores: (S, V) Pearson's r of every held-out story; nan for a missing or constant response.
        pooled: (V,) r over all held-out predictions end to end.
        r2: (V,) R2 over all held-out predictions end to end.
        alphas: (folds, V) chosen alphas, in the convention of the grid.
        curve: (A, V) mean of the held-out r that alpha was chosen by.
        grid: the alphas, ascending.
        convention: of alpha; see `RidgeSettings`.
        scheme: how alpha was chosen.
        groups: number of groups of the nested scheme; None for the flat scheme.
        missing: (story, number of voxels left out of it), for stories that lack voxels.
        empty: number of (story, voxel) pairs among the missing without a number in any TR.
        constant: number of (story, voxel) pairs whose response does not change.
        notes: what was done, one line each.
        warnings: what needs attention, one line each.
        timings: {stage: seconds}.
    """

    scores: NDArray[np.float64]
    pooled: NDArray[np.float64]
    r2: NDArray[np.float64]
    alphas: NDArray[np.float64]
    curve: NDArray[np.float64]
    grid: tuple[float, ...]
    convention: str
    scheme: str
    groups: int | None
    missing: tuple[tuple[int, int], ...]
    empty: int
    constant: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    timings: Mapping[str, float]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean r of each voxel over the stories in which it has a score, (V,); nan if it has none."""
        return nan_mean(self.scores, axis=0)


class Tables:
    """The arrays of a result, filled batch by batch."""

    def __init__(self, stories: int, voxels: int, folds: int, grid: Sequence[float]) -> None:
        self.grid = np.asarray(grid)
        self.scores = np.full((stories, voxels), np.nan)
        self.pooled, self.r2 = np.full(voxels, np.nan), np.full(voxels, np.nan)
        self.alphas = np.full((folds, voxels), np.nan)
        self.curve = np.full((len(grid), voxels), np.nan)

    def fill(
        self,
        stories: Sequence[int],
        voxels: NDArray[np.int64],
        moments: Moments,
        folds: Sequence[int],
        choice: NDArray[np.int64],
    ) -> None:
        """Fill in one batch.

        Args:
            stories: the stories that the batch has.
            voxels: (n,) the voxels of the batch.
            moments: of its held-out predictions.
            folds: the folds that were scored.
            choice: (all folds, n) positions in the grid.
        """
        self.scores[np.array(stories)[:, None], voxels] = moments.by_story()
        self.pooled[voxels], self.r2[voxels] = moments.pooled(), moments.r2()
        self.alphas[np.array(folds)[:, None], voxels] = self.grid[choice[list(folds)]]

    def warnings(self) -> list[str]:
        """Warn about alphas at the ends of the grid."""
        return edge_warnings(self.alphas, self.grid)


def edge_warnings(alphas: NDArray[np.float64], grid: NDArray[np.float64]) -> list[str]:
    """Warn if many of the chosen alphas lie at an end of the ascending grid."""
    chosen = alphas[~np.isnan(alphas)]
    if len(grid) < 2 or not chosen.size:
        return []
    return [
        f"{share:.1%} of the alphas (folds x voxels) are the {name} of the grid, {edge:g}: try {other} ones"
        for name, other, edge in (("smallest", "smaller", grid[0]), ("largest", "larger", grid[-1]))
        if (share := float((chosen == edge).mean())) > EDGE
    ]
