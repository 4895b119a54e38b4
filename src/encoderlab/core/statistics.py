"""Intervals of single numbers, and the adjustment for several comparisons: arrays in, numbers out.

    over seeds       mean +- t(0.975, s - 1) * sd / sqrt(s)
    over rows        percentile bootstrap: resample the n test rows with replacement, keep the models
    two methods      see `variation`
    several methods  Holm: step-down Bonferroni over the family of comparisons

Rows with equal values are interchangeable. A bootstrap sample is therefore a count of each kind of row, and the counts
are multinomial: the cost grows with the number of kinds, not with the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoderlab.core.distributions import t as student_t

RESAMPLES = 2000
LEVEL = 0.95
CELLS = 2_000_000  # weights in memory at a time

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (m, n) weights of n rows -> (m,) values


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The two ends of an interval, in the unit of the metric; nan if there is none."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over seeds: mean, standard deviation (n - 1) and t interval of the mean; nan where undefined."""

    mean: float
    sd: float
    low: float
    high: float


def seed_spread(values: ArrayLike, level: float = LEVEL) -> Spread:
    """Return mean, standard deviation and Student's t interval of a metric over seeds.

    Args:
        values: One value per seed, (seeds,). A single value has a mean alone; without values all is nan.
        level: The coverage of the interval.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return Spread(mean=math.nan, sd=math.nan, low=math.nan, high=math.nan)
    mean = float(x.mean())
    if x.size == 1:
        return Spread(mean=mean, sd=math.nan, low=math.nan, high=math.nan)
    sd = float(x.std(ddof=1))
    half = float(student_t.ppf((1 + level) / 2, x.size - 1)) * sd / math.sqrt(x.size)
    return Spread(mean=mean, sd=sd, low=mean - half, high=mean + half)


def bootstrap_mean(values: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """Return the percentile bootstrap interval over rows of the mean (Efron & Tibshirani 1993, ch. 13).

    All seeds share the resampled rows. For a paired difference, pass the difference of two matrices.

    Args:
        values: One value per model and row, (seeds, rows) or (rows,), such as 1.0 where the model is right.
        seed: Seed of the samples.
        resamples: Number of samples.
        level: Coverage of the interval.
    """
    x = np.atleast_2d(np.asarray(values, dtype=np.float64))
    kinds, counts = np.unique(x.mean(axis=0), return_counts=True)
    draws = draws_of_kinds(counts, seed, resamples)
    return percentile_interval(draws @ kinds / counts.sum(), level)


def bootstrap(
    statistic: Statistic, rows: int, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Return the percentile bootstrap interval of any statistic of weighted rows.

    A weight counts how often a row was drawn.
    """
    return percentile_interval(bootstrap_draws(statistic, rows, seed=seed, resamples=resamples), level)


def bootstrap_draws(
    statistic: Statistic, rows: int, *, groups: ArrayLike | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Return a statistic of `resamples` samples of rows, on the last axis.

    Args:
        statistic: Maps weights (m, rows) to values (..., m).
        rows: The number of rows.
        groups: The group of each row, (rows,). Rows of one group are drawn together.
        seed: Seed of the samples.
        resamples: Number of samples.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 0xB0075]))
    names, member = (rows, None) if groups is None else _numbered(groups)
    step = max(1, CELLS // rows)
    values: list[NDArray[np.float64]] = []
    for start in range(0, resamples, step):
        drawn = rng.multinomial(names, np.full(names, 1 / names), size=min(step, resamples - start)).astype(np.float64)
        values.append(statistic(drawn if member is None else drawn[:, member]))
    return np.concatenate(values, axis=-1)


def share_above(a: ArrayLike, b: ArrayLike) -> float:
    """Return the share of pairs (x of a, y of b) in which x is the larger one; a tie counts half.

    It estimates P(A > B), and is Mann and Whitney's U (1947) divided by the number of pairs.

    Args:
        a: (n,), at least one value.
        b: (m,), at least one value.
    """
    gaps = np.subtract.outer(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    return float((np.sign(gaps).mean() + 1) / 2)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's step-down adjusted p-values (1979), in the given order.

    Args:
        p_values: (m,). A nan stands for a missing comparison: it stays nan and does not count towards the family.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, math.nan)
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * float(p[i])))
        adjusted[i] = running
    return adjusted


def _numbered(groups: ArrayLike) -> tuple[int, NDArray[np.int64]]:
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    return len(names), member


def draws_of_kinds(counts: NDArray[np.int64], seed: int, resamples: int) -> NDArray[np.int64]:
    """Return how often each kind of row occurs in each sample, (resamples, kinds), given the rows of each kind."""
    rng = np.random.Generator(np.random.PCG64([seed, 0xB0075]))
    n = int(counts.sum())
    return rng.multinomial(n, counts / n, size=resamples)


def percentile_interval(statistic: NDArray[np.float64], level: float) -> Interval:
    """Return the central interval of the draws of a statistic, (resamples,)."""
    low, high = np.quantile(statistic, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high))
