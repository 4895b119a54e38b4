"""Fit two other models to the same rows: banded ridge over all feature spaces, and the Huth laboratory's pipeline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.encoding.design_rows import Source
from encoderlab.brain.encoding.score import About, Scores, groups_of
from encoderlab.brain.encoding.settings import Encode, Reference
from encoderlab.brain.fmri.align import delay
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.fmri.scores import nan_mean
from encoderlab.brain.ridge.banded import banded_ridge
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.huth_pipeline import bootstrap_ridge
from encoderlab.brain.stories.story import Story

INNER = 5  # groups of training stories that choose the penalties of banded ridge


def banded(
    sources: Sequence[Source],
    stories: Sequence[Story],
    responses: StoryResponses,
    settings: Encode,
    folds: Folds,
    about: About,
    device: str,
) -> Scores:
    """Score one model of all spaces, each with its own penalty, on `settings.fitted` groups of held-out stories."""
    start, voxels = time.perf_counter(), responses.voxels
    y = np.concatenate([responses.read(story, slice(None)) for story in range(len(stories))]).astype(np.float32)
    scores = np.full((len(stories), voxels), np.nan)
    split = np.full((len(sources), len(stories), voxels), np.nan)
    penalties, huth = [], settings.convention == "huth"
    for only in groups_of(folds, settings.fitted):
        held = tuple(sorted(story for fold in only for story in folds.held_out[fold]))
        result = banded_ridge(
            [np.concatenate(source.rows(stories, settings.design, held)).astype(np.float32) for source in sources],
            y,
            responses.lengths,
            [held],
            alphas=[alpha**2 if huth else alpha for alpha in settings.alphas],
            inner=INNER,
            seed=settings.seed,
            backend="torch_cuda" if device.startswith("cuda") else "numpy",
        )
        scores[list(held)], split[:, list(held)] = result.scores[list(held)], result.split[:, list(held)]
        chosen = result.penalties[0]
        penalties.append(np.sqrt(chosen) if huth else chosen)
    note = f"banded ridge: a penalty for each of {len(sources)} spaces; held out in {len(penalties)} groups of stories"
    return _scores(
        replace(about, kind="banded", dimensions=sum(source.dimensions for source in sources)),
        start,
        [story.name for story in stories],
        scores,
        alphas=np.concatenate(penalties),  # (groups x spaces, voxels)
        grid=np.asarray(settings.alphas),
        notes=[note],
        split=nan_mean(split, axis=1),
        spaces=[source.label for source in sources],
    )


def huth_pipeline(
    source: Source,
    stories: Sequence[Story],
    responses: StoryResponses,
    settings: Encode,
    how: Reference,
    about: About,
    left_out: Sequence[NDArray[np.bool_] | None] | None = None,
) -> Scores:
    """Score a feature space by the laboratory's pipeline, to reproduce older numbers.

    Delays are made after stacking, alpha is the root of the penalty, a bootstrap over chunks of TRs chooses it, and one
    r is computed over the test stories end to end.

    Args:
        source: the feature space.
        stories: the stories of the subject.
        responses: the responses to the same stories.
        settings: the section [encode].
        how: the section [reference].
        about: attributes of the file of scores.
        left_out: for each story, (T_s,) True for TRs that `responses` lack; their rows are removed after the delays.
    """
    start = time.perf_counter()
    test = [i for i, story in enumerate(stories) if story.name in how.test]
    train = [i for i in range(len(stories)) if i not in test]
    rows = source.rows(stories, replace(settings.design, delays=(0,), after_stacking=False), test)
    out = [None] * len(stories) if left_out is None else left_out
    present = [np.ones(len(rows[i]), dtype=bool) if (gone := out[i]) is None else ~gone for i in range(len(stories))]
    x_train, x_test = (
        delay(np.vstack([rows[i] for i in part]), settings.delays)[np.concatenate([present[i] for i in part])]
        for part in (train, test)
    )
    y_train, y_test = (np.vstack([responses.read(i, slice(None)) for i in part]) for part in (train, test))
    result = bootstrap_ridge(
        x_train,
        y_train,
        x_test,
        y_test,
        settings.alphas,
        nboots=how.boots,
        chunklen=how.chunk,
        nchunks=how.chunks,
        seed=settings.seed,
        single_alpha=settings.shared_alpha,
        use_corr=how.use_corr,
    )
    note = (
        f"the laboratory's pipeline: {how.boots} bootstraps of {how.chunks} chunks of {how.chunk} TRs (seed "
        f"{settings.seed}), delays across the borders of stories, alpha the square root of the penalty; one r over "
        f"{len(test)} test stories end to end; responses as they are stored, not centred"
    )
    return _scores(
        replace(about, kind=source.kind, dimensions=source.dimensions),
        start,
        [", ".join(stories[i].name for i in test)],
        result.correlations[None],
        alphas=np.broadcast_to(result.alphas, (1, responses.voxels)).copy(),
        grid=np.asarray(settings.alphas),
        notes=[note],
    )


def _scores(
    about: About,
    start: float,
    names: list[str],
    scores: np.ndarray,
    *,
    alphas: np.ndarray,
    grid: np.ndarray,
    notes: list[str],
    split: np.ndarray | None = None,
    spaces: Sequence[str] = (),
) -> Scores:
    """Make scores without p values, pooled scores and a curve, which these models do not have."""
    nothing = np.full(scores.shape[1], np.nan)
    return Scores(
        about=replace(about, seconds=time.perf_counter() - start),
        stories=names,
        scores=scores,
        mean=nan_mean(scores, axis=0),
        pooled=nothing,
        r2=nothing,
        alphas=alphas,
        p=nothing,
        q=nothing,
        curve=np.full((len(grid), scores.shape[1]), np.nan),
        grid=grid,
        notes=notes,
        warnings=[],
        split=np.empty((0, scores.shape[1])) if split is None else split,
        spaces=list(spaces),
    )
