"""Banded ridge: fit several feature spaces at once, each with its own penalty, and split the joint score among them.

    weights        min_w |Y - sum_k X_k w_k|^2 + sum_k alpha_k |w_k|^2         per voxel, features and responses centred
    penalties      alpha_k = alpha / gamma_k, gamma on the simplex: random draws of gamma, a grid of alphas for each;
                   the pair with the best mean r over inner folds of whole training stories
    split score    r_k = cov(y, p_k) / (sd y  sd p),  p = sum_k p_k the joint prediction: sum_k r_k = r

Nunez-Elizalde, Huth & Gallant (2019); random search and split score of Dupre la Tour et al. (2022), himalaya. No scored
story is among the stories that fitted the weights and chose the penalties. A split score can be negative. If spaces are
correlated, it depends on how the fit divided the effect among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoderlab.brain.fmri.scores import Array, correlation
from encoderlab.core.errors import InputError, first_line

ITERATIONS = 20
CONCENTRATIONS = (0.1, 1.0)  # of the Dirichlet draws, in turn: near one space alone, and anywhere on the simplex
LEAST_SHARE = 1e-6  # himalaya divides by the root of gamma, which float32 would round to 0
TARGETS = 1000  # voxels at a time within himalaya, for memory


@dataclass(frozen=True, kw_only=True)
class Banded:
    """The scores of the joint prediction and of its parts; nan where a story was not held out, or has no r."""

    scores: Array  # (S, V) r of each held-out story
    split: Array  # (spaces, S, V), sums over spaces to `scores`
    penalties: Array  # (folds, spaces, V): alpha_k, on the squared norm of the weights of the space


@dataclass(frozen=True)
class _Search:
    """The penalties that a fit chooses from.

    Attributes:
        alphas: (A,) ascending.
        shares: (iterations, spaces) values of gamma.
    """

    alphas: NDArray[Any]
    shares: Array


def banded_ridge(
    features: Sequence[ArrayLike],
    responses: ArrayLike,
    lengths: Sequence[int],
    folds: Sequence[tuple[int, ...]],
    *,
    alphas: ArrayLike,
    iterations: int = ITERATIONS,
    inner: int | None = None,
    seed: int = 0,
    backend: str = "numpy",
) -> Banded:
    """Score one joint model of all spaces on held-out stories.

    A voxel whose responses in a story are not finite is trained and scored without that story. Features and responses
    in float32 are computed in float32.

    Args:
        features: one (T, F_k) array per space, delayed and scaled, the stories one after the other.
        responses: (T, V).
        lengths: TRs of each story, T in all.
        folds: the numbers of the stories held out together.
        alphas: the grid, penalties on the squared norm.
        iterations: draws of gamma, the first of which is equal shares.
        inner: number of inner folds, into which the training stories are dealt in turn; None means one per story.
        seed: of the draws.
        backend: of himalaya ("torch_cuda" for a GPU).

    Raises:
        InputError: shapes or folds do not fit, a feature is not finite, or himalaya or its backend is missing.
    """
    spaces = [np.asarray(x) for x in features]
    y = np.asarray(responses)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    _check(spaces, y, int(starts[-1]), len(lengths), folds)
    dtype = np.result_type(np.float32, y, *spaces)
    spaces, y = [x.astype(dtype, copy=False) for x in spaces], y.astype(dtype, copy=False)
    story_of = np.repeat(np.arange(len(lengths)), lengths)
    missing = np.stack([~np.isfinite(part).all(axis=0) for part in np.split(y, starts[1:-1])])
    search = _Search(np.unique(np.asarray(alphas, dtype=dtype)), _shares(len(spaces), iterations, seed))
    scores = np.full((len(lengths), y.shape[1]), np.nan)
    split = np.full((len(spaces), *scores.shape), np.nan)
    penalties = np.full((len(folds), len(spaces), y.shape[1]), np.nan)
    with _himalaya(backend) as himalaya:
        for number, held in enumerate(folds):
            train = np.setdiff1d(np.arange(len(lengths)), held)
            patterns, pattern_of = np.unique(missing[train], axis=1, return_inverse=True)
            for index, absent in enumerate(patterns.T):
                # The voxels that lack the same training stories, and the stories that they have.
                voxels, present = np.flatnonzero(pattern_of == index), train[~absent]
                if len(present) < 2:
                    continue  # no story is left to choose the penalties with, so these voxels keep their nan
                rows = np.isin(story_of, present)
                groups = np.searchsorted(present, story_of[rows]) % min(inner or len(present), len(present))
                # Weights (F_k, voxels) of each space, and log(1 / penalty) (spaces, voxels).
                weights, deltas = himalaya.fit([x[rows] for x in spaces], y[np.ix_(rows, voxels)], groups, search)
                penalties[number][:, voxels] = np.exp(-deltas)
                for story in held:
                    trs = slice(starts[story], starts[story + 1])
                    parts = np.stack([x[trs] @ w for x, w in zip(spaces, weights, strict=True)]).astype(np.float64)
                    actual = y[trs][:, voxels].astype(np.float64)
                    r = correlation(parts.sum(axis=0), actual)
                    scores[story, voxels] = r
                    split[:, story, voxels] = np.where(np.isnan(r), np.nan, himalaya.split(actual, parts))
    return Banded(scores=scores, split=split, penalties=penalties)


def _check(
    spaces: list[NDArray[Any]], y: NDArray[Any], trs: int, stories: int, folds: Sequence[tuple[int, ...]]
) -> None:
    shapes = [x.shape for x in (*spaces, y)]
    if not spaces or any(len(shape) != 2 or shape[0] != trs for shape in shapes):
        raise InputError(f"shapes {shapes} with stories of {trs} TRs in all; expected (TRs, columns) for each")
    if not all(np.isfinite(x).all() for x in spaces):
        raise InputError(
            "features: some are not finite; expected finite numbers, as only responses may have missing ones"
        )
    held = [story for fold in folds for story in fold]
    if not held or len(set(held)) < len(held) or not set(held) <= set(range(stories)):
        raise InputError(f"folds {list(folds)}: expected story numbers below {stories}, each at most once")
    if max(map(len, folds)) > stories - 2:
        raise InputError(
            "folds: one leaves fewer than two stories; expected at least two, one to fit and one to choose penalties"
        )


def _shares(spaces: int, iterations: int, seed: int) -> Array:
    """Draw (iterations, spaces) rows on the simplex, equal shares first; for one space there is nothing to draw."""
    rng = np.random.Generator(np.random.PCG64([seed, 0xBA2D]))
    draws = [rng.dirichlet([CONCENTRATIONS[i % 2]] * spaces) for i in range(iterations - 1 if spaces > 1 else 0)]
    shares = np.maximum(np.array([np.full(spaces, 1 / spaces), *draws]), LEAST_SHARE)
    return shares / shares.sum(axis=1, keepdims=True)


class _Himalaya:
    """himalaya's two solvers behind one call; the shape of the features decides which one runs."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def fit(
        self, spaces: list[NDArray[Any]], y: NDArray[Any], groups: NDArray[np.int64], search: _Search
    ) -> tuple[list[NDArray[Any]], NDArray[Any]]:
        """Fit all spaces together.

        Args:
            spaces: one (T, F_k) array per space.
            y: (T, V) responses.
            groups: (T,) inner fold of each TR.
            search: the penalties to choose from.

        Returns:
            One (F_k, V) array of weights per space, and log(1 / penalty), (spaces, V).
        """
        from himalaya.kernel_ridge import MultipleKernelRidgeCV
        from himalaya.ridge import GroupRidgeCV
        from himalaya.scoring import correlation_score
        from sklearn.model_selection import PredefinedSplit

        to = self._backend
        params = {
            "alphas": to.asarray(search.alphas),
            "n_iter": to.asarray(search.shares, dtype=spaces[0].dtype.name),
            "score_func": correlation_score,
            "n_alphas_batch": 1,
            "n_targets_batch": TARGETS,
            "progress_bar": False,
        }
        settings: dict[str, Any] = {"solver_params": params, "fit_intercept": True, "cv": PredefinedSplit(groups)}
        sizes = np.cumsum([x.shape[1] for x in spaces])
        if len(y) >= sizes[-1]:  # fewer features than TRs: the primal solver
            model = GroupRidgeCV(groups="input", **settings).fit(spaces, y)
            return np.split(to.to_numpy(model.coef_), sizes[:-1]), to.to_numpy(model.deltas_)
        centred = [x - x.mean(axis=0) for x in spaces]
        kernels = np.stack([x @ x.T for x in centred])
        model = MultipleKernelRidgeCV(kernels="precomputed", **settings).fit(kernels, y)
        deltas, dual = to.to_numpy(model.deltas_), to.to_numpy(model.dual_coef_)
        return [np.exp(d) * (x.T @ dual) for d, x in zip(deltas, centred, strict=True)], deltas

    def split(self, actual: Array, parts: Array) -> Array:
        """Split the score among the spaces: (T, V) responses and (spaces, T, V) predictions -> (spaces, V)."""
        from himalaya.scoring import correlation_score_split

        to = self._backend
        return to.to_numpy(correlation_score_split(to.asarray(actual), to.asarray(parts)))


@contextmanager
def _himalaya(name: str) -> Iterator[_Himalaya]:
    """Open himalaya with this backend, and restore the caller's backend, which is global, at the end."""
    try:
        from himalaya.backend import get_backend, set_backend
    except ImportError:
        raise InputError(
            "banded ridge needs himalaya, which is not installed; run pip install 'encoderlab[brain]'"
        ) from None
    before = get_backend()
    try:
        chosen = set_backend(name)
    except (ImportError, RuntimeError, ValueError) as error:
        raise InputError(f"himalaya cannot use the backend {name!r}: {first_line(error)}") from None
    try:
        yield _Himalaya(chosen)
    finally:
        set_backend(before)
