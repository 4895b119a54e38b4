"""Intervals and paired tests for a comparison of methods: arrays in, numbers out.

    over seeds       mean +- t(0.975, s - 1) * sd / sqrt(s)
    over rows        percentile bootstrap: resample the n test rows with replacement, the models stay as they are
    two methods      exact McNemar: of the d rows that only one of two models gets right, k ~ Binomial(d, 1/2);
                     sign flips where a row's score is more than right or wrong; where the metric is no mean over rows,
                     swaps of the two models' answers, row by row
    several seeds    Rueger: min(1, K / k * p_(k)), valid however the K tests depend on each other
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
from scipy.stats import binomtest
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


def mcnemar(correct: ArrayLike, reference: ArrayLike) -> float:
    """Exact two-sided McNemar test (1947) of two models on the same rows: the p value; 1 where no row tells them apart.

    correct, reference: (rows,) bool, row i being the same row in both.
    """
    a, b = np.asarray(correct, dtype=bool), np.asarray(reference, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def sign_flip(values: ArrayLike, reference: ArrayLike, *, seed: int = 0, flips: int = 9999) -> float:
    """Two-sided paired permutation test of a mean difference (Fisher 1935): the p value, at least 1 / (flips + 1).

    values, reference: (rows,) numbers, row i being the same row in both. Under the null each difference is as likely to
    have the other sign.
    """
    d = np.asarray(values, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    rng = np.random.Generator(np.random.PCG64([seed, 0x51F7]))
    seen, beyond = abs(d.sum()) * (1 - 1e-12), 0
    for start in range(0, flips, 512):
        signs = rng.integers(0, 2, (min(512, flips - start), len(d)), dtype=np.int8) * 2 - 1
        beyond += int((np.abs(signs @ d) >= seen).sum())
    return (beyond + 1) / (flips + 1)


def bootstrap(
    statistic: Statistic, rows: int, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Percentile bootstrap over rows of any statistic of weighted rows: a row's weight is how often it was drawn."""
    rng = np.random.Generator(np.random.PCG64([seed, 0xB0075]))
    step = max(1, CELLS // rows)
    chunks = (min(step, resamples - start) for start in range(0, resamples, step))
    draws = (rng.multinomial(rows, np.full(rows, 1 / rows), size=size).astype(np.float64) for size in chunks)
    return _percentiles(np.concatenate([statistic(weights) for weights in draws]), level)


def swap_test(statistic: Statistic, rows: int, *, seed: int = 0, swaps: int = 1999) -> float:
    """Two-sided paired permutation test of the difference of a statistic between two models: the p value, at least
    1 / (swaps + 1).

    statistic: of 2 x rows weighted rows, the first model's and then the other's. Under the null each row's two answers
    are as likely to be each other's.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 0x5A4B]))

    def differences(mine: NDArray[np.float64]) -> NDArray[np.float64]:
        return statistic(np.hstack([mine, 1 - mine])) - statistic(np.hstack([1 - mine, mine]))

    seen, beyond = abs(float(differences(np.ones((1, rows)))[0])) * (1 - 1e-12), 0
    step = max(1, CELLS // (4 * rows))
    for start in range(0, swaps, step):
        mine = rng.integers(0, 2, (min(step, swaps - start), rows)).astype(np.float64)
        beyond += int((np.abs(differences(mine)) >= seen).sum())
    return (beyond + 1) / (swaps + 1)


def rueger(p_values: ArrayLike) -> float:
    """One p value from K dependent tests of the same null hypothesis (Rueger 1978): min(1, p_(k) K / k).

    p_values: (K,). Uses the upper median, k = ceil((K + 1) / 2), fixed in advance: valid under any dependence: seeds
    tested on the same rows depend on each other. nan for no test at all.
    """
    p = np.sort(np.asarray(p_values, dtype=np.float64))
    if p.size == 0:
        return math.nan
    k = math.ceil((p.size + 1) / 2)
    return min(1.0, float(p[k - 1]) * p.size / k)


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


def _draws(counts: NDArray[np.int64], seed: int, resamples: int) -> NDArray[np.int64]:
    """How often each kind of row occurs in each resample: (resamples, kinds)."""
    rng = np.random.Generator(np.random.PCG64([seed, 0xB0075]))
    n = int(counts.sum())
    return rng.multinomial(n, counts / n, size=resamples)


def _percentiles(statistic: NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(statistic, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high))
