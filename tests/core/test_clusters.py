"""Groups of rows, against statsmodels, slow loops and simulations with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm

from encoderlab.core import clusters, statistics, variation
from encoderlab.core.variation import SeedVariance


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def texts(draw: np.random.Generator, size: int = 25, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Groups of unequal sizes (n,), and scores (n,) with an effect of the group."""
    groups = draw.integers(0, size, size=rows)
    return groups, draw.normal(size=size)[groups] + draw.normal(size=rows)


def clustered(x: np.ndarray, groups: np.ndarray) -> float:
    """The cluster-robust variance of a mean by statsmodels, with the factor G / (G - 1)."""
    fit = sm.OLS(x, np.ones(len(x))).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    count = len(np.unique(groups))
    return float(fit.cov_params()[0, 0]) * count / (count - 1)


def test_the_design_effect_is_the_quotient_of_statsmodels_variances() -> None:
    groups, x = texts(rng(1))
    independent = scipy.stats.sem(x) ** 2
    assert clusters.design_effect(x, groups) == pytest.approx(clustered(x, groups) / independent, rel=1e-9)
    assert clusters.design_effect(x, groups) > 3
    apart = np.tile([0.0, 1.0], 50)  # every group has the same mean: groups tell more than rows, which is not used
    assert clusters.design_effect(apart, np.arange(100) // 2) == 1


def test_rows_of_a_group_that_are_copies_count_once() -> None:
    once = rng(2).normal(size=40)
    assert clusters.design_effect(once.repeat(6), np.arange(40).repeat(6)) == pytest.approx(
        6 * 239 / (6 * 39), rel=1e-9
    )
    assert clusters.design_effect(np.ones(240), np.arange(40).repeat(6)) == 6  # no score differs: the worst case


def test_groups_of_one_row_change_nothing() -> None:
    x = rng(3).random(50) < 0.8
    assert clusters.design_effect(x, np.arange(50)) == 1
    assert clusters.effective_rows(x, np.arange(50)) == 50
    wanted, rows = clusters.mean_covariance(x[None], None)
    found, units = clusters.mean_covariance(x[None], np.arange(50))
    assert units == rows == 50 and found == pytest.approx(wanted)


def test_the_effective_number_of_rows_is_korn_and_graubards() -> None:
    groups, x = texts(rng(4))
    right = (x > 0).astype(float)
    effect = clusters.design_effect(right, groups)
    share, units = right.mean(), clusters.effective_groups(groups, effect)
    t = scipy.stats.t.ppf(0.975, np.array([299, units - 1]))
    wanted = share * (1 - share) / clustered(right, groups) * (300 / 299) * (t[0] / t[1]) ** 2
    assert clusters.effective_rows(right, groups) == pytest.approx(wanted, rel=1e-9)


def test_bootstrap_samples_draw_whole_groups() -> None:
    groups, x = texts(rng(5), size=12, rows=80)
    y = rng(6).random(80) + 0.5
    draws = statistics.bootstrap_draws(lambda w: (w @ x) / (w @ y), 80, groups=groups, resamples=20000)
    interval = statistics.percentile_interval(draws, 0.95)
    draw, slow = rng(7), []
    members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    for _ in range(6000):
        rows = np.concatenate([members[one] for one in draw.integers(0, len(members), len(members))])
        slow.append(x[rows].sum() / y[rows].sum())
    low, high = np.quantile(slow, [0.025, 0.975])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    covariance, units = clusters.bootstrap_covariance(lambda w: ((w @ x) / (w @ y))[None], 80, groups)
    assert 8 < units < 12 and covariance[0, 0] == pytest.approx(np.var(slow) * 12 / 11, rel=0.1)


def test_the_bootstrap_covariance_of_means_is_the_exact_one() -> None:
    groups, x = texts(rng(8), size=30, rows=300)
    both = np.array([x, x + rng(9).normal(size=300)])
    found, units = clusters.bootstrap_covariance(lambda w: both @ w.T / w.sum(axis=1), 300, groups)
    exact, same = clusters.mean_covariance(both, groups)
    assert found == pytest.approx(exact, rel=0.15) and units == pytest.approx(same, rel=0.03)


def test_equal_methods_are_told_apart_at_the_level_with_groups_and_too_often_without() -> None:
    """10 texts of 30 windows. Two methods agree on average, but each text suits one of them."""
    draw, groups, studies = rng(10), np.arange(10).repeat(30), 1000
    claims = {"groups": 0, "rows": 0}
    for _ in range(studies):
        gap = (0.5 * draw.normal(size=10))[groups] + draw.normal(size=300)
        a, b, one = [gap.mean()], [0.0], SeedVariance.of([])
        for name, belong in (("groups", groups), ("rows", None)):
            found = variation.difference(a, b, *variation.covariance_of_means(gap[None], belong), one)
            claims[name] += found.p is not None and found.p < 0.05
    assert 0.03 < claims["groups"] / studies < 0.07 and claims["rows"] / studies > 0.3


@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_the_effective_number_of_groups_is_that_of_satterthwaite(alike: float) -> None:
    """The df of a sum of squares with expected values v_g is (sum v_g)^2 / sum v_g^2: here simulated."""
    draw, sizes = rng(11), np.array([2, 3, 5, 8, 13, 21, 34])
    groups = np.arange(7).repeat(sizes)
    expected = [n * (1 + (n - 1) * alike) for n in sizes]
    sums = np.sqrt(expected) * draw.normal(size=(200_000, 7))  # of the rows of a group, with correlation `alike`
    squares = (sums**2).sum(axis=1)
    df = 2 * squares.mean() ** 2 / squares.var()
    effect = 1 + ((sizes**2).sum() / sizes.sum() - 1) * alike
    assert clusters.effective_groups(groups, effect) == pytest.approx(df, rel=0.03)
    assert clusters.effective_groups(np.arange(7).repeat(5), 1 + 4 * alike) == pytest.approx(7)


def test_intervals_of_groups_of_unequal_sizes_hold_their_level() -> None:
    """Ten texts of 4 to 120 windows, in which rows are moderately alike."""
    draw, covered, studies = rng(12), {"effective": 0, "counted": 0}, 1500
    groups = np.arange(10).repeat(np.geomspace(4, 120, 10).round().astype(int))
    for _ in range(studies):
        x = (0.33 * draw.normal(size=10))[groups] + draw.normal(size=len(groups))
        covariance, units = clusters.mean_covariance(x[None], groups)
        for name, count in (("effective", units), ("counted", 10)):
            found = variation.estimate_mean([x.mean()], covariance, count)
            covered[name] += found.low <= 0 <= found.high
    assert covered["effective"] / studies > 0.92 and covered["counted"] / studies < 0.90
