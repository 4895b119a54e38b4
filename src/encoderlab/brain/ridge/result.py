"""What a ridge run found: scores, alphas, and what was left out, under the names the report uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.fmri.scores import nan_mean
from encoderlab.brain.ridge.moments import Moments

EDGE = 0.01  # share of the alphas at an end of the grid that is worth a warning


@dataclass(frozen=True, kw_only=True)
class RidgeResult:
    """scores: (S, V) Pearson r of every story, held out; nan: missing, or a constant response.
    pooled, r2: (V,) over all held-out predictions end to end. alphas: (folds, V), in the convention of the grid.
    curve: (A, V) mean of the held-out r that alpha was chosen by. groups: number of groups of the nested scheme.
    missing: (story, voxels left out of it). empty: (story, voxel) pairs among them without a number in any TR.
    constant: (story, voxel) pairs whose response does not change."""

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
        """(V,) mean r over the stories that a voxel has a score in; nan where it has none."""
        return nan_mean(self.scores, axis=0)


class Tables:
    """The arrays of a result while batches of voxels fill them."""

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
        """choice: (folds of the run, voxels of the batch) positions in the grid; `folds`: those that were scored."""
        self.scores[np.array(stories)[:, None], voxels] = moments.by_story()
        self.pooled[voxels], self.r2[voxels] = moments.pooled(), moments.r2()
        self.alphas[np.array(folds)[:, None], voxels] = self.grid[choice[list(folds)]]

    def warnings(self) -> list[str]:
        return edge_warnings(self.alphas, self.grid)


def edge_warnings(alphas: NDArray[np.float64], grid: NDArray[np.float64]) -> list[str]:
    """What to do where many of the chosen alphas lie at an end of the ascending grid."""
    known = alphas[~np.isnan(alphas)]
    if len(grid) < 2 or not known.size:
        return []
    return [
        f"{share:.1%} of the alphas (folds x voxels) are the {name} of the grid, {edge:g}: try {other} ones"
        for name, other, edge in (("smallest", "smaller", grid[0]), ("largest", "larger", grid[-1]))
        if (share := float((known == edge).mean())) > EDGE
    ]
