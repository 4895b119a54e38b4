"""Two feature spaces over stories: the corrected t against scipy and by hand, and what few stories do not say."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from encoderlab.brain.fmri import scores
from encoderlab.brain.fmri.paired import against_best, paired
from encoderlab.core.errors import InputError


def widened(stories: int, folds: int) -> float:
    """By how much Nadeau and Bengio's standard error is larger than that of independent differences."""
    return float(np.sqrt(1 + stories / (folds - 1)))


@pytest.mark.parametrize("folds", [None, 3])
def test_interval_and_p_are_those_of_scipy_with_a_wider_standard_error(folds: int | None) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.1, 0.1, size=(9, 12)), rng.normal(0.05, 0.1, size=(9, 12))
    got, theirs = paired(a, b, folds=folds), scipy.stats.ttest_rel(a.mean(axis=1), b.mean(axis=1))
    wider = widened(9, folds or 9)
    interval = theirs.confidence_interval()
    half = (interval.high - interval.low) / 2 * wider
    assert (got.low, got.high) == pytest.approx((got.mean - half, got.mean + half), abs=1e-12)
    assert got.p == pytest.approx(2 * scipy.stats.t.sf(abs(theirs.statistic) / wider, 8), rel=1e-9)
    assert (got.p < 0.05) == (got.low * got.high > 0)
    each = scipy.stats.ttest_rel(a, b).statistic
    np.testing.assert_allclose(got.p_values, 2 * scipy.stats.t.sf(np.abs(each) / wider, 8), rtol=1e-9)
    assert got.difference == pytest.approx((a - b).mean(axis=0))
    assert got.mean == pytest.approx((a - b).mean()) and got.stories == 9


def test_no_p_below_six_stories() -> None:
    a = np.random.default_rng(2).normal(size=(6, 4))
    five, six = paired(a[:5] + 9, a[:5] * 0.9), paired(a + 9, a * 0.9)
    assert np.isnan(five.p) and np.isnan(five.p_values).all() and five.low < five.mean < five.high
    assert six.p < 0.001 and (six.p_values < 0.001).all()
    one = paired(a[:1], a[:1] + 1)
    assert np.isnan(one.p) and np.isnan(one.low) and one.mean == pytest.approx(-1)


def test_equal_scores_and_a_constant_difference() -> None:
    a = np.random.default_rng(3).normal(size=(8, 5))
    same = paired(a, a)
    assert same.p == 1 and (same.p_values == 1).all() and (same.low, same.high) == (0, 0)
    assert paired(np.ones((8, 2)), np.zeros((8, 2))).p == 0


def test_a_pair_with_a_gap_takes_no_part() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.4, 1, size=(2, 8, 3))
    a[6, 0], b[7, 0], a[:, 1] = np.nan, np.nan, np.nan
    got, short = paired(a, b), paired(a[:6], b[:6], folds=8)
    assert got.difference[0] == pytest.approx(short.difference[0]) and np.isnan(got.difference[1])
    assert got.p_values[0] == pytest.approx(short.p_values[0]) and np.isnan(got.p_values[1])
    assert got.mean == pytest.approx(scores.nan_mean(scores.nan_mean(a - b, axis=1), axis=0))
    with pytest.raises(InputError, match="expected two equal shapes"):
        paired(a, b[:6])


def test_the_best_of_two_has_the_p_of_a_t_test_and_of_more_a_larger_one() -> None:
    rng = np.random.default_rng(4)
    a, b, c = rng.normal(size=(3, 10, 6)) * 0.1
    a += 0.1
    two = paired(a, b)
    assert against_best([two]) == [two]
    assert 2 * scipy.stats.t.sf(2.1, 9) == pytest.approx(scipy.stats.studentized_range.sf(2.1 * 2**0.5, 2, 9), rel=1e-6)
    three = against_best([two, paired(a, c)])
    assert three[0].p > 1.5 * two.p and three[0].low < two.low and three[0].mean == two.mean
    few = paired(a[:4], b[:4])
    assert against_best([few, few]) == [few, few] and np.isnan(few.p)


def test_shared_training_stories_do_not_make_equal_spaces_differ() -> None:
    """Two random feature spaces of which neither predicts: ridge, each story held out, differences over stories."""
    rng, called, plain, studies = np.random.default_rng(5), 0, 0, 300
    for _ in range(studies):
        features = rng.normal(size=(2, 8, 30, 6))
        y = 0.5 * features.sum(axis=(0, 3)) / np.sqrt(12) + rng.normal(size=(8, 30))
        both = np.empty((2, 8, 1))
        for space in range(2):
            for story in range(8):
                x, target = (
                    np.delete(features[space], story, axis=0).reshape(-1, 6),
                    np.delete(y, story, axis=0).ravel(),
                )
                beta = np.linalg.solve(x.T @ x + np.eye(6), x.T @ target)
                both[space, story] = np.corrcoef(features[space, story] @ beta, y[story])[0, 1]
        called += paired(both[0], both[1]).p < 0.05
        plain += scipy.stats.ttest_rel(both[0, :, 0], both[1, :, 0]).pvalue < 0.05
    assert called <= 0.05 * studies < 0.12 * studies
    assert called < plain
