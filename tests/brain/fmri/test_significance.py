"""Permutation tests against a slow loop, statsmodels and scipy; the null holds its tails; ceilings on known signals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from scipy.signal import lfilter
from scipy.stats import kstest
from statsmodels.stats.multitest import multipletests

from encoderlab.brain.fmri import noise_ceiling, scores, significance
from encoderlab.core.errors import InputError

Stories = list[tuple[np.ndarray, np.ndarray]]


def autocorrelated(rng: np.random.Generator, trs: int, voxels: int) -> np.ndarray:
    """AR(1) with coefficient 0.7, stationary from the start."""
    noise = rng.normal(size=(trs + 50, voxels))
    return np.asarray(lfilter([1.0], [1.0, -0.7], noise, axis=0))[50:]


def unrelated(lengths: list[int], voxels: int, seed: int) -> Stories:
    rng = np.random.default_rng(seed)
    return [(autocorrelated(rng, t, voxels), autocorrelated(rng, t, voxels)) for t in lengths]


def observed(stories: Stories) -> np.ndarray:
    return scores.nan_mean([scores.correlation(p, y) for p, y in stories], axis=0)


def permuted(stories: Stories, block: int, permutations: int, step: int | None = None) -> np.ndarray:
    voxels = stories[0][0].shape[1]
    test = significance.BlockPermutation(voxels=voxels, block=block, permutations=permutations, seed=4)
    for start in range(0, voxels, step or voxels):
        batch = slice(start, start + (step or voxels))
        for number, (p, y) in enumerate(stories):
            test.add(number, batch, p[:, batch], y[:, batch])
    return test.p_values(observed(stories))


@pytest.mark.parametrize(("trs", "block"), [(23, 5), (20, 5), (1, 5), (4, 5), (6, 5), (7, 1), (11, 10)])
def test_permuted_correlations_are_those_of_rearranged_predictions(trs: int, block: int) -> None:
    """The same draws, carried out: cut the predictions, rearrange the pieces, correlate."""
    rng = np.random.default_rng(trs)
    predicted, actual = rng.normal(size=(trs, 3)), rng.normal(size=(trs, 3))
    p, y = (significance._standardised(x) if trs > 1 else x for x in (predicted, actual))
    moves = significance._Moves(trs, block, 40, np.random.PCG64(9))
    pieces = [p[start : start + block] for start in range(0, trs, block)]
    same = np.random.Generator(np.random.PCG64(9))
    orders = same.permuted(np.tile(np.arange(len(pieces)), (40, 1)), axis=1)
    expected = [(np.concatenate([pieces[i] for i in order]) * y).sum(axis=0) for order in orders]
    np.testing.assert_allclose(moves.correlations(p, y), expected, atol=1e-12)
    assert len(pieces) == 1 or len(np.unique(np.round(expected, 9), axis=0)) > 1


def test_p_values_are_uniform_when_nothing_is_predicted() -> None:
    stories = unrelated([147, 320, 285], 1500, seed=1)
    p = permuted(stories, block=20, permutations=399)
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.05
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_single_trs_as_blocks_would_call_noise_significant() -> None:
    """Why blocks: neighbouring TRs are alike, and shuffling them one by one makes the null distribution too narrow."""
    stories = unrelated([47, 120, 85], 600, seed=2)
    p = permuted(stories, block=1, permutations=199)
    assert scipy.stats.kstest(p, "uniform").pvalue < 1e-6
    assert (p <= 0.05).mean() > 0.1


def test_planted_signal_is_found_and_the_rest_is_not() -> None:
    stories = unrelated([60, 90, 75, 80], 400, seed=3)
    for predicted, actual in stories:
        actual[:, :40] += 0.8 * predicted[:, :40]
    q = significance.benjamini_hochberg(permuted(stories, block=10, permutations=999))
    assert (q[:40] < 0.05).mean() > 0.95
    assert (q[40:] < 0.05).mean() < 0.02


def test_batches_of_voxels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stories = unrelated([33, 51], 30, seed=5)
    whole = permuted(stories, block=10, permutations=200)
    np.testing.assert_array_equal(permuted(stories, block=10, permutations=200, step=7), whole)
    monkeypatch.setattr(significance, "PAIR_BYTES", 1)
    np.testing.assert_array_equal(permuted(stories, block=10, permutations=200), whole)
    assert len(np.unique(whole)) > 15


def test_draws_depend_on_seed_and_story() -> None:
    (predicted, actual), voxels = unrelated([80], 50, seed=6)[0], slice(None)
    seen = []
    for seed, story in ((0, 0), (0, 0), (0, 1), (1, 0)):
        test = significance.BlockPermutation(voxels=50, block=10, permutations=300, seed=seed)
        test.add(story, voxels, predicted, actual)
        seen.append(test.p_values(scores.correlation(predicted, actual)))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any() and (seen[0] != seen[3]).any()


def test_a_voxel_is_left_out_of_the_story_that_lacks_it() -> None:
    stories = unrelated([40, 60], 4, seed=7)
    stories[1][1][5, 0] = np.nan
    for _, actual in stories:
        actual[:, 2] = 3.0
    p = permuted(stories, block=10, permutations=200)
    alone = permuted(stories[:1], block=10, permutations=200)
    np.testing.assert_array_equal(p[:1], alone[:1])
    assert np.isnan(p[2]) and np.isfinite(p[3])


def test_p_is_never_zero_and_rounding_does_not_win() -> None:
    """One block: every permutation is the data itself."""
    predicted, actual = unrelated([9], 200, seed=8)[0]
    np.testing.assert_array_equal(permuted([(predicted, actual)], block=10, permutations=99), np.ones(200))
    perfect = permuted([(y, y) for _, y in unrelated([500], 3, 9)], 10, 99)
    assert (perfect > 0).all() and (perfect < 1e-6).all()  # counting would end at 1/100


def test_p_is_a_t_tail_of_the_z_among_the_voxels_own_permutations() -> None:
    """The permutations carried out, in another way than the code does."""
    stories = unrelated([60, 90], 50, seed=10)
    for predicted, actual in stories:
        actual[:, :5] += predicted[:, :5]
    block, n, means, variances = 10, 500, [], []
    for number, (predicted, actual) in enumerate(stories):
        pieces = [predicted[start : start + block] for start in range(0, len(predicted), block)]
        draws = np.random.Generator(np.random.PCG64([4, number, 0xB10C]))
        orders = draws.permuted(np.tile(np.arange(len(pieces)), (n, 1)), axis=1)
        r = np.stack([scores.correlation(np.concatenate([pieces[i] for i in order]), actual) for order in orders])
        means.append(r.mean(axis=0))
        variances.append(r.var(axis=0, ddof=1))
    total, square = np.sum(variances, axis=0), np.sum(np.square(variances), axis=0)
    z = (2 * observed(stories) - np.sum(means, axis=0)) / np.sqrt(total * (1 + 1 / n))
    expected = scipy.stats.t.sf(z, (n - 1) * total**2 / square)
    got = permuted(stories, block, n)
    np.testing.assert_allclose(got[:5], expected[:5], rtol=1e-6)
    assert (got[:5] < 1e-4).sum() >= 4 and (got >= expected * (1 - 1e-9)).all()  # counting would end at 1/501
    np.testing.assert_allclose(np.median(got / expected), 1, rtol=1e-6)


@pytest.mark.parametrize("planted", [80, 40])
def test_one_voxel_in_a_hundred_is_found_among_eight_thousand(planted: int) -> None:
    """1,000 counted permutations end at 1/1001, and the smallest p that Benjamini-Hochberg asks for is 5e-4."""
    stories = unrelated([100] * 6, 8000, seed=11)
    for predicted, actual in stories:
        actual[:, :planted] += predicted[:, :planted]
    q = significance.benjamini_hochberg(permuted(stories, block=10, permutations=1000, step=2000))
    assert (q[:planted] < 0.05).mean() > 0.95
    assert (q[planted:] < 0.05).sum() < 0.15 * planted


@pytest.mark.parametrize("lengths", [[147, 320, 285], [90, 70, 80], [200]])
def test_the_null_keeps_its_tail(lengths: list[int]) -> None:
    """Autocorrelated noise. Blocks of 20 alone make .05 to .06 of it; far out the t tail may not add much."""
    p = permuted(unrelated(lengths, 10000, seed=12), block=20, permutations=300, step=2500)
    for level, most in ((0.05, 1.25), (0.01, 1.5), (0.001, 3.0)):
        assert (p <= level).mean() < most * level, (level, (p <= level).mean())
    assert abs((p <= 0.5).mean() - 0.5) < 0.02


def test_a_null_with_a_heavy_tail_is_seen() -> None:
    """One artefact in predictions and responses of the same TRs: a few permutations bring them together again."""
    stories = unrelated([200, 200, 200], 300, seed=13)
    for array in stories[0]:
        array[60:64] += 400
    p = permuted(stories, block=20, permutations=1000)
    alone = scipy.stats.norm.sf(0.9 / np.sqrt(0.09 + 2 / 90))  # of z: mean .1 and variance .09 of r = 1 or 0
    assert (
        alone < 0.005 and np.median(p) > 0.02
    )  # one place in ten is where it was, and half of these have a larger sum


def test_no_p_below_that_of_one_order_of_the_blocks() -> None:
    rng = np.random.default_rng(14)
    y = rng.normal(size=(30, 20))
    p = permuted([(y, y)], block=10, permutations=400)
    assert (p >= 1 / 6 * (1 - 1e-12)).all()
    assert significance.smallest_p([30], 10) == pytest.approx(1 / 6)
    assert significance.smallest_p([30, 41], 10) == pytest.approx(1 / 6 / 120)
    assert significance.smallest_p([3000], 10) == 1e-300


def test_bad_input_of_the_permutation_test() -> None:
    with pytest.raises(InputError, match="block 0"):
        significance.BlockPermutation(voxels=2, block=0)
    test = significance.BlockPermutation(voxels=2, block=3, permutations=5)
    with pytest.raises(InputError, match="3 columns for 2 voxels"):
        test.add(0, slice(None), np.zeros((9, 3)), np.zeros((9, 3)))
    with pytest.raises(InputError, match="one mean over stories per voxel"):
        test.p_values([0.1])


def test_benjamini_hochberg_is_that_of_statsmodels() -> None:
    p = np.random.default_rng(0).random(60) ** 3
    expected = np.asarray(multipletests(p, method="fdr_bh")[1], dtype=np.float64)
    with_gaps = np.insert(p, [0, 30, 60], np.nan)
    got = significance.benjamini_hochberg(with_gaps)
    np.testing.assert_allclose(got[~np.isnan(with_gaps)], expected, atol=1e-15)
    assert np.isnan(got).sum() == 3
    assert np.isnan(significance.benjamini_hochberg([np.nan])).all()


def repeated(signal: float, repeats: int, voxels: int = 400, trs: int = 300) -> np.ndarray:
    """Responses of which `signal` is the share of variance that repeats; 1 - signal is new each time."""
    rng = np.random.default_rng(4)
    shared = rng.normal(size=(trs, voxels)) * np.sqrt(signal)
    return shared + rng.normal(size=(repeats, trs, voxels)) * np.sqrt(1 - signal)


@pytest.mark.parametrize("signal", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("repeats", [2, 5])
def test_explainable_variance_recovers_the_share_of_signal(signal: float, repeats: int) -> None:
    data = repeated(signal, repeats)
    assert noise_ceiling.explainable_variance(data).mean() == pytest.approx(signal, abs=0.012)
    biased = noise_ceiling.explainable_variance(data, corrected=False).mean()
    assert biased == pytest.approx(signal + (1 - signal) / repeats, abs=0.012)


def test_explainable_variance_by_hand() -> None:
    """Two repeats of which the second is the first shuffled: z scores, their mean, variances with n - 1."""
    first, second = np.array([-1.0, 0.0, 1.0]), np.array([0.0, -1.0, 1.0])
    mean = (first + second) / 2 / np.sqrt(2 / 3)  # -1/2, -1/2, 1, over the sd with n
    ev = mean.var(ddof=1) / (3 / 2)
    data = np.stack([first, second])[:, :, None]
    assert noise_ceiling.explainable_variance(data, corrected=False)[0] == pytest.approx(ev)
    assert noise_ceiling.explainable_variance(data)[0] == pytest.approx(2 * ev - 1)


def test_explainable_variance_ignores_level_and_scale_of_a_repeat() -> None:
    data = repeated(0.5, 3, voxels=5)
    moved = data * np.array([1.0, 4.0, 0.1])[:, None, None] + np.array([0.0, 9.0, -2.0])[:, None, None]
    np.testing.assert_allclose(
        noise_ceiling.explainable_variance(moved), noise_ceiling.explainable_variance(data), atol=1e-12
    )
    moved[1, :, 0], moved[0, 3, 1] = 0.1, np.nan
    assert np.isnan(noise_ceiling.explainable_variance(moved)).tolist() == [True, True, False, False, False]
    with pytest.raises(InputError, match="at least 2 repeats"):
        noise_ceiling.explainable_variance(data[:1])


@pytest.mark.parametrize("repeats", [1, 4])
def test_a_perfect_model_reaches_the_ceiling(repeats: int) -> None:
    signal = 0.3
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(400, 300)) * np.sqrt(signal)
    actual = truth + (rng.normal(size=(repeats, 400, 300)) * np.sqrt(1 - signal)).mean(axis=0)
    top = noise_ceiling.noise_ceiling(np.full(300, signal), repeats)
    normalised = noise_ceiling.normalised_correlation(scores.correlation(truth, actual), top)
    assert normalised.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("signal", "repeats"), [(0.05, 2), (0.3, 2), (0.3, 5)])
def test_a_perfect_model_has_all_of_the_ceiling(signal: float, repeats: int) -> None:
    """Explainable variance is estimated from the same repeats that are averaged."""
    rng = np.random.default_rng(6)
    truth = rng.normal(size=(300, 600)) * np.sqrt(signal)
    data = truth + rng.normal(size=(repeats, 300, 600)) * np.sqrt(1 - signal)
    ev, r = noise_ceiling.explainable_variance(data), scores.correlation(truth, data.mean(axis=0))
    assert noise_ceiling.share_of_ceiling(r, ev, repeats) == pytest.approx(1, abs=0.025)
    ev[0], r[1] = np.nan, np.nan
    assert noise_ceiling.share_of_ceiling(r, ev, repeats) == pytest.approx(1, abs=0.025)
    assert np.isnan(noise_ceiling.share_of_ceiling([0.1], [-0.2])) and np.isnan(
        noise_ceiling.share_of_ceiling([np.nan], [0.2])
    )


def test_no_normalised_correlation_without_a_ceiling() -> None:
    top = noise_ceiling.noise_ceiling([-0.1, 0.25, np.nan])
    np.testing.assert_array_equal(top, [0.0, 0.5, np.nan])
    np.testing.assert_array_equal(noise_ceiling.normalised_correlation([0.3, 0.25, 0.1], top), [np.nan, 0.5, np.nan])


def test_a_constant_prediction_counts_as_zero_under_every_permutation() -> None:
    """A story without words is predicted as constant: r is 0, for the data and for each permutation."""
    stories = unrelated([150, 200, 120], 400, seed=8)
    stories[2][0][:] = 0.1
    test = significance.BlockPermutation(voxels=400, block=20, permutations=200, seed=0)
    for story, (predicted, actual) in enumerate(stories):
        test.add(story, slice(None), predicted, actual)
    observed = np.stack([np.nan_to_num(scores.correlation(*pair)) for pair in stories]).mean(axis=0)
    p = test.p_values(observed)
    assert kstest(p, "uniform").pvalue > 0.01 and 0.02 < (p <= 0.05).mean() < 0.09
