"""Score predictions against measured responses.

    per story    r_s = sum (p - mean p)(y - mean y) / (|p - mean p| |y - mean y|)   over the T TRs of story s
    mean         mean over stories of r_s: every story has the same weight
    pooled       one r over the held-out TRs of all stories: long stories have more weight, and differences of level
                 between stories count; R2 = 1 - sum (y - p)^2 / sum (y - mean y)^2 over the same TRs
    summary      mean, median, and the mean of the best 5 % and 1 % of voxels

The mean over stories and the pooled score answer different questions and differ, so always name which one is shown.
Pooled sums are merged story by story (Chan, Golub & LeVeque 1983), so no story has to be kept. A mean that is large
compared with the deviations costs no digits, as it would in E[y^2] - E[y]^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoderlab.core import statistics
from encoderlab.core.errors import InputError

Array = NDArray[np.float64]


def correlation(predicted: ArrayLike, actual: ArrayLike) -> Array:
    """Compute Pearson's r of each column.

    Args:
        predicted: (TRs, voxels).
        actual: (TRs, voxels).

    Returns:
        (voxels,); nan where a column is constant (r is undefined) or has a value that is not finite.

    Raises:
        InputError: the shapes differ.
    """
    return _quotient(*_moments(*checked(predicted, actual))[2:])


def checked(predicted: ArrayLike, actual: ArrayLike) -> tuple[Array, Array]:
    """Return both arrays in float64, or raise InputError if they do not have one shape (TRs, voxels)."""
    p, y = np.asarray(predicted, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if p.ndim != 2 or p.shape != y.shape or not len(p):
        raise InputError(f"predicted {p.shape} and actual {y.shape}: expected two equal shapes (TRs, voxels), TRs >= 1")
    return p, y


def centred(columns: Array) -> tuple[Array, Array]:
    """Split (T, V) columns into their means (V,) and deviations (T, V).

    A constant column has deviations of exactly 0, because the first row is subtracted before the mean, which is
    rounded. A column that is not finite has deviations of nan.
    """
    finite = np.isfinite(columns).all(axis=0)
    first = np.where(finite, columns[0], np.nan)
    with np.errstate(invalid="ignore"):  # inf in a column that becomes nan
        shifted = np.where(finite, columns - first, np.nan)
    mean = shifted.mean(axis=0)
    return first + mean, shifted - mean


class Pooled:
    """Pearson's r and R2 per voxel over the TRs of all stories, to which stories are added one by one.

    If a voxel has a value that is not finite in a story, the story is left out for that voxel only. `trs` counts the
    TRs of each voxel that were used.
    """

    def __init__(self, voxels: int) -> None:
        self.trs = np.zeros(voxels)
        self._means = np.zeros((2, voxels))  # of predicted and actual
        self._deviations = np.zeros((3, voxels))  # sums of products of deviations: pp, yy, py
        self._residual = np.zeros(voxels)

    def add(self, voxels: slice, predicted: ArrayLike, actual: ArrayLike) -> None:
        """Add one story; predicted and actual are (TRs, voxels of the slice)."""
        p, y = checked(predicted, actual)
        if p.shape[1] != len(self.trs[voxels]):
            raise InputError(
                f"{p.shape[1]} columns for {len(self.trs[voxels])} voxels ({voxels}); expected one per voxel"
            )
        # The moments of this story, (5, V): two means and three sums of products of deviations.
        moments = np.stack(_moments(p, y))
        used = np.isfinite(moments).all(axis=0)
        moments = np.where(used, moments, 0.0)
        with np.errstate(invalid="ignore"):
            residual = np.where(used, ((y - p) ** 2).sum(axis=0), 0.0)
        # Merge them with those of the earlier stories: sums within both, plus the distance of the two means.
        before, added = self.trs[voxels], used * float(len(p))
        total = before + added
        share = added / np.maximum(total, 1)
        gap = np.where(used, moments[:2] - self._means[:, voxels], 0.0)
        between = np.stack([gap[0] ** 2, gap[1] ** 2, gap[0] * gap[1]])
        self._means[:, voxels] += gap * share
        self._deviations[:, voxels] += moments[2:] + between * (before * share)
        self._residual[voxels] += residual
        self.trs[voxels] = total

    def correlation(self) -> Array:
        """Compute r over all added TRs, (V,); nan where a voxel is constant or has no TR."""
        return _quotient(*self._deviations)

    def r2(self) -> Array:
        """Compute the share of each voxel's variance that the predictions explain, (V,); it can be negative."""
        variance = self._deviations[1]
        return 1 - np.divide(self._residual, variance, out=np.full_like(variance, np.nan), where=variance > 0)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The scores of many voxels in a few numbers; nan if no voxel has a score."""

    mean: float
    median: float
    top5: float  # mean of the best 5 % of the voxels with a score, at least one voxel
    top1: float
    voxels: int  # with or without a score
    nan: int  # voxels without a score: constant, or never measured


def summary(scores: ArrayLike) -> Summary:
    """Summarise (V,) scores; voxels without a score are only counted."""
    x = np.asarray(scores, dtype=np.float64).ravel()
    scored = np.sort(x[~np.isnan(x)])[::-1]
    if not scored.size:
        return Summary(mean=math.nan, median=math.nan, top5=math.nan, top1=math.nan, voxels=x.size, nan=x.size)
    return Summary(
        mean=float(scored.mean()),
        median=float(np.median(scored)),
        top5=float(scored[: max(1, scored.size // 20)].mean()),
        top1=float(scored[: max(1, scored.size // 100)].mean()),
        voxels=x.size,
        nan=x.size - scored.size,
    )


def nan_mean(scores: ArrayLike, axis: int) -> Array:
    """Average the values along an axis that are not nan; nan, without a warning, if there are none."""
    x = np.asarray(scores, dtype=np.float64)
    present = ~np.isnan(x)
    count = present.sum(axis=axis)
    return np.where(count > 0, np.where(present, x, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True, kw_only=True)
class OverStories:
    """The mean over stories of a story's mean over voxels, with the t interval of that mean."""

    mean: float
    sd: float
    low: float
    high: float
    stories: int  # stories with a score
    empty: int  # stories without a single scored voxel


def over_stories(scores: ArrayLike, level: float = statistics.LEVEL) -> OverStories:
    """Summarise (stories, voxels) scores; the unit is the story, as its voxels are far from independent."""
    means = nan_mean(np.atleast_2d(np.asarray(scores, dtype=np.float64)), axis=1)
    scored = means[~np.isnan(means)]
    spread = statistics.seed_spread(scored, level)
    return OverStories(
        mean=spread.mean,
        sd=spread.sd,
        low=spread.low,
        high=spread.high,
        stories=scored.size,
        empty=means.size - scored.size,
    )


def _moments(p: Array, y: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Compute (mean p, mean y, sum dp dp, sum dy dy, sum dp dy) of each column."""
    (mean_p, dp), (mean_y, dy) = centred(p), centred(y)
    sums = [np.einsum("tv,tv->v", a, b) for a, b in ((dp, dp), (dy, dy), (dp, dy))]
    return mean_p, mean_y, sums[0], sums[1], sums[2]


def _quotient(pp: Array, yy: Array, py: Array) -> Array:
    """Compute py / sqrt(pp yy), kept within [-1, 1]; nan where a factor is 0."""
    scale = np.sqrt(pp) * np.sqrt(yy)
    return np.clip(np.divide(py, scale, out=np.full_like(py, np.nan), where=scale > 0), -1, 1)
