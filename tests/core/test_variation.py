"""One standard error over seeds and rows, against statsmodels, scipy, and simulations with a known truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.formula.api import ols
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from encoderlab.core import variation
from encoderlab.core.variation import SeedVariance


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def crossed(draw: np.random.Generator, seeds: int, rows: int, sd: float = 0.1) -> np.ndarray:
    """Scores (seeds, rows): an effect of the row, one of the seed, and a rest."""
    effect = draw.normal(size=rows) + sd * draw.normal(size=(seeds, 1))
    return effect + 0.5 * draw.normal(size=(seeds, rows))


def test_the_variance_is_that_of_a_crossed_analysis_of_variance() -> None:
    """Two-way random effects: Var(mean) = (MS_rows + MS_seeds - MS_rest) / (S n)."""
    x = crossed(rng(1), 4, 60)
    seed, row = np.indices(x.shape)
    table = sm.stats.anova_lm(
        ols("y ~ C(seed) + C(row)", pd.DataFrame({"y": x.ravel(), "seed": seed.ravel(), "row": row.ravel()})).fit()
    )
    squares = dict(zip(table.index, table["mean_sq"].to_numpy().tolist(), strict=True))
    wanted = (squares["C(row)"] + squares["C(seed)"] - squares["Residual"]) / x.size
    found = variation.estimate_mean(x.mean(axis=1), *variation.covariance_of_means(x))
    assert found.se**2 == pytest.approx(wanted, rel=1e-9) and found.value == pytest.approx(x.mean())
    parts = (squares["C(row)"] / x.size) ** 2 / 59 + (squares["C(seed)"] / x.size) ** 2 / 3
    df = ((squares["C(row)"] + squares["C(seed)"]) / x.size) ** 2 / parts
    assert found.df == pytest.approx(df, rel=1e-9)
    ends = scipy.stats.t.interval(0.95, df, loc=x.mean(), scale=math.sqrt(wanted))
    assert (found.low, found.high) == pytest.approx(ends)


def test_groups_are_statsmodels_clusters() -> None:
    draw = rng(2)
    groups = draw.integers(0, 25, size=300)
    x = draw.normal(size=25)[groups] + draw.normal(size=300)
    covariance, units = variation.covariance_of_means(x[None], groups)
    fit = sm.OLS(x, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    assert units == 25
    assert covariance[0, 0] == pytest.approx(float(fit.cov_params()[0, 0]) * 25 / 24, rel=1e-9)


@pytest.mark.parametrize("right, n", [(99, 100), (0, 40), (40, 40), (700, 1000)])
def test_wilson_is_statsmodels(right: int, n: int) -> None:
    assert variation.wilson(right / n, n) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)


@pytest.mark.parametrize("only_a, only_b", [(0, 0), (0, 6), (3, 3), (14, 30)])
def test_mid_p_is_the_exact_p_without_half_of_what_was_seen(only_a: int, only_b: int) -> None:
    exact = mcnemar([[50, only_a], [only_b, 20]], exact=True).pvalue  # pyright: ignore[reportAttributeAccessIssue]
    seen = scipy.stats.binom.pmf(min(only_a, only_b), only_a + only_b, 0.5)
    wanted = 1.0 if only_a == only_b else exact - seen
    assert variation.mid_p_mcnemar(only_a, only_b) == pytest.approx(wanted, abs=1e-9)


def test_agresti_min_adds_half_a_row_to_each_cell_of_the_pairs() -> None:
    only_a, only_b, n = 14, 5, 80
    d = np.r_[np.ones(only_a), -np.ones(only_b), np.zeros(n - only_a - only_b)]
    b, c, m = only_a + 0.5, only_b + 0.5, n + 2
    assert variation.agresti_min(d) == pytest.approx(((b + c) - (b - c) ** 2 / m) / m**2)
    assert variation.agresti_min(np.zeros(n)) > 0


def test_the_best_is_held_against_the_studentized_range() -> None:
    samples = rng(3).normal(size=(4, 9)) + np.array([[0.0], [0.4], [0.9], [1.6]])
    tukey = scipy.stats.tukey_hsd(*samples)
    low, high = tukey.confidence_interval()
    mse = samples.var(axis=1, ddof=1).mean()
    for k in range(3):
        found = variation.Estimate(
            value=samples[k].mean() - samples[3].mean(), low=0.0, high=0.0, se=math.sqrt(2 * mse / 9), df=32.0,
            row=0.0, seed=0.0, seeds=9, general=True,
        )  # fmt: skip
        against = variation.against_best(found, 4)
        assert against.p == pytest.approx(tukey.pvalue[k, 3], abs=1e-6)
        assert (against.low, against.high) == pytest.approx((low[k, 3], high[k, 3]), abs=1e-4)


def test_against_the_best_the_part_of_rows_and_seeds_counts_once_in_df() -> None:
    a, b = crossed(rng(8), 3, 40, sd=0.2), crossed(rng(9), 3, 40, sd=0.2)
    seeds = SeedVariance.of([a.mean(axis=1), b.mean(axis=1)])
    found = variation.difference(a.mean(axis=1), b.mean(axis=1), *variation.covariance_of_means(a - b), seeds)
    assert found.se**2 < found.row + found.seed
    df = found.se**4 / (found.row**2 / 39 + found.seed**2 / 4)
    assert df < found.df
    against = variation.against_best(found, 5)
    half = scipy.stats.studentized_range.ppf(0.95, 5, df) * found.se / math.sqrt(2)
    assert (against.low, against.high) == pytest.approx((found.value - half, found.value + half), rel=2e-3)


def test_two_seeds_that_agree_take_the_variance_of_the_study() -> None:
    x = crossed(rng(10), 2, 60)
    x -= x.mean(axis=1, keepdims=True)  # both seeds have the same mean
    covariance, units = variation.covariance_of_means(x)
    seeds = SeedVariance(pooled=0.04, df=5)
    alone = variation.estimate_mean(x.mean(axis=1), covariance, units)
    pooled = variation.estimate_mean(x.mean(axis=1), covariance, units, seeds)
    assert alone.seed == pytest.approx(0, abs=1e-30) and pooled.seed == pytest.approx(0.02)
    row, both = covariance.mean(), (np.trace(covariance) - covariance.sum() / 2) / 2
    assert pooled.se**2 == pytest.approx(row + 0.02 - both)
    assert pooled.df == pytest.approx((row + 0.02) ** 2 / (row**2 / 59 + 0.02**2 / 5))
    apart = np.array([0.0, 1.0])  # more than the study: its own variance
    assert variation.estimate_mean(apart, covariance, units, seeds).seed == pytest.approx(0.25)
    three = crossed(rng(11), 3, 60)  # three seeds keep their own
    expected = variation.estimate_mean(three.mean(axis=1), *variation.covariance_of_means(three))
    assert variation.estimate_mean(three.mean(axis=1), *variation.covariance_of_means(three), seeds) == expected


def test_intervals_of_two_seeds_hold_their_level() -> None:
    """Five equal methods with two seeds and a large sd over seeds: .89 with the method's own variance alone."""
    draw, covered, studies = rng(12), np.zeros(2), 600
    for _ in range(studies):
        methods = [crossed(draw, 2, 100, sd=0.3) for _ in range(5)]
        seeds = SeedVariance.of([x.mean(axis=1) for x in methods])
        mine = methods[0].mean(axis=1), *variation.covariance_of_means(methods[0])
        for place, lent in enumerate((None, seeds)):
            found = variation.estimate_mean(*mine, lent)
            covered[place] += found.low <= 0 <= found.high
    assert 0.93 < covered[1] / studies < 0.97
    assert covered[0] < covered[1]


