"""Intervals of single numbers, and the adjustment for several comparisons: arrays in, numbers out.

    over seeds       mean +- t(0.975, s - 1) * sd / sqrt(s)
    over rows        percentile bootstrap: resample the n test rows with replacement, the models stay as they are
    two methods      see `variation`
    several methods  Holm: step-down Bonferroni over the family of comparisons

A bootstrap draw only needs to know how often each *kind* of row was drawn (rows with equal values are interchangeable),
and those counts are multinomial: the cost grows with the kinds of rows, not with the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

RESAMPLES = 2000
LEVEL = 0.95
CELLS = 2_000_000  # weights in memory at a time

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (m, n) weights of n rows -> (m,) values


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Two ends of an interval, in the unit of the metric; nan where there is none."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over seeds: mean, standard deviation (n - 1) and the t interval of the mean; nan where undefined."""

    mean: float
    sd: float
    low: float
    high: float


def over_seeds(values: ArrayLike, level: float = LEVEL) -> Spread:
    """Mean, sd and Student t interval of one metric over seeds.

    values: (seeds,). One seed has a mean but neither sd nor interval (nan); no seed has none of them.
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
    """Percentile bootstrap over rows of the mean over seeds and rows (Efron & Tibshirani 1993, ch. 13).

    values: (seeds, rows) or (rows,): one value per model and row, such as 1.0 where the model is right. Every seed
    sees the same resampled rows. For a paired difference pass the difference of two such matrices.
    """
    x = np.atleast_2d(np.asarray(values, dtype=np.float64))
    kinds, counts = np.unique(x.mean(axis=0), return_counts=True)
    draws = _draws(counts, seed, resamples)
    return _percentiles(draws @ kinds / counts.sum(), level)


def bootstrap_macro_f1(
    predicted: ArrayLike,
    labels: ArrayLike,
    classes: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile bootstrap over rows of the macro F1, averaged over seeds.

    predicted: (seeds, rows) class numbers; labels: (rows,) gold class numbers, both in [0, classes). The
    mean is over the classes with gold or predicted rows in the resample, as in the metric itself (and scikit-learn).
    """
    models = np.atleast_2d(np.asarray(predicted, dtype=np.int64))
    kinds, counts = np.unique(np.vstack([np.asarray(labels, dtype=np.int64), models]), axis=1, return_counts=True)
    draws = _draws(counts, seed, resamples).astype(np.float64)
    one_hot = np.eye(classes)
    gold = one_hot[kinds[0]]
    total = np.zeros(resamples)
    for model in kinds[1:]:
        guess = one_hot[model]
        support = draws @ (gold + guess)
        f1 = 2 * (draws @ (gold * guess)) / np.maximum(support, 1)
        total += f1.sum(axis=1) / (support > 0).sum(axis=1)
    return _percentiles(total / len(models), level)


def bootstrap(
    statistic: Statistic, rows: int, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Percentile bootstrap over rows of any statistic of weighted rows: a row's weight is how often it was drawn."""
    return _percentiles(bootstrap_draws(statistic, rows, seed=seed, resamples=resamples), level)


def bootstrap_draws(
    statistic: Statistic, rows: int, *, groups: ArrayLike | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Return a statistic of `resamples` samples of rows, last axis. groups: (rows,); rows of one are drawn together."""
    rng = np.random.Generator(np.random.PCG64([seed, 0xB0075]))
    names, member = (rows, None) if groups is None else _numbered(groups)
    step = max(1, CELLS // rows)
    found = []
    for start in range(0, resamples, step):
        drawn = rng.multinomial(names, np.full(names, 1 / names), size=min(step, resamples - start)).astype(np.float64)
        found.append(statistic(drawn if member is None else drawn[:, member]))
    return np.concatenate(found, axis=-1)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values (1979), in the order given.

    p_values: (m,). A nan is a comparison that could not be made: it stays nan and does not count towards the family.
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


def _draws(counts: NDArray[np.int64], seed: int, resamples: int) -> NDArray[np.int64]:
    """How often each kind of row occurs in each resample: (resamples, kinds)."""
    rng = np.random.Generator(np.random.PCG64([seed, 0xB0075]))
    n = int(counts.sum())
    return rng.multinomial(n, counts / n, size=resamples)


def _percentiles(statistic: NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(statistic, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high))
