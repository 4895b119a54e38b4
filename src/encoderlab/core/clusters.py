"""What groups of rows change: the number of units, the design effect, and the covariance of bootstrap samples.

Rows of one text, premise, document, author or story are not independent. A sample then draws whole groups, and the
number of groups, not of rows, decides how certain a metric is.

Sources: Kish 1965 (design effect); Rao & Wu 1988 (bootstrap of few units); Rao & Scott 1992 and Korn & Graubard 1998
(effective number of rows of a share); Miller 2024 (arXiv:2411.00640, clustered standard errors of evaluations).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from encoderlab.core.statistics import LEVEL, Statistic, bootstrap_draws
from encoderlab.core.variation import FloatArray, covariance_of_means


def units_of(rows: int, groups: ArrayLike | None) -> int:
    """Return what is drawn: the number of groups, or of rows where there are none."""
    return rows if groups is None else len(np.unique(np.asarray(groups)))


def bootstrap_covariance(statistic: Statistic, rows: int, groups: ArrayLike | None) -> tuple[FloatArray, int]:
    """Return the covariance of statistics over samples of rows, and the number of rows or groups.

    The variance of bootstrap samples of G groups is too small by the factor (G - 1) / G (Rao & Wu 1988), which is
    corrected. Rows are so many that the factor does not matter.

    Args:
        statistic: Maps weights (m, rows) to values (s, m).
        rows: The number of rows.
        groups: The group of each row, (rows,). None: rows are independent.
    """
    units = units_of(rows, groups)
    covariance = np.atleast_2d(np.cov(bootstrap_draws(statistic, rows, groups=groups)))
    return covariance * (1.0 if groups is None else units / max(units - 1, 1)), units


def design_effect(scores: ArrayLike, groups: ArrayLike) -> float:
    """Return by what factor groups enlarge the variance of a mean over rows; at least 1 (Kish 1965).

    Where all scores are equal, the rows of a group count as copies of each other: the factor is the mean group size.

    Args:
        scores: One score per row, (n,).
        groups: The group of each row, (n,).
    """
    x = np.asarray(scores, dtype=np.float64)[None]
    independent = float(covariance_of_means(x)[0][0, 0])
    clustered, units = covariance_of_means(x, groups)
    return max(1.0, float(clustered[0, 0]) / independent) if independent > 0 else x.size / units


def effective_rows(scores: ArrayLike, groups: ArrayLike) -> float:
    """Return the number of independent rows that tell as much as these (Rao & Scott 1992).

    The ratio of two squared t quantiles accounts for a variance that few groups estimate (Korn & Graubard 1998).

    Args:
        scores: One score per row, (n,).
        groups: The group of each row, (n,).
    """
    rows, units = np.size(scores), units_of(np.size(scores), groups)
    of_rows, of_groups = (float(distributions.t.ppf((1 + LEVEL) / 2, max(n - 1, 1))) for n in (rows, units))
    return rows / design_effect(scores, groups) * (of_rows / of_groups) ** 2
