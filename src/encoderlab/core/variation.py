"""One standard error over test rows and seeds, and the interval and the p-value that follow from it.

The score of a method varies with the random seed and with the sample of test rows. One standard error covers both, so
that a claim about a method holds for other seeds and other rows. For the scores X, shape (S, n), of S seeds on n test
rows, or the difference D = X_A - X_B of two methods:

    C     (S, S): covariance of the S seeds' metrics over samples of rows
    row   = mean of C                                       variance of the mean over seeds, for the given S runs
    both  = (mean of C's diagonal - mean off it) / S        the part of `row` that changes with new seeds
    seed  = s^2 / S                                         of one method; s^2: variance of the metric over its seeds
          = max(s^2, s_pool^2) / S                          of one method with two seeds
          = max(s_A^2 + s_B^2, 2 s_pool^2) / S              of a difference; s_pool^2: mean of s^2 over trained variants
    se^2  = max(row + seed - both, row, seed)
    df    = (row + seed)^2 / (row^2 / (n - 1) + seed^2 / df_seed)           Satterthwaite; df_seed: sum of S_v - 1
          x (se^2 / (row + seed))^2                                         against the best, where `both` counts once

For a mean over rows, C is exact; for an F1 or a correlation it is the covariance of bootstrap draws. Rows of one group
(texts of one author, windows of one text) are drawn together. With one seed, `seed` is unknown: the result then holds
for the given runs, not for the methods. docs/statistics.md has the derivation and simulations.

Sources: Bouthillier et al. 2021 (arXiv:2103.03098), Sellam et al. 2022 (Multi-Bootstrap, arXiv:2106.16163),
Satterthwaite 1946; Wilson 1927; Agresti & Min 2005; Fagerland et al. 2013 (mid-p McNemar); Hsu 1996; Miller 2024
(groups, arXiv:2411.00640).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoderlab.core import distributions
from encoderlab.core.statistics import LEVEL

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: The mean over seeds.
        low, high: The ends of the 95 % interval.
        se, df: Standard error and degrees of freedom of the t distribution.
        row, seed: The parts of se^2 from rows and from seeds. They overlap a little.
        seeds: The number of seeds, or of pairs of runs.
        general: Whether the interval holds for other seeds too, not only for these runs.
        p: The two-sided p-value of the null hypothesis that the value is 0. None if it was not tested.
    """

    value: float
    low: float
    high: float
    se: float
    df: float
    row: float
    seed: float
    seeds: int
    general: bool
    p: float | None = None

    def above(self, level: float = LEVEL) -> float:
        """Return the one-sided lower bound of the value."""
        return self.value - float(distributions.t.ppf(level, self.df)) * self.se

    def below(self, level: float = LEVEL) -> float:
        """Return the one-sided upper bound of the value."""
        return self.value + float(distributions.t.ppf(level, self.df)) * self.se


@dataclass(frozen=True, kw_only=True)
class SeedVariance:
    """The variance of the metric over seeds, pooled over the trained variants of a study.

    Attributes:
        pooled: The mean of the variants' variances; nan if no variant has two seeds.
        df: Its degrees of freedom.
    """

    pooled: float
    df: int

    @classmethod
    def of(cls, values: Sequence[ArrayLike]) -> SeedVariance:
        """Pool the variances of variants.

        Args:
            values: for each variant, the metric of each of its seeds.
        """
        several = [np.asarray(variant, dtype=np.float64) for variant in values if np.size(variant) > 1]
        if not several:
            return cls(pooled=math.nan, df=0)
        pooled = float(np.mean([variant.var(ddof=1) for variant in several]))
        return cls(pooled=pooled, df=sum(variant.size - 1 for variant in several))


