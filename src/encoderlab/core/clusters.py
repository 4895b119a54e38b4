"""The effect of groups of rows: on the covariance of metrics, the degrees of freedom, the effective number of rows.

Rows of one text, premise, document, author or story are not independent. A sample then draws whole groups, and the
number of groups, not of rows, decides how certain a metric is:

    effect  variance with groups / variance of independent rows                        design effect
    rho     (effect - 1) / (sum n_g^2 / n - 1), in [0, 1]                              how alike rows of a group are
    units   (sum v_g)^2 / sum v_g^2  with  v_g = n_g (1 + (n_g - 1) rho)               effective number of groups

n_g is the number of rows of a group. For groups of one size, `units` is their number; a few large groups lower it.

Sources: Kish 1965 (design effect); Imbens & Kolesar 2016 and Carter, Schnepel & Steigerwald 2017 (degrees of freedom of
groups of unequal sizes); Rao & Wu 1988 (bootstrap of few units); Rao & Scott 1992 and Korn & Graubard 1998 (effective
number of rows of a share); Miller 2024 (arXiv:2411.00640, clustered standard errors of evaluations).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from encoderlab.core import distributions
from encoderlab.core.statistics import LEVEL, Statistic, bootstrap_draws
from encoderlab.core.variation import FloatArray, covariance_of_means


def mean_covariance(scores: ArrayLike, groups: ArrayLike | None) -> tuple[FloatArray, float]:
    """Return the covariance (S, S) of the seeds' means over samples of rows or groups, and their effective number.

    Args:
        scores: One score per seed and row, (S, n).
        groups: The group of each row, (n,). None: rows are independent.
    """
    x = np.asarray(scores, dtype=np.float64)
    covariance, units = covariance_of_means(x, groups)
    if groups is None:
        return covariance, units
    return covariance, effective_groups(groups, design_effect(x.mean(axis=0), groups))


def ratio_covariance(parts: ArrayLike, groups: ArrayLike | None) -> tuple[FloatArray, float]:
    """Return what `mean_covariance` does, for a ratio of two sums over rows, to first order.

    Args:
        parts: What each row adds to the numerator and to the denominator, (S, n, 2).
        groups: The group of each row, (n,). None: rows are independent.
    """
    x = np.asarray(parts, dtype=np.float64)
    part, whole = np.moveaxis(x.mean(axis=1), 1, 0)
    influence = (x[..., 0] - (part / whole)[:, None] * x[..., 1]) / whole[:, None]
    return mean_covariance(influence, groups)


def bootstrap_covariance(statistic: Statistic, rows: int, groups: ArrayLike | None) -> tuple[FloatArray, float]:
    """Return the covariance (S, S) of statistics over samples of rows or groups, and their effective number.

    The variance of bootstrap samples of G groups is too small by the factor (G - 1) / G (Rao & Wu 1988), which is
    corrected. Rows are so many that the factor does not matter.

    Args:
        statistic: Maps weights (m, rows) to values (S, m).
        rows: The number of rows.
        groups: The group of each row, (rows,). None: rows are independent.
    """
    independent = np.atleast_2d(np.cov(bootstrap_draws(statistic, rows)))
    if groups is None:
        return independent, rows
    count = len(np.unique(np.asarray(groups)))
    covariance = np.atleast_2d(np.cov(bootstrap_draws(statistic, rows, groups=groups))) * count / max(count - 1, 1)
    effect = float(covariance.mean() / independent.mean()) if independent.mean() > 0 else 1.0
    return covariance, effective_groups(groups, effect)


def design_effect(scores: ArrayLike, groups: ArrayLike) -> float:
    """Return by what factor groups enlarge the variance of a mean over rows; at least 1 (Kish 1965).

    Where all scores are equal, the rows of a group count as copies of each other.

    Args:
        scores: One score per row, (n,).
        groups: The group of each row, (n,).
    """
    x = np.asarray(scores, dtype=np.float64)[None]
    independent = float(covariance_of_means(x)[0][0, 0])
    clustered = float(covariance_of_means(x, groups)[0][0, 0])
    return max(1.0, clustered / independent) if independent > 0 else _of_copies(_sizes(groups))


def effective_groups(groups: ArrayLike, effect: float) -> float:
    """Return how many groups of one size would determine the variance as well as these groups do.

    Args:
        groups: The group of each row, (n,).
        effect: The design effect of what is measured.
    """
    sizes = _sizes(groups)
    most = _of_copies(sizes)
    alike = min(max((effect - 1) / (most - 1), 0.0), 1.0) if most > 1 else 0.0
    variances = sizes * (1 + (sizes - 1) * alike)
    return float(variances.sum() ** 2 / (variances**2).sum())


def effective_rows(scores: ArrayLike, groups: ArrayLike) -> float:
    """Return the number of independent rows that tell as much as these (Rao & Scott 1992).

    The ratio of two squared t quantiles accounts for a variance that few groups estimate (Korn & Graubard 1998).

    Args:
        scores: One score per row, (n,).
        groups: The group of each row, (n,).
    """
    rows, effect = np.size(scores), design_effect(scores, groups)
    units = effective_groups(groups, effect)
    of_rows, of_groups = (float(distributions.t.ppf((1 + LEVEL) / 2, max(n - 1, 1))) for n in (rows, units))
    return rows / effect * (of_rows / of_groups) ** 2


def _sizes(groups: ArrayLike) -> FloatArray:
    return np.unique(np.asarray(groups), return_counts=True)[1].astype(np.float64)


def _of_copies(sizes: FloatArray) -> float:
    """Return the design effect of groups whose rows are copies of each other."""
    return float((sizes**2).sum() / sizes.sum())
