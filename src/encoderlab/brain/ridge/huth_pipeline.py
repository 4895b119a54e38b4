"""Reproduce the pipeline of the Huth laboratory number for number, for results that must match older ones.

    features       per story: rows [10:-5], z score; the stories are stacked and then delayed, so the first rows of a
                   story hold the last rows of the story before
    ridge          w = V diag(s / (s^2 + a^2)) U' Y,   X = U diag(s) V'; no intercept. `a` is the *root* of the penalty:
                   scikit-learn and himalaya call a^2 alpha. normalpha: a times the largest s
    choice of a    n random draws of chunks of TRs are held out of the training rows; the a with the best mean score
                   over draws, per voxel or for all voxels; the first one of equal ones
    test           r of the held-out responses, 0 where it is undefined

Conventions of HuthLab/deep-fMRI-dataset, encoding/ridge_utils. For new work, `ridge` holds out whole stories instead:
a chunk of a story is autocorrelated with the chunks beside it, and a voxel without a score should not count as 0.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoderlab.core.errors import InputError

Array = NDArray[np.float64]

TRIM = (10, 5)  # rows dropped at the start and the end of a story's features
CUTOFF = 1e-10


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """The arrays that the pipeline saves."""

    correlations: Array  # (V,) on the test rows; 0 where undefined
    alphas: Array  # (V,) chosen, as given: roots of penalties, before any normalisation
    weights: Array  # (F, V) fitted on all training rows
    scores: Array  # (alphas, V, draws) on the held-out chunks
    held_out: tuple[tuple[int, ...], ...]  # training rows held out in each draw, in the order drawn


def stacked_features(
    stories: Sequence[ArrayLike], delays: Sequence[int] = (1, 2, 3, 4), trim: tuple[int, int] = TRIM
) -> Array:
    """Trim and z-score each story, stack the stories, and delay across their boundaries.

    Args:
        stories: one (T_s, F) array a story.
        delays: in TRs.
        trim: rows left out at the start and at the end of each story.

    Returns:
        (rows left of all stories, F * delays).

    Raises:
        InputError: no row of a story is left.
    """
    scaled = []
    for number, story in enumerate(stories):
        rows = np.asarray(story, dtype=np.float64)
        rows = rows[trim[0] : len(rows) - trim[1]]
        if not len(rows):
            raise InputError(
                f"story {number}: no row is left after leaving out the first {trim[0]} and the last {trim[1]}; leave "
                "the story out"
            )
        sd = rows.std(axis=0)
        scaled.append((rows - rows.mean(axis=0)) / np.where(sd == 0, 1.0, sd))
    return _delayed(np.vstack(scaled), delays)


def _delayed(x: Array, delays: Sequence[int]) -> Array:
    """Put all features at the first delay, then at the second, ... side by side; rows moved in are 0."""
    blocks = []
    for delay in delays:
        moved = np.zeros_like(x)
        size = max(0, len(x) - abs(delay))
        to, start = max(0, delay), max(0, -delay)
        moved[to : to + size] = x[start : start + size]
        blocks.append(moved)
    return np.hstack(blocks)


def ridge(features: ArrayLike, responses: ArrayLike, alphas: ArrayLike, *, normalpha: bool = False) -> Array:
    """Compute weights (F, V) for one root penalty, or one per voxel; missing responses count as 0."""
    u, s, vh = np.linalg.svd(np.asarray(features, dtype=np.float64), full_matrices=False)
    ury = u.T @ np.nan_to_num(np.asarray(responses, dtype=np.float64))
    given = np.broadcast_to(np.asarray(alphas, dtype=np.float64), ury.shape[1:])
    weights = np.empty((vh.shape[1], ury.shape[1]))
    for a in np.unique(given):
        voxels = given == a
        weights[:, voxels] = vh.T @ (_filter(s, a, normalpha)[:, None] * ury[:, voxels])
    return weights


def ridge_scores(
    train: tuple[Array, Array],
    held_out: tuple[Array, Array],
    alphas: ArrayLike,
    *,
    normalpha: bool = False,
    singcutoff: float = CUTOFF,
    use_corr: bool = True,
) -> Array:
    """Score held-out rows for each root penalty.

    Args:
        train: (T, F) features and (T, V) responses.
        held_out: the same of the held-out rows.
        alphas: root penalties.
        normalpha: whether alphas are multiplied by the largest singular value.
        singcutoff: singular values up to this are dropped.
        use_corr: whether the score is Pearson's r; otherwise it is the signed root of R2, whose variance is
            (1 + that of the held-out responses) / 2.

    Returns:
        (alphas, V) scores; 0 where undefined.
    """
    u, s, vh = np.linalg.svd(train[0], full_matrices=False)
    used = int((s > singcutoff).sum())
    u, s, vh = u[:, :used], s[:used], vh[:used]
    ury, xv, y = u.T @ train[1], held_out[0] @ vh.T, held_out[1]
    scores = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for a in np.asarray(alphas, dtype=np.float64):
            predicted = (xv * _filter(s, a, normalpha)) @ ury
            if use_corr:
                score = (_z(y) * _z(predicted)).mean(axis=0)
            else:
                r2 = 1 - (y - predicted).var(axis=0) / ((1 + y.var(axis=0)) / 2)
                score = np.sqrt(np.abs(r2)) * np.sign(r2)
            scores.append(np.where(np.isnan(score), 0.0, score))
    return np.array(scores)


def held_out_rows(
    rows: int, *, nboots: int, chunklen: int, nchunks: int, rng: random.Random
) -> Iterator[tuple[int, ...]]:
    """Yield the rows held out in each draw, in whole chunks; rows after the last whole chunk are never held out."""
    for _ in range(nboots):
        cut = [tuple(range(start, start + chunklen)) for start in range(0, rows - chunklen + 1, chunklen)]
        rng.shuffle(cut)
        yield tuple(row for chunk in cut[:nchunks] for row in chunk)


def bootstrap_ridge(
    x_train: ArrayLike,
    y_train: ArrayLike,
    x_test: ArrayLike,
    y_test: ArrayLike,
    alphas: Sequence[float],
    *,
    nboots: int,
    chunklen: int,
    nchunks: int,
    seed: int,
    single_alpha: bool = False,
    use_corr: bool = True,
    normalpha: bool = False,
    singcutoff: float = CUTOFF,
) -> Bootstrap:
    """Run the whole pipeline: choose alphas, refit on all training rows, correlate on the test rows.

    Args:
        x_train: (T, F) features.
        y_train: (T, V) responses.
        x_test: (T_test, F) features.
        y_test: (T_test, V) responses.
        alphas: roots of penalties, usually ascending.
        nboots: draws.
        chunklen: TRs in a chunk.
        nchunks: chunks held out in a draw.
        seed: of Python's `random`, as in `random.seed(seed)` before the laboratory's code is called.
        single_alpha: whether all voxels have one alpha.
        use_corr: see `ridge_scores`. The options have the names of the laboratory's code.
        normalpha: see `ridge_scores`.
        singcutoff: see `ridge_scores`.

    Raises:
        InputError: shapes, alphas or draws do not fit together, or a feature is not finite.
    """
    x, y, x_new, y_new, grid = (np.asarray(a, dtype=np.float64) for a in (x_train, y_train, x_test, y_test, alphas))
    _check(x, y, x_new, y_new, grid, nboots, chunklen * nchunks)
    draws = tuple(held_out_rows(len(x), nboots=nboots, chunklen=chunklen, nchunks=nchunks, rng=random.Random(seed)))
    scores = np.zeros((len(grid), y.shape[1], nboots))
    for boot, rows in enumerate(draws):  # score the held-out rows of each draw
        held = np.array(rows)
        rest = np.setdiff1d(np.arange(len(x)), held)
        scores[:, :, boot] = ridge_scores(
            (x[rest], y[rest]), (x[held], y[held]), grid, normalpha=normalpha, singcutoff=singcutoff, use_corr=use_corr
        )
    mean = scores.mean(axis=2) if nboots else np.zeros(scores.shape[:2])
    best = mean.mean(axis=1).argmax() if single_alpha else mean.argmax(axis=0)
    chosen = np.broadcast_to(grid[best], y.shape[1:]).copy()
    weights = ridge(x, y, chosen, normalpha=normalpha)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (_z(y_new) * _z(x_new @ weights)).mean(axis=0)
    return Bootstrap(correlations=np.nan_to_num(r), alphas=chosen, weights=weights, scores=scores, held_out=draws)


def _check(x: Array, y: Array, x_new: Array, y_new: Array, grid: Array, nboots: int, held: int) -> None:
    shapes = [part.shape for part in (x, y, x_new, y_new)]
    fits = all(len(shape) == 2 for shape in shapes) and len(x) == len(y) and len(x_new) == len(y_new)
    if not fits or shapes[0][1] != shapes[2][1] or shapes[1][1] != shapes[3][1]:
        raise InputError(
            f"shapes {shapes} of training and test features and responses do not fit together; expected (T, F), "
            "(T, V), (T_test, F) and (T_test, V)"
        )
    if not np.isfinite(x).all() or not np.isfinite(x_new).all():
        raise InputError("features: some are not finite; expected finite numbers")
    if not grid.size or (nboots < 1 and grid.size > 1):
        raise InputError(f"{grid.size} alphas and {nboots} draws; expected at least one of each to choose an alpha")
    if grid.min() <= 0:
        raise InputError(f"alphas {grid.tolist()}; expected numbers above 0 (roots of penalties)")
    if nboots and not 0 < held < len(x):
        raise InputError(f"{held} of {len(x)} training rows held out; expected more than none and fewer than all")


def _filter(s: Array, a: float, normalpha: bool) -> Array:
    penalty = (a * s[0]) ** 2 if normalpha and s.size else a**2
    return s / (s**2 + penalty)


def _z(columns: Array) -> Array:
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)
