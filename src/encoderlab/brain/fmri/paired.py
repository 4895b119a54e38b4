"""Compare two feature spaces on the same stories: the difference, its interval and its p from one standard error.

    d_s     score of a - score of b in story s, S stories
    se^2    (1 / S + n_test / n_train) s^2,  s^2 the variance of d over stories             Nadeau & Bengio (2003)
    t       mean d / se, Student's t with S - 1 degrees of freedom; interval mean d +- t(.975) se

Models of different folds share most of their training stories, so the d_s are not independent, and s^2 / S would be too
small a variance. n_test / n_train is the ratio of held-out to training stories of a fold, 1 / (folds - 1). The best of
k spaces is chosen by the same scores that it is compared by, so the studentized range of k replaces t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from encoderlab.brain.fmri.scores import Array, nan_mean
from encoderlab.core.errors import InputError

FEWEST = 6  # stories that a p value needs


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The comparison of feature space a with b; means over stories use the voxels that both score in a story."""

    difference: Array  # (V,) mean over stories of score a - score b; nan where no story has both
    p_values: Array  # (V,) two-sided, not adjusted; nan with fewer than 6 stories
    mean: float  # over stories of the mean over voxels
    low: float  # 95 % interval of `mean`; nan with fewer than 2 stories
    high: float
    se: float
    p: float  # of `mean`; nan with fewer than 6 stories
    stories: int  # with at least one voxel scored by both


def paired(scores_a: ArrayLike, scores_b: ArrayLike, *, folds: int | None = None) -> Paired:
    """Compare two feature spaces on the same stories and voxels.

    Args:
        scores_a: (stories, voxels) scores of space a; nan means no score.
        scores_b: (stories, voxels) scores of space b.
        folds: the number of folds in which stories were held out; None means one fold a story.

    Raises:
        InputError: the shapes differ.
    """
    a, b = np.asarray(scores_a, dtype=np.float64), np.asarray(scores_b, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or not len(a):
        raise InputError(f"scores {a.shape} and {b.shape}: expected two equal shapes (stories, voxels), stories >= 1")
    d = a - b
    over_voxels = nan_mean(d, axis=1)[:, None]
    ratio = 1 / max((len(d) if folds is None else folds) - 1, 1)
    mean, se, count, p = (float(column[0]) for column in _tested(over_voxels, ratio))
    half = float(stats.t.ppf(0.975, count - 1)) * se if count > 1 else math.nan
    return Paired(
        difference=nan_mean(d, axis=0),
        p_values=_tested(d, ratio)[3],
        mean=mean,
        low=mean - half,
        high=mean + half,
        se=se,
        p=p,
        stories=int(count),
    )


def _tested(d: Array, ratio: float) -> tuple[Array, Array, Array, Array]:
    """Test each column of (S, V) differences; return (V,) mean, standard error, number of stories and p."""
    count = np.isfinite(d).sum(axis=0)
    mean = nan_mean(d, axis=0)
    squares = np.nansum((d - mean) ** 2, axis=0)
    enough = count > 1
    se = np.sqrt(squares / np.maximum(count - 1, 1) * (1 / np.maximum(count, 1) + ratio))
    se = np.where(enough, se, np.nan)
    size = np.abs(mean)
    t = np.divide(size, se, out=np.where(size > 0, np.inf, 0.0), where=enough & (se > 0))
    p = np.where(count >= FEWEST, 2 * stats.t.sf(t, np.maximum(count - 1, 1)), np.nan)
    return mean, se, count.astype(float), p


def against_best(comparisons: Sequence[Paired]) -> list[Paired]:
    """Widen each comparison (best - other) so that its interval and p hold for the best of all these spaces."""
    spaces = len(comparisons) + 1
    return [_ranged(pair, spaces) if spaces > 2 and pair.stories >= FEWEST else pair for pair in comparisons]


def _ranged(pair: Paired, spaces: int) -> Paired:
    """Recompute the interval and p of a comparison by the studentized range of `spaces`."""
    if pair.se == 0:
        return pair
    df = pair.stories - 1
    half = _quantile(spaces, df) * pair.se / math.sqrt(2)
    p = float(stats.studentized_range.sf(math.sqrt(2) * abs(pair.mean) / pair.se, spaces, df))
    return replace(pair, low=pair.mean - half, high=pair.mean + half, p=p)


@cache
def _quantile(spaces: int, df: int) -> float:
    return float(stats.studentized_range.ppf(0.95, spaces, df))  # cached: each takes a seventh of a second