def covariance_of_means(scores: ArrayLike, groups: ArrayLike | None = None) -> tuple[FloatArray, int]:
    """Return the covariance (S, S) of the seeds' means over samples of rows, and the number of rows or groups.

    Args:
        scores: One score per seed and row, (S, n).
        groups: The group of each row, (n,). Rows of one group are drawn together.
    """
    x = np.asarray(scores, dtype=np.float64)
    centred = x - x.mean(axis=1, keepdims=True)
    if groups is not None:
        names, inverse = np.unique(np.asarray(groups), return_inverse=True)
        centred = np.stack([np.bincount(inverse, weights=row, minlength=len(names)) for row in centred])
    units = centred.shape[1]
    if units < 2:
        return np.zeros((len(x), len(x))), units
    return centred @ centred.T * units / (units - 1) / x.shape[1] ** 2, units


def estimate_mean(
    values: ArrayLike, covariance: FloatArray, units: float, seeds: SeedVariance | None = None
) -> Estimate:
    """Estimate the metric of one method for other rows and other seeds.

    Two seeds hardly show a variance: where they happen to agree, the interval is far too narrow. Their variance is
    therefore at least the pooled one, as in a difference.

    Args:
        values: The metric of each seed, (S,).
        covariance: Covariance of the seeds' metrics over samples of rows, (S, S).
        units: The number of rows, or the effective number of groups of rows (`clusters`).
        seeds: The variance over seeds of the study's trained variants. None if the method is not one of them.
    """
    x = np.asarray(values, dtype=np.float64)
    row, both = _over_rows(covariance)
    variance, df = (float(x.var(ddof=1)), x.size - 1) if x.size > 1 else (0.0, 0)
    if x.size == 2 and seeds is not None and seeds.df > df:
        variance, df = max(variance, seeds.pooled), seeds.df
    return _estimate(float(x.mean()), row, variance / max(x.size, 1), both, units, df, x.size, largest=False)


