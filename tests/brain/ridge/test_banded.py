"""Banded ridge against scikit-learn's ridge and himalaya called by hand; penalties follow the planted spaces."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from himalaya.backend import get_backend
from himalaya.ridge import RidgeCV
from himalaya.scoring import correlation_score
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit

from encoderlab.brain.fmri.scores import correlation
from encoderlab.brain.ridge.banded import _shares, banded_ridge
from encoderlab.core.errors import InputError

ALPHAS = np.logspace(-1, 4, 6)
LENGTHS = [30, 1, 45, 38, 26, 33]
FOLDS = [(0, 1), (2,), (3, 4)]


def data(features: tuple[int, ...], voxels: int = 6, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Voxel v follows space v modulo the number of spaces."""
    rng = np.random.default_rng(seed)
    spaces = [rng.normal(size=(sum(LENGTHS), f)) + 2 for f in features]
    y = rng.normal(size=(sum(LENGTHS), voxels)) * 2 - 3
    for v in range(voxels):
        x = spaces[v % len(spaces)]
        y[:, v] += x @ rng.normal(size=x.shape[1]) * 3 / np.sqrt(x.shape[1])
    return spaces, y


def parts(array: np.ndarray, stories: list[int]) -> np.ndarray:
    pieces = np.split(array, np.cumsum(LENGTHS)[:-1])
    return np.concatenate([pieces[s] for s in stories])


@pytest.mark.parametrize("width", [20, 300])  # fewer and more features than TRs: another solver of himalaya each
def test_one_space_is_the_ridge_of_himalaya_and_scikit_learn(width: int) -> None:
    (x,), y = data((width,))
    got = banded_ridge([x], y, LENGTHS, FOLDS, alphas=ALPHAS)
    for number, held in enumerate(FOLDS):
        train = [s for s in range(len(LENGTHS)) if s not in held]
        split: Any = PredefinedSplit(np.repeat(np.arange(len(train)), [LENGTHS[s] for s in train]))
        settings = {"score_func": correlation_score, "warn": False}
        model = RidgeCV(ALPHAS, fit_intercept=True, cv=split, solver_params=settings)
        model.fit(parts(x, train), parts(y, train))
        np.testing.assert_allclose(got.penalties[number, 0], model.best_alphas_, rtol=1e-10)
        ridge = Ridge(alpha=got.penalties[number, 0]).fit(parts(x, train), parts(y, train))
        for story in held:
            expected = correlation(ridge.predict(parts(x, [story])), parts(y, [story]))
            np.testing.assert_allclose(got.scores[story], expected, atol=1e-8)
    assert np.isnan(got.scores[1]).all() and np.isnan(got.scores[5]).all()  # one TR; never held out
    np.testing.assert_array_equal(got.split[0][np.isnan(got.scores)], np.nan)
    np.testing.assert_allclose(got.split[0], got.scores, atol=1e-12)


@pytest.mark.parametrize("widths", [(12, 20), (90, 150)])
def test_several_spaces_are_one_ridge_on_scaled_features(widths: tuple[int, ...]) -> None:
    """w_k with penalty a_k is the ridge of X_k / sqrt(a_k) with penalty 1."""
    spaces, y = data(widths)
    got = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=8)
    held, train = FOLDS[1], [0, 1, 3, 4, 5]
    for v in range(y.shape[1]):
        x = np.hstack([s / np.sqrt(a) for s, a in zip(spaces, got.penalties[1, :, v], strict=True)])
        ridge = Ridge(alpha=1.0).fit(parts(x, train), parts(y, train)[:, v])
        predicted = ridge.predict(parts(x, [held[0]]))
        expected = correlation(predicted[:, None], parts(y, [held[0]])[:, [v]])
        np.testing.assert_allclose(got.scores[held[0], v], expected[0], atol=1e-7)
    scored = [0, 2, 3, 4]
    np.testing.assert_allclose(got.split.sum(axis=0)[scored], got.scores[scored], atol=1e-10)
    own = np.arange(y.shape[1]) % 2
    assert (got.penalties[:, own, range(len(own))] <= got.penalties[:, 1 - own, range(len(own))]).mean() > 0.8
    assert (got.split[own, :, range(len(own))] > got.split[1 - own, :, range(len(own))])[:, scored].mean() > 0.9


