"""Intervals and tests against statsmodels, scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from encoderlab.core import statistics


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def test_the_spread_over_seeds_is_the_t_interval_of_scipy() -> None:
    values = rng(1).normal(0.87, 0.01, size=5)
    spread = statistics.seed_spread(values)
    low, high = scipy.stats.t.interval(0.95, 4, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (spread.low, spread.high) == pytest.approx((low, high), abs=1e-12)
    assert spread.sd == pytest.approx(np.std(values, ddof=1))


def test_one_seed_has_a_mean_and_no_interval() -> None:
    spread = statistics.seed_spread([0.8])
    assert spread.mean == 0.8
    assert all(math.isnan(x) for x in (spread.sd, spread.low, spread.high))
    assert math.isnan(statistics.seed_spread([]).mean)


def test_bootstrap_of_accuracy_agrees_with_scipy() -> None:
    correct = rng(2).random((3, 400)) < np.array([[0.9], [0.8], [0.85]])
    ours = statistics.bootstrap_mean(correct, resamples=20000)
    theirs = scipy.stats.bootstrap(
        (correct.mean(axis=0),), np.mean, n_resamples=20000, method="percentile", rng=rng(3)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1.5e-3)


def test_bootstrap_of_a_paired_difference_agrees_with_scipy() -> None:
    shared = rng(4).random(500)
    a = (shared < 0.85) ^ (rng(5).random((2, 500)) < 0.05)
    b = (shared < 0.80) ^ (rng(6).random((2, 500)) < 0.05)
    difference = a.astype(float) - b.astype(float)
    ours = statistics.bootstrap_mean(difference, resamples=20000)
    theirs = scipy.stats.bootstrap(
        (difference.mean(axis=0),), np.mean, n_resamples=20000, method="percentile", rng=rng(7)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=2e-3)


def test_bootstrap_repeats_itself_and_depends_on_the_seed() -> None:
    correct = rng(12).random(300) < 0.8
    assert statistics.bootstrap_mean(correct, seed=3) == statistics.bootstrap_mean(correct, seed=3)
    assert statistics.bootstrap_mean(correct, seed=3) != statistics.bootstrap_mean(correct, seed=4)


def test_bootstrap_covers_the_truth_about_95_times_in_100() -> None:
    draw = rng(13)
    hits = 0
    for trial in range(400):
        interval = statistics.bootstrap_mean(draw.random(250) < 0.8, seed=trial, resamples=500)
        hits += interval.low <= 0.8 <= interval.high
    assert 0.92 <= hits / 400 <= 0.975


def test_holm_agrees_with_statsmodels() -> None:
    p = rng(15).random(9) ** 3
    assert statistics.holm(p) == pytest.approx(multipletests(p, method="holm")[1], rel=1e-12)


def test_holm_leaves_out_what_was_not_tested() -> None:
    adjusted = statistics.holm([0.04, math.nan, 0.01])
    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.02])
    assert math.isnan(adjusted[1])


def test_the_bootstrap_of_weighted_rows_is_that_of_means() -> None:
    x = rng(30).random(200)
    mean = statistics.bootstrap(lambda weights: weights @ x / weights.sum(axis=1), 200, resamples=20000)
    known = statistics.bootstrap_mean(x, resamples=20000)
    assert (mean.low, mean.high) == pytest.approx((known.low, known.high), abs=2e-3)


def test_rows_of_a_group_are_drawn_together() -> None:
    x, groups = np.repeat(rng(36).random(20), 10), np.repeat(np.arange(20), 10)
    draws = statistics.bootstrap_draws(lambda w: w @ x / w.sum(axis=1), 200, groups=groups, resamples=4000)
    alone = statistics.bootstrap_draws(lambda w: w @ x / w.sum(axis=1), 200, resamples=4000)
    assert draws.std() == pytest.approx(x[::10].std() / math.sqrt(20), rel=0.06)
    assert draws.std() > 2.5 * alone.std()


@pytest.mark.parametrize("digits", [1, 6])  # with one digit there are ties
def test_the_share_of_pairs_is_mann_whitney_s_u(digits: int) -> None:
    for n, m in ((5, 5), (5, 9), (12, 7), (1, 3)):
        a, b = (np.round(rng(31, n, m, key).normal(0.1 * key, 0.3, size), digits) for key, size in ((1, n), (0, m)))
        u = scipy.stats.mannwhitneyu(a, b).statistic
        assert statistics.share_above(a, b) == pytest.approx(u / (n * m), abs=1e-12)
        assert statistics.share_above(b, a) == pytest.approx(1 - u / (n * m), abs=1e-12)
    assert statistics.share_above([1.0, 1.0], [1.0]) == 0.5
