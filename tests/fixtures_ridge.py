"""Planted responses, and ridge over held-out stories as refits of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.ridge import Ridge

Arrays = list[NDArray[np.float64]]
LENGTHS = (60, 1, 545, 44, 120, 2, 85)
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)
EXACT = Ridge(alphas=ALPHAS, scheme="flat", precision="float64")


def planted(
    lengths: Sequence[int], features: int, voxels: int, seed: int = 0, level: float = 0.0
) -> tuple[Arrays, Arrays]:
    """Features with a steep spectrum, responses of which every voxel follows them to its own degree."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((features, features)) * np.geomspace(3, 0.03, features)
    weights = rng.standard_normal((features, voxels)) * np.linspace(0, 0.3, voxels)
    x = [rng.standard_normal((n, features)) @ mixing + level for n in lengths]
    y = [block @ weights + 3 * rng.standard_normal((len(block), voxels)) + level for block in x]
    return x, y


class Kept:
    """Held-out predictions, put together again."""

    def __init__(self, lengths: Sequence[int], voxels: int) -> None:
        self.predicted = [np.full((n, voxels), np.nan) for n in lengths]
        self.actual = [np.full((n, voxels), np.nan) for n in lengths]
        self.times = np.zeros((len(lengths), voxels), dtype=int)

    def __call__(self, story: int, voxels: slice, predicted: NDArray[Any], actual: NDArray[Any]) -> None:
        self.predicted[story][:, voxels] = predicted
        self.actual[story][:, voxels] = actual
        self.times[story, voxels] += 1


def r(a: NDArray[Any], b: NDArray[Any]) -> float:
    if len(a) < 2 or np.isnan(b).any() or np.ptp(b) == 0:
        return np.nan
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 else 0.0


def refits(x: Arrays, y: Arrays, folds: Folds, alphas: NDArray[Any], model: Any) -> Kept:
    """scikit-learn, refitted on the reduced rows of every fold and voxel."""
    kept = Kept([len(block) for block in x], y[0].shape[1])
    for number, fold in enumerate(folds.held_out):
        for voxel in range(y[0].shape[1]):
            train = [s for s in range(len(x)) if s not in fold and not np.isnan(y[s][:, voxel]).any()]
            tests = [s for s in fold if not np.isnan(y[s][:, voxel]).any()]
            if not tests:
                continue
            fitted = model(float(alphas[number, voxel])).fit(
                np.concatenate([x[s] for s in train]), np.concatenate([y[s][:, voxel] for s in train])
            )
            for s in tests:
                kept(s, slice(voxel, voxel + 1), fitted.predict(x[s])[:, None], y[s][:, [voxel]])
    return kept


def same(a: Any, b: Any, within: float) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=within)


VARIANTS = {
    "plain": (Ridge(), lambda a: SklearnRidge(alpha=a, fit_intercept=False, solver="svd")),
    "intercept": (Ridge(intercept=True), lambda a: SklearnRidge(alpha=a, solver="svd")),
    "standardise": (
        Ridge(standardise=True),
        lambda a: make_pipeline(StandardScaler(), SklearnRidge(alpha=a, fit_intercept=False, solver="svd")),
    ),
    "both": (
        Ridge(standardise=True, intercept=True),
        lambda a: make_pipeline(StandardScaler(), SklearnRidge(alpha=a, solver="svd")),
    ),
}