def test_interval_and_p_say_the_same() -> None:
    for key in range(30):
        a, b = crossed(rng(4, key), 3, 50), crossed(rng(5, key), 3, 50)
        covariance, units = variation.covariance_of_means(a - b)
        seeds = SeedVariance.of([a.mean(axis=1), b.mean(axis=1)])
        found = variation.difference(a.mean(axis=1), b.mean(axis=1), covariance, units, seeds)
        assert found.p is not None and (found.p < 0.05) == (found.low > 0 or found.high < 0)
        turned = variation.difference(b.mean(axis=1), a.mean(axis=1), covariance, units, seeds)
        assert (turned.value, turned.low, turned.p) == pytest.approx((-found.value, -found.high, found.p))


def test_with_one_seed_nothing_is_said_of_the_methods() -> None:
    a, b = crossed(rng(6), 1, 50), crossed(rng(7), 1, 50)
    seeds = SeedVariance.of([a.mean(axis=1), b.mean(axis=1)])
    found = variation.difference(a.mean(axis=1), b.mean(axis=1), *variation.covariance_of_means(a - b), seeds)
    assert not found.general and found.se == pytest.approx(scipy.stats.sem((a - b)[0]))
    lent = SeedVariance(pooled=0.04, df=4)  # other methods had more seeds
    with_others = variation.difference(a.mean(axis=1), b.mean(axis=1), *variation.covariance_of_means(a - b), lent)
    assert with_others.general and with_others.se**2 == pytest.approx(found.se**2 + 2 * 0.04)


def test_claims_hold_their_level_where_the_seeds_differ_as_they_do() -> None:
    """Two equal methods, a sd over seeds that the rows alone do not show: 5 % claims, and 95 % coverage."""
    draw, claims, covered, studies = rng(1), 0, 0, 1000
    for _ in range(studies):
        a, b = (crossed(draw, 3, 100, sd=0.3) for _ in range(2))
        seeds = SeedVariance.of([a.mean(axis=1), b.mean(axis=1)])
        found = variation.difference(a.mean(axis=1), b.mean(axis=1), *variation.covariance_of_means(a - b), seeds)
        claims += found.p is not None and found.p < 0.05
        single = variation.estimate_mean(a.mean(axis=1), *variation.covariance_of_means(a))
        covered += single.low <= 0 <= single.high
    assert claims / studies < 0.07
    assert 0.91 < covered / studies < 0.985


def test_the_smallest_visible_difference() -> None:
    assert variation.smallest_visible(250, 2, 0.01, 0.075) == pytest.approx(2.8 * math.sqrt(0.0003 + 0.0001))
    more = variation.smallest_visible(250, 8, 0.005, 0.075 / 4)
    assert more == pytest.approx(variation.smallest_visible(1000, 8, 0.005, 0.075))
