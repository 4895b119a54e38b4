"""Scores of predicted responses against numpy, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import r2_score

from encoderlab.brain.fmri import scores
from encoderlab.core.errors import InputError


def data(trs: int, voxels: int, seed: int = 0, level: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    actual = rng.normal(size=(trs, voxels)) + level
    return 0.5 * actual + rng.normal(size=(trs, voxels)), actual


def test_correlation_is_that_of_numpy() -> None:
    predicted, actual = data(50, 7)
    expected = [np.corrcoef(predicted[:, v], actual[:, v])[0, 1] for v in range(7)]
    np.testing.assert_allclose(scores.correlation(predicted, actual), expected, atol=1e-14)
    np.testing.assert_allclose(
        scores.correlation(predicted.astype(np.float32), actual.astype(np.float32)), expected, atol=1e-6
    )


def test_correlation_keeps_its_digits_beside_a_large_level() -> None:
    predicted, actual = data(50, 7)
    shifted = scores.correlation(predicted + 1e6, actual - 1e7)
    np.testing.assert_allclose(shifted, scores.correlation(predicted, actual), atol=1e-8)


def test_no_score_for_a_constant_or_unmeasured_column() -> None:
    predicted, actual = data(40, 6)
    actual[:, 0] = 0.1  # the mean of forty 0.1 is not 0.1 in floating point
    predicted[:, 1] = -1 / 3
    actual[7, 2] = np.nan
    predicted[0, 3] = np.inf
    assert np.isnan(scores.correlation(predicted, actual)).tolist() == [True] * 4 + [False] * 2
    assert np.isnan(scores.correlation(predicted[:1], actual[:1])).all()


def test_equal_columns_do_not_exceed_one() -> None:
    actual = data(33, 500)[1]
    assert np.abs(scores.correlation(3 * actual, actual)).max() <= 1
    assert (scores.correlation(-actual, actual) == pytest.approx(-1)) and scores.correlation(
        -actual, actual
    ).min() >= -1


@pytest.mark.parametrize(("predicted", "actual"), [((3, 2), (3, 4)), ((3,), (3,)), ((0, 2), (0, 2))])
def test_shapes_that_do_not_fit(predicted: tuple[int, ...], actual: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected two equal shapes"):
        scores.correlation(np.zeros(predicted), np.zeros(actual))


@pytest.mark.parametrize("level", [0.0, 1e6])
def test_pooled_is_the_score_of_all_stories_in_a_row(level: float) -> None:
    stories = [data(trs, 5, seed=trs, level=level + trs) for trs in (1, 30, 2, 75)]
    pooled = scores.Pooled(5)
    for predicted, actual in stories:
        pooled.add(slice(0, 2), predicted[:, :2], actual[:, :2])
        pooled.add(slice(2, 5), predicted[:, 2:], actual[:, 2:])
    predicted, actual = (np.vstack(parts) for parts in zip(*stories, strict=True))
    assert pooled.trs.tolist() == [108] * 5
    np.testing.assert_allclose(pooled.correlation(), scores.correlation(predicted, actual), atol=1e-9)
    expected = r2_score(actual, predicted, multioutput="raw_values")
    np.testing.assert_allclose(pooled.r2(), expected, rtol=1e-9)


def test_pooled_survives_where_the_textbook_formula_does_not() -> None:
    stories = [data(40, 4, seed=s, level=1e8) for s in range(3)]
    pooled = scores.Pooled(4)
    for predicted, actual in stories:
        pooled.add(slice(None), predicted, actual)
    predicted, actual = (np.vstack(parts) for parts in zip(*stories, strict=True))
    expected = scores.correlation(predicted - 0.5e8, actual - 1e8)
    np.testing.assert_allclose(pooled.correlation(), expected, atol=1e-6)
    textbook = (actual**2).mean(axis=0) - actual.mean(axis=0) ** 2
    assert np.abs(textbook - actual.var(axis=0)).max() > 0.5  # of a variance of 1


def test_pooled_leaves_a_story_out_for_the_voxels_that_lack_it() -> None:
    first, second = data(30, 4, seed=1), data(50, 4, seed=2)
    second[1][3, 0] = np.nan
    second[0][3, 1] = np.inf
    pooled, kept = scores.Pooled(4), scores.Pooled(4)
    for predicted, actual in (first, second):
        pooled.add(slice(None), predicted, actual)
    kept.add(slice(None), *first)
    assert pooled.trs.tolist() == [30, 30, 80, 80]
    np.testing.assert_array_equal(pooled.correlation()[:2], kept.correlation()[:2])
    np.testing.assert_array_equal(pooled.r2()[:2], kept.r2()[:2])
    assert np.isfinite(pooled.correlation()).all()


def test_pooled_has_no_score_without_variance() -> None:
    pooled = scores.Pooled(3)
    for seed in range(3):
        predicted, actual = data(20, 3, seed)
        actual[:, 0], predicted[:, 1] = 0.1, 0.7
        actual[0, 2] = np.nan
        pooled.add(slice(None), predicted, actual)
    assert np.isnan(pooled.correlation()).all()
    assert np.isnan(pooled.r2()).tolist() == [True, False, True]  # a constant prediction has an R2, not an r
    assert pooled.trs[2] == 0


def test_pooled_wants_a_column_for_each_voxel() -> None:
    with pytest.raises(InputError, match="3 columns for 2 voxels"):
        scores.Pooled(4).add(slice(2, 6), np.zeros((5, 3)), np.zeros((5, 3)))


def test_summary() -> None:
    values = np.random.default_rng(0).permutation(np.append(np.arange(200.0), [np.nan] * 3))
    got = scores.summary(values)
    assert (got.mean, got.median) == (99.5, 99.5)
    assert got.top5 == np.arange(190, 200).mean() and got.top1 == 198.5
    assert (got.voxels, got.nan) == (203, 3)
    few = scores.summary([0.1, 0.4, -0.2])
    assert few.top5 == few.top1 == 0.4
    assert np.isnan(scores.summary([np.nan]).mean) and scores.summary([np.nan]).nan == 1


def test_over_stories_is_the_t_interval_of_the_story_means() -> None:
    values = np.random.default_rng(3).normal(0.1, 0.05, size=(9, 20))
    values[2, :5] = np.nan
    values[4] = np.nan
    means = [np.nanmean(row) for row in np.delete(values, 4, axis=0)]
    got = scores.over_stories(values)
    low, high = scipy.stats.t.interval(0.95, 7, loc=np.mean(means), scale=scipy.stats.sem(means))
    assert (got.mean, got.low, got.high) == pytest.approx((np.mean(means), low, high), abs=1e-12)
    assert (got.stories, got.empty) == (8, 1)


def test_nan_mean() -> None:
    got = scores.nan_mean([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]], axis=0)
    np.testing.assert_array_equal(got, [2.0, 5.0, np.nan])
