"""The reference pipeline against a slow loop over voxels and alphas, scikit-learn, and draws with known outcomes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from encoderlab.brain.ridge import huth_pipeline
from encoderlab.core.errors import InputError

ALPHAS = [1.0, 5.0, 20.0, 100.0]
BOOTS: dict[str, Any] = {"nboots": 4, "chunklen": 5, "nchunks": 4, "seed": 3}


def data(rows: int, width: int, voxels: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng([seed, 0]).normal(size=(rows, width))
    weights = np.random.default_rng(7).normal(size=(width, voxels)) / np.sqrt(width)
    noise = np.random.default_rng([seed, 1]).normal(size=(rows, voxels))
    return x, x @ weights + noise * np.linspace(0.2, 4, voxels)


def slow_weights(x: np.ndarray, y: np.ndarray, a: float, normalised: bool, cutoff: float = 0.0) -> np.ndarray:
    """One voxel's ridge, direction by direction."""
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    penalty = a * s[0] if normalised else a
    w = np.zeros(x.shape[1])
    for k in range(len(s)):
        if s[k] > cutoff:
            w += vh[k] * s[k] / (s[k] ** 2 + penalty**2) * (u[:, k] @ y)
    return w


def slow_score(predicted: np.ndarray, y: np.ndarray, use_corr: bool) -> float:
    if use_corr:
        return float(np.corrcoef(predicted, y)[0, 1])
    r2 = 1 - np.var(y - predicted) / ((1 + np.var(y)) / 2)
    return float(np.sign(r2) * np.sqrt(abs(r2)))