def test_draws_of_penalties_do_better_than_one_penalty_for_all() -> None:
    spaces, y = data((15, 80), voxels=12, seed=3)
    shared = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=1)
    banded = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=15, inner=3)
    np.testing.assert_allclose(shared.penalties[:, 0], shared.penalties[:, 1])
    assert np.nanmean(banded.scores - shared.scores) > 0.01


def test_a_scored_story_does_not_choose_its_penalties() -> None:
    spaces, y = data((12, 20))
    before = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=5)
    y[sum(LENGTHS[:2]) : sum(LENGTHS[:3])] = np.random.default_rng(9).normal(size=(LENGTHS[2], y.shape[1])) * 100
    after = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=5)
    np.testing.assert_array_equal(after.penalties[1], before.penalties[1])
    assert (after.penalties[[0, 2]] != before.penalties[[0, 2]]).any()


def test_a_voxel_is_fitted_without_the_story_that_lacks_it() -> None:
    spaces, y = data((12, 20))
    gap = slice(sum(LENGTHS[:3]), sum(LENGTHS[:4]))
    whole = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=4)
    without = [np.delete(x, np.r_[gap], axis=0) for x in (*spaces, y)]
    fewer = LENGTHS[:3] + LENGTHS[4:]
    short = banded_ridge(without[:2], without[2], fewer, [(0, 1), (2,), (3,)], alphas=ALPHAS, iterations=4)
    y[gap.start + 3, 1] = np.nan
    got = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=4)
    rest = [0, 2, 3, 4, 5]
    np.testing.assert_allclose(got.scores[:, rest], whole.scores[:, rest], atol=1e-10)
    np.testing.assert_allclose(got.scores[[0, 2], 1], short.scores[[0, 2], 1], atol=1e-10)
    assert np.isnan(got.scores[3, 1]) and np.isfinite(got.scores[4, 1])
    y[: sum(LENGTHS[:5]), 2] = np.nan
    lonely = banded_ridge(spaces, y, LENGTHS, [(5,)], alphas=ALPHAS, iterations=1)
    assert np.isnan(lonely.scores[5]).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("widths", [(12, 20), (90, 150)])
def test_float32_and_the_torch_backend(widths: tuple[int, ...]) -> None:
    spaces, y = data(widths)
    spaces = [x + 500 for x in spaces]  # products of features far from 0 would leave float32 few digits
    exact = banded_ridge(spaces, y, LENGTHS, FOLDS, alphas=ALPHAS, iterations=4)
    singles = [x.astype(np.float32) for x in (*spaces, y)]
    for backend in ("numpy", "torch"):
        got = banded_ridge(singles[:2], singles[2], LENGTHS, FOLDS, alphas=ALPHAS, iterations=4, backend=backend)
        np.testing.assert_allclose(got.scores, exact.scores, atol=1e-4)
    assert get_backend().name == "numpy"


def test_no_space_has_a_share_of_zero() -> None:
    """himalaya multiplies a space by the root of its share and divides by it again: 0 would end in nan."""
    shares = _shares(4, 500, seed=0)
    assert shares.astype(np.float32).min() > 5e-7 and shares.shape == (500, 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[0] == 0.25).all() and len(np.unique(shares[:, 0])) > 400
    assert _shares(1, 500, seed=0).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lengths": [30, 40]}, "stories of 70 TRs in all"),
        ({"folds": [(0,), (0, 1)]}, "each at most once"),
        ({"folds": [(6,)]}, "story numbers below 6"),
        ({"folds": []}, "story numbers below 6"),
        ({"folds": [(0, 1, 2, 3, 4)]}, "leaves fewer than two stories"),
        ({"backend": "abacus"}, "cannot use the backend 'abacus': Unknown backend"),
        ({"features": [np.full((sum(LENGTHS), 2), np.nan)]}, "some are not finite"),
    ],
)
def test_bad_input(change: dict[str, Any], problem: str) -> None:
    spaces, y = data((3,))
    given: dict[str, Any] = {"features": spaces, "responses": y, "lengths": LENGTHS, "folds": FOLDS} | change
    with pytest.raises(InputError, match=problem):
        banded_ridge(**given, alphas=ALPHAS)


def test_without_himalaya_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "himalaya.backend", None)
    (x,), y = data((3,))
    with pytest.raises(InputError, match=r"pip install 'encoderlab\[brain\]'"):
        banded_ridge([x], y, LENGTHS, FOLDS, alphas=ALPHAS)
