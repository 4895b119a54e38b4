"""Ridge over held-out stories against scikit-learn refits and himalaya's RidgeCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from himalaya.ridge import RidgeCV
from himalaya.scoring import correlation_score
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as SklearnRidge

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.folds import Folds
from fixtures_ridge import ALPHAS, EXACT, LENGTHS, VARIANTS, Arrays, Kept, planted, r, refits, same


@pytest.mark.parametrize("features", [12, 900], ids=["T > F", "T < F"])
@pytest.mark.parametrize("missing", [False, True], ids=["complete", "nan"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_scikit_learn_refits(variant: str, missing: bool, features: int) -> None:
    asked, model = VARIANTS[variant]
    lengths = LENGTHS if features == 12 else (20, 1, 35, 8, 14)
    x, y = planted(lengths, features, 4, level=2.0)
    x[0][:, 3] = 7.0  # constant in one story
    for block in x:
        block[:, 5] = -4.0  # constant everywhere
        block[:, 6] = 0.0
    x[2][4, 6] = 1.0  # a word that only one story has: constant in training when it is held out
    y[3][:, 1] = 5.0
    if missing:
        y[2][7, 0] = y[0][:, 3] = y[4][:, 3] = np.nan
    kept = Kept(lengths, 4)
    ridge = replace(asked, alphas=ALPHAS, scheme="flat", precision="float64")
    folds = Folds.leave_one_out(len(x))
    result = ridge.score(x, StoryResponses.from_arrays(y), folds, held_out=kept)
    truth = refits(x, y, folds, result.alphas, model)
    assert result.missing == (((0, 1), (2, 1), (4, 1)) if missing else ())
    for s in range(len(x)):
        same(kept.predicted[s], truth.predicted[s], 3e-7 * np.nanmax(np.abs(y[s])))
        same(kept.actual[s], np.where(np.isnan(y[s]).any(axis=0), np.nan, y[s]), 0)
        same(result.scores[s], [r(truth.predicted[s][:, v], y[s][:, v]) for v in range(4)], 1e-7)
    assert (kept.times == ~np.isnan([block.sum(axis=0) for block in y])).all()
    for v in range(4):
        p, a = (
            np.concatenate([block[:, v] for block in b if not np.isnan(block[:, v]).any()])
            for b in (truth.predicted, y)
        )
        same(result.pooled[v], r(p, a), 1e-7)
        same(result.r2[v], 1 - ((a - p) ** 2).sum() / ((a - a.mean()) ** 2).sum(), 1e-7)
    assert result.constant == 1 + 4 * lengths.count(1)  # a story of one TR does not change either


@pytest.mark.parametrize("folds", [Folds.leave_k_out(7, 2, seed=3), Folds.k_fold(7, 2), Folds.k_fold(7, 3, seed=1)])
@pytest.mark.parametrize("scheme", ["flat", "nested"])
def test_folds_of_several_stories(folds: Folds, scheme: Any) -> None:
    x, y = planted(LENGTHS, 12, 3)
    kept = Kept(LENGTHS, 3)
    result = replace(EXACT, scheme=scheme).score(x, StoryResponses.from_arrays(y), folds, held_out=kept)
    truth = refits(x, y, folds, result.alphas, VARIANTS["plain"][1])
    for mine, theirs in zip(kept.predicted, truth.predicted, strict=True):
        same(mine, theirs, 1e-7)


def himalaya(x: Arrays, y: NDArray[Any], stories: Sequence[int], left_out: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Best alpha and its mean r over the splits of all stories but `left_out`, by RidgeCV on the given stories."""
    edges = np.cumsum([0] + [len(x[s]) for s in stories])
    number = np.repeat(np.arange(len(stories)), np.diff(edges))
    cv = [(np.flatnonzero(number != i), np.flatnonzero(number == i)) for i, s in enumerate(stories) if s != left_out]
    asked: Any = {"cv": cv}  # typed as an int, documented as any splits
    fitted = RidgeCV(alphas=ALPHAS, **asked, solver_params={"score_func": correlation_score, "warn": False}).fit(
        np.concatenate([x[s] for s in stories]), y
    )
    return np.asarray(fitted.best_alphas_), np.asarray(fitted.cv_scores_)


# Half of the combinations hold every pair of values; the other half is slow.
SECOND = {720, True, "float32"}
COMBINATIONS = [
    pytest.param(*values, marks=pytest.mark.slow if len(SECOND.intersection(values)) % 2 else ())
    for values in product((30, 720), (False, True), ("float64", "float32"))
]


@pytest.mark.parametrize(("features", "missing", "precision"), COMBINATIONS)
def test_himalaya_chooses_the_same_alphas(features: int, missing: bool, precision: Any) -> None:
    lengths = (60, 1, 545, 44, 30)
    x, y = planted(lengths, features, 40)
    if missing:
        y[0][3, 5:9] = np.nan
        y[3][:, 9] = y[4][:, 9] = np.nan
    result = replace(EXACT, precision=precision).score(x, StoryResponses.from_arrays(y))
    gone = np.array([np.isnan(block).any(axis=0) for block in y])
    for pattern in np.unique(gone, axis=1).T:
        voxels = np.flatnonzero((gone == pattern[:, None]).all(axis=0))
        stories = [s for s in range(len(x)) if not pattern[s]]
        stacked = np.concatenate([y[s][:, voxels] for s in stories])
        for s in stories[:1] + stories[-2:]:
            alphas, _ = himalaya(x, stacked, stories, s)
            np.testing.assert_allclose(result.alphas[s, voxels], alphas, rtol=1e-5)  # it goes through logarithms
        _, scores = himalaya(x, stacked, stories, -1)
        known = (~np.isnan(result.scores[stories][:, voxels])).sum(axis=0)
        # himalaya counts the story of one TR as r = 0, we leave it out of the mean
        same(np.nanmax(result.curve[:, voxels], axis=0) * known / len(stories), scores, 1e-5)
        for s in stories:
            train = [other for other in stories if other != s]
            for alpha in np.unique(result.alphas[s, voxels]):
                chosen = voxels[result.alphas[s, voxels] == alpha]
                model = SklearnRidge(alpha=float(alpha), fit_intercept=False)
                model.fit(np.concatenate([x[i] for i in train]), np.concatenate([y[i][:, chosen] for i in train]))
                predicted = np.reshape(model.predict(x[s]), (len(x[s]), -1))
                same(result.scores[s, chosen], [r(predicted[:, i], y[s][:, v]) for i, v in enumerate(chosen)], 1e-5)


def test_flat_leaves_out_the_stories_own_scores() -> None:
    """The scores of the others are of models that saw the story; its own r has no part in the choice."""
    x, y = planted((50, 60, 70), 12, 30)
    result = EXACT.score(x, StoryResponses.from_arrays(y))
    for s in range(3):
        others = [i for i in range(3) if i != s]
        by_alpha = []
        for alpha in ALPHAS:
            truth = refits(x, y, Folds.leave_one_out(3), np.full((3, 30), alpha), VARIANTS["plain"][1])
            by_alpha.append([np.mean([r(truth.predicted[o][:, v], y[o][:, v]) for o in others]) for v in range(30)])
        assert (result.alphas[s] == np.array(ALPHAS)[np.argmax(by_alpha, axis=0)]).all()