@pytest.mark.parametrize("width", [6, 60])  # fewer and more features than training rows
@pytest.mark.parametrize("single_alpha", [False, True])
@pytest.mark.parametrize("use_corr", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_the_pipeline_is_the_slow_loop(width: int, single_alpha: bool, use_corr: bool, normalised: bool) -> None:
    alphas = [a / 20 for a in ALPHAS] if normalised else ALPHAS
    (x, y), (x_test, y_test) = data(53, width), data(30, width, seed=1)
    options: dict[str, Any] = {"single_alpha": single_alpha, "use_corr": use_corr, "normalpha": normalised}
    got = huth_pipeline.bootstrap_ridge(x, y, x_test, y_test, alphas, **BOOTS, **options)

    random.seed(BOOTS["seed"])
    sums = np.zeros((len(alphas), y.shape[1]))
    for boot in range(BOOTS["nboots"]):
        chunks = [list(range(start, start + 5)) for start in range(0, 50, 5)]
        random.shuffle(chunks)
        held = sum(chunks[:4], [])
        assert got.held_out[boot] == tuple(held)
        rest = [row for row in range(53) if row not in held]
        for i, a in enumerate(alphas):
            for v in range(y.shape[1]):
                w = slow_weights(x[rest], y[rest, v], a, normalised, cutoff=1e-10)
                sums[i, v] += slow_score(x[held] @ w, y[held, v], use_corr)
    np.testing.assert_allclose(got.scores.sum(axis=2), sums, atol=1e-10)
    best = [int(sums.mean(axis=1).argmax())] * y.shape[1] if single_alpha else sums.argmax(axis=0)
    assert got.alphas.tolist() == [alphas[i] for i in best]
    assert single_alpha or len(set(got.alphas)) > 1
    for v in range(y.shape[1]):
        w = slow_weights(x, y[:, v], got.alphas[v], normalised)
        np.testing.assert_allclose(got.weights[:, v], w, atol=1e-10)
        assert got.correlations[v] == pytest.approx(np.corrcoef(x_test @ w, y_test[:, v])[0, 1], abs=1e-10)


def test_draws_known_from_the_reference() -> None:
    rng = random.Random(0)
    draws = list(huth_pipeline.held_out_rows(300, nboots=5, chunklen=10, nchunks=6, rng=rng))
    assert [rows[0] for rows in draws] == [30, 120, 10, 0, 160]
    assert all(len(set(rows)) == 60 for rows in draws)


def test_rows_behind_the_last_whole_chunk_are_never_held_out() -> None:
    draws = huth_pipeline.held_out_rows(27, nboots=50, chunklen=10, nchunks=2, rng=random.Random(1))
    assert set().union(*draws) == set(range(20))


@pytest.mark.parametrize("shape", [(50, 12), (20, 70)])
def test_alpha_is_the_root_of_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    x, y = data(*shape)
    alphas = np.resize([0.5, 3.0, 30.0], y.shape[1])
    weights = huth_pipeline.ridge(x, y, alphas)
    for v, a in enumerate(alphas.tolist()):
        expected = Ridge(alpha=a**2, fit_intercept=False).fit(x, y[:, v]).coef_
        np.testing.assert_allclose(weights[:, v], expected, atol=1e-10)


def test_the_first_of_equal_alphas_wins_and_missing_scores_are_zero() -> None:
    (x, y), (x_test, y_test) = data(50, 6), data(30, 6, seed=1)
    y[:, 0] = 0.0  # nothing to learn: no score at any alpha
    y_test[:, 1] = 1.0
    y[4, 2] = np.nan
    got = huth_pipeline.bootstrap_ridge(x, y, x_test, y_test, ALPHAS, **BOOTS)
    assert got.correlations[:2].tolist() == [0, 0]
    assert (got.scores[:, 0] == 0).all() and got.alphas[0] == ALPHAS[0]
    filled = np.nan_to_num(y[:, [2]])
    np.testing.assert_allclose(got.weights[:, [2]], huth_pipeline.ridge(x, filled, got.alphas[2]), atol=1e-12)
    assert (got.scores[:, 2] == 0).all() and np.isfinite(got.correlations).all() and got.correlations[2] != 0


def test_small_singular_values_are_dropped_while_alphas_are_compared() -> None:
    x, y = data(50, 5)
    x[:, 4] = x[:, 3]
    train, held = (x[:30], y[:30]), (x[30:], y[30:])
    fewer = tuple((part[0][:, :4] * np.array([1, 1, 1, np.sqrt(2)]), part[1]) for part in (train, held))
    np.testing.assert_allclose(
        huth_pipeline.ridge_scores(train, held, ALPHAS),
        huth_pipeline.ridge_scores(fewer[0], fewer[1], ALPHAS),
        atol=1e-10,
    )
    assert (huth_pipeline.ridge_scores(train, held, ALPHAS, singcutoff=1e9) == 0).all()


def test_one_alpha_needs_no_draw() -> None:
    (x, y), test = data(40, 6), data(30, 6, seed=1)
    options: dict[str, Any] = BOOTS | {"nboots": 0}
    got = huth_pipeline.bootstrap_ridge(x, y, *test, [7.0], **options)
    np.testing.assert_array_equal(got.weights, huth_pipeline.ridge(x, y, 7.0))
    assert got.held_out == () and set(got.alphas) == {7.0}


def test_features_are_trimmed_scored_stacked_and_delayed_across_stories() -> None:
    rng = np.random.default_rng(0)
    stories = [rng.normal(3, 2, size=(20, 2)), rng.normal(size=(17, 2))]
    stories[1][:, 1] = 0.5  # constant: z score 0
    got = huth_pipeline.stacked_features(stories, delays=(1, 3, -1))
    rows = [story[10:-5] for story in stories]
    flat = np.vstack([(rows[0] - rows[0].mean(0)) / rows[0].std(0), (rows[1] - rows[1].mean(0))])
    flat[5:, 0] /= rows[1][:, 0].std()
    assert got.shape == (7, 6)
    np.testing.assert_allclose(got[1:, :2], flat[:-1], atol=1e-12)
    np.testing.assert_allclose(got[3:, 2:4], flat[:-3], atol=1e-12)
    np.testing.assert_allclose(got[:-1, 4:], flat[1:], atol=1e-12)
    assert not got[0, :2].any() and not got[:3, 2:4].any() and not got[-1, 4:].any()
    assert not huth_pipeline.stacked_features(stories, delays=(8,)).any()
    with pytest.raises(InputError, match="story 1: no row is left"):
        huth_pipeline.stacked_features([stories[0], stories[1][:15]])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"y_test": np.zeros((30, 8))}, "do not fit together"),
        ({"x_train": np.full((50, 6), np.nan)}, "some are not finite"),
        ({"alphas": []}, "at least one of each"),
        ({"nboots": 0}, "4 alphas and 0 draws"),
        ({"alphas": [0.0, 1.0]}, "above 0"),
        ({"nchunks": 10}, "50 of 50 training rows"),
    ],
)
def test_bad_input(change: dict[str, Any], problem: str) -> None:
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), (*data(50, 6), *data(30, 6)), strict=True))
    given: dict[str, Any] = {**arrays, "alphas": ALPHAS, **BOOTS, **change}
    with pytest.raises(InputError, match=problem):
        huth_pipeline.bootstrap_ridge(**given)