def difference(
    a: ArrayLike,
    b: ArrayLike,
    covariance: FloatArray,
    units: float,
    seeds: SeedVariance,
    *,
    constant: bool = False,
    floor: float = 0.0,
) -> Estimate:
    """Estimate the difference of two methods, a minus b, and test it.

    Args:
        a: The metric of the runs of one method, (S,).
        b: The metric of their partners, (S,).
        covariance: Covariance of the pairs' differences over samples of rows, (S, S).
        units: The number of rows, or the effective number of groups of rows (`clusters`).
        seeds: The variance over seeds of the study's trained variants.
        constant: Whether one of the two gives the same answers for every seed; only the other's variance counts then.
        floor: The least variance over rows, such as `agresti_min`.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    row, both = _over_rows(covariance)
    row = max(row, floor)
    pooled = 0.0 if seeds.df == 0 else seeds.pooled * (1 if constant else 2)
    own = 0.0 if x.size < 2 else float(x.var(ddof=1) + y.var(ddof=1))
    seed = max(own, pooled) / x.size
    df = max(seeds.df, (x.size - 1) * (1 if constant else 2))
    estimate = _estimate(float((x - y).mean()), row, seed, both, units, df, x.size, largest=True)
    return replace(estimate, p=_two_sided(estimate.value, estimate.se, estimate.df))


def against_best(difference: Estimate, compared: int) -> Estimate:
    """Return the difference to the best of `compared` methods, with interval and p-value of the studentized range.

    A t test is too optimistic here, because the best method was picked by the scores that are compared. The quantile of
    the range depends more on df than that of t. The df of `difference` are those of row + seed, which count `both`
    twice; here they are those of se^2, which are fewer.
    """
    if difference.se == 0 or compared < 2:
        return difference
    apart = difference.row + difference.seed
    df = float(f"{difference.df * (difference.se**2 / apart) ** 2:.3g}") if apart else float(f"{difference.df:.3g}")
    p = float(distributions.studentized_range.sf(math.sqrt(2) * abs(difference.value) / difference.se, compared, df))
    half = _studentized_quantile(compared, df) * difference.se / math.sqrt(2)
    return replace(difference, low=difference.value - half, high=difference.value + half, p=p)


@cache
def _studentized_quantile(methods: int, df: float) -> float:
    return float(distributions.studentized_range.ppf(LEVEL, methods, df))  # a seventh of a second each


def wilson(right: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval (1927) of a share of n rows: never of zero width, never outside [0, 1].

    Args:
        right: The share.
        n: The number of rows, or of groups of rows the `clusters.effective_rows`.
    """
    z2 = float(distributions.norm.ppf((1 + LEVEL) / 2)) ** 2
    middle = (right + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (right * (1 - right) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return middle - half, middle + half


def agresti_min(differences: ArrayLike) -> float:
    """Return Agresti and Min's variance (2005) of a difference of two shares of the same rows, never 0.

    Two rows are added, one in favour of each side.

    Args:
        differences: Right minus right of each row, the mean over seeds, (n,).
    """
    d = np.asarray(differences, dtype=np.float64)
    m = d.size + 2
    return float((d @ d) + 1 - d.sum() ** 2 / m) / m**2


def mid_p_mcnemar(only_a: int, only_b: int) -> float:
    """Return the mid-p McNemar p value: nearly exact, and less conservative than the exact test."""
    discordant = only_a + only_b
    if discordant == 0:
        return 1.0
    low = min(only_a, only_b)
    at_most, exactly = (f(low, discordant, 0.5) for f in (distributions.binom.cdf, distributions.binom.pmf))
    return min(1.0, float(2 * at_most - exactly))


def widened(estimate: Estimate, low: float, high: float) -> Estimate:
    """Return the estimate with each end of its interval moved out to `low` and `high` where these lie further out."""
    return replace(estimate, low=min(estimate.low, low), high=max(estimate.high, high))


def clipped(estimate: Estimate, lowest: float, highest: float) -> Estimate:
    """Return the estimate with its interval clipped to the possible values of the metric."""
    return replace(estimate, low=max(estimate.low, lowest), high=min(estimate.high, highest))


DISAGREEMENT = 0.075  # share of rows that only one of two methods gets right; measured: 0.07 to 0.11


def smallest_visible(rows: int, seeds: int, seed_sd: float, disagreement: float = DISAGREEMENT) -> float:
    """Return the true difference that a study finds with 80 % power at the 5 % level: 2.8 standard errors.

    Args:
        rows: The number of test rows.
        seeds: The number of seeds of each method.
        seed_sd: The standard deviation of the metric over seeds.
        disagreement: The share of rows that only one of two methods gets right.
    """
    return 2.8 * math.sqrt(disagreement / rows + 2 * seed_sd**2 / seeds)


def what_halves_it(rows: int, seeds: int, seed_sd: float) -> tuple[int | None, int | None]:
    """Return how many rows, or how many seeds, halve `smallest_visible`. None where more of them alone cannot."""
    of_rows, of_seeds = DISAGREEMENT / rows, 2 * seed_sd**2 / seeds
    quarter = (of_rows + of_seeds) / 4
    more_rows = math.ceil(DISAGREEMENT / (quarter - of_seeds)) if quarter > of_seeds else None
    more_seeds = math.ceil(2 * seed_sd**2 / (quarter - of_rows)) if quarter > of_rows and seed_sd else None
    return more_rows, more_seeds


def _over_rows(covariance: FloatArray) -> tuple[float, float]:
    size = len(covariance)
    row = float(covariance.mean())
    if size < 2:
        return row, 0.0
    diagonal = float(np.trace(covariance)) / size
    off = float(covariance.sum() - np.trace(covariance)) / (size * (size - 1))
    return row, max(0.0, diagonal - off) / size


def _estimate(
    value: float, row: float, seed: float, both: float, units: float, df_seed: int, seeds: int, *, largest: bool
) -> Estimate:
    total = max(row + seed - both, row, seed if largest else 0.0)
    parts = row**2 / max(units - 1, 1) + (seed**2 / df_seed if df_seed else 0.0)
    df = (row + seed) ** 2 / parts if parts > 0 else max(units - 1.0, 1.0)
    se = math.sqrt(total)
    half = float(distributions.t.ppf((1 + LEVEL) / 2, df)) * se
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        se=se,
        df=df,
        row=row,
        seed=seed,
        seeds=seeds,
        general=df_seed > 0,
    )


def _two_sided(value: float, se: float, df: float) -> float:
    if se == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * distributions.t.sf(abs(value) / se, df))
