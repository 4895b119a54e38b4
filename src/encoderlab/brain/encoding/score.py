"""Score one feature space for one subject (ridge, scores, p values), and keep the result in one HDF5 file.

/                  feature, subject, key, convention, scheme, ... ; notes and warnings, one line each
/scores            (stories, voxels) Pearson r of each held-out story; nan: not measured, or constant
/mean              (voxels,) mean of these over stories
/pooled, /r2       (voxels,) over all held-out TRs end to end
/alphas            (folds, voxels) in the convention
/p, /q             (voxels,) of `mean` by its z among permuted blocks, and Benjamini-Hochberg's adjustment
/stories, /curve, /grid      names; mean inner r of every alpha; the alphas
/split, /spaces    banded ridge only: (spaces, voxels) share of `mean` that each feature space gives; their labels
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from encoderlab.brain.encoding.design_rows import Source
from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.fmri.scores import Pooled, nan_mean
from encoderlab.brain.fmri.significance import BlockPermutation, benjamini_hochberg, smallest_p
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.result import edge_warnings
from encoderlab.brain.ridge.ridge import Ridge
from encoderlab.brain.stories.story import Story
from encoderlab.core.files import write_atomically

FORMAT = "encoderlab-scores/3"  # part of the key, so files of an earlier format are computed again


@final
@dataclass(frozen=True, kw_only=True)
class About:
    """The attributes of a file of scores.

    Attributes:
        feature: label of the feature space.
        subject: the name of the subject.
        key: the hash of everything that the numbers depend on (`score_key`).
        convention: of alpha, in the section [encode], like the next four.
        scheme: how alpha is chosen.
        adapt: the stories that adapters are trained on.
        permutations: the number of permutations.
        block: the length of their blocks in TRs.
        seconds: how long the scoring took; this and the next two are known once it is done.
        dimensions: the number of features before the delays.
        kind: of the feature space.
    """

    feature: str
    subject: str
    key: str
    convention: str
    scheme: str
    adapt: str
    permutations: int
    block: int
    seconds: float = 0.0
    dimensions: int = 0
    kind: str = ""


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """The content of a file of scores; the arrays are described above."""

    about: About
    stories: list[str]
    scores: np.ndarray
    mean: np.ndarray
    pooled: np.ndarray
    r2: np.ndarray
    alphas: np.ndarray
    p: np.ndarray
    q: np.ndarray
    curve: np.ndarray
    grid: np.ndarray
    notes: list[str]
    warnings: list[str]
    split: np.ndarray
    spaces: list[str]


ARRAYS = ("scores", "mean", "pooled", "r2", "alphas", "p", "q", "curve", "grid", "split")
TEXTS = ("stories", "notes", "warnings", "spaces")


def read(path: Path, key: str | None = None) -> Scores | None:
    """Read a file of scores; return None if it is missing or damaged, or has another key than `key`."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["format"] != FORMAT or key not in (None, file.attrs["key"]):
                return None
            about = {field.name: _plain(file.attrs[field.name]) for field in fields(About)}
            arrays = {name: np.asarray(file[name]) for name in ARRAYS}
            texts = {name: [line.decode() for line in np.asarray(file[name]).tolist()] for name in TEXTS}
    except (OSError, KeyError):
        return None
    return Scores(
        about=About(**about),
        stories=texts["stories"],
        scores=arrays["scores"],
        mean=arrays["mean"],
        pooled=arrays["pooled"],
        r2=arrays["r2"],
        alphas=arrays["alphas"],
        p=arrays["p"],
        q=arrays["q"],
        curve=arrays["curve"],
        grid=arrays["grid"],
        notes=texts["notes"],
        warnings=texts["warnings"],
        split=arrays["split"],
        spaces=texts["spaces"],
    )


def _plain(value: Any) -> Any:
    """Return an attribute of a file without the type of numpy."""
    return value.item() if hasattr(value, "item") else value


def write(path: Path, scores: Scores) -> None:
    """Write a file of scores, whole or not at all."""

    def fill(beside: Path) -> None:
        with h5py.File(beside, "w") as file:
            file.attrs.update({"format": FORMAT, **asdict(scores.about)})
            for name in ARRAYS:
                file[name] = getattr(scores, name)
            for name in TEXTS:
                lines = [line.encode() for line in getattr(scores, name)]
                file.create_dataset(name, data=np.array(lines, dtype=h5py.string_dtype()), shape=(len(lines),))

    write_atomically(path, fill)


def groups_of(folds: Folds, count: int) -> list[list[int]]:
    """Group the folds for spaces that are fitted to training stories; with equal counts, as the nested search does."""
    count = min(count, len(folds))
    return [list(range(first, len(folds), count)) for first in range(count)]


def score(
    source: Source,
    stories: Sequence[Story],
    responses: StoryResponses,
    settings: Encode,
    folds: Folds,
    about: About,
    *,
    device: str,
    progress: Callable[[float], None],
) -> Scores:
    """Predict every story from other stories, and score the predictions.

    Args:
        source: the feature space.
        stories: the stories of the subject.
        responses: the responses to the same stories.
        settings: the section [encode].
        folds: the stories that are held out together.
        about: attributes of the file of scores.
        device: of torch.
        progress: progress(share done), from 0 to 1.
    """
    start, voxels = time.perf_counter(), responses.voxels
    ridge = Ridge(
        alphas=settings.alphas,
        convention=settings.convention,
        scheme=settings.scheme,
        groups=settings.groups,
        shared_alpha=settings.shared_alpha,
        intercept=True,  # responses need not be z-scored, and delayed rows begin with zeros
        memory_gib=settings.memory_gib,
    )
    pooled = Pooled(voxels)
    null = None
    if settings.permutations:
        null = BlockPermutation(
            voxels=voxels, block=settings.block, permutations=settings.permutations, seed=settings.seed
        )

    def held_out(story: int, where: slice, predicted: np.ndarray, actual: np.ndarray) -> None:
        pooled.add(where, predicted, actual)
        if null is not None:
            null.add(story, where, predicted, actual)

    parts = groups_of(folds, settings.fitted) if source.fitted else [None]
    results = []
    for number, only in enumerate(parts):
        without = sorted(story for fold in only for story in folds.held_out[fold]) if only is not None else []
        rows = source.rows(stories, settings.design, without)
        results.append(
            ridge.score(
                rows,
                responses,
                folds,
                only=only,
                held_out=held_out,
                device=device,
                progress=lambda done, all_, n=number: progress((n + done / max(all_, 1)) / len(parts)),
            )
        )
    scores = _merged([result.scores for result in results])
    mean = nan_mean(scores, axis=0)
    p = null.p_values(mean) if null is not None else np.full(voxels, np.nan)
    first = results[0]
    notes, alphas, grid = [*first.notes], _merged([result.alphas for result in results]), np.asarray(first.grid)
    # Warnings about the ends of the grid are made once, for all groups together.
    warnings = [line for part in results for line in part.warnings if line not in edge_warnings(part.alphas, grid)]
    if source.fitted:
        notes.append(
            f"computed separately for each of {len(parts)} groups of held-out stories, from the stories outside it"
        )
    missing = sum(count for _, count in first.missing)
    if missing:
        partly = missing - first.empty
        kinds = [f"{first.empty} are nan in every TR"] * (first.empty > 0) + [f"{partly} in some TRs"] * (partly > 0)
        notes.append(
            f"{missing} (story, voxel) pairs are not measured; only these pairs are left out: {', '.join(kinds)}"
        )
    if settings.permutations:
        smallest = smallest_p(responses.lengths, settings.block)
        notes.append(
            f"smallest p that a voxel can reach: {smallest:.2g}; counting permutations would end at "
            f"1/{settings.permutations + 1:,} = {1 / (settings.permutations + 1):.2g}"
        )
    notes += [f"{first.constant} (story, voxel) pairs do not vary and have no score"] if first.constant else []
    return Scores(
        about=replace(about, seconds=time.perf_counter() - start, dimensions=source.dimensions, kind=source.kind),
        stories=[story.name for story in stories],
        scores=scores,
        mean=mean,
        pooled=pooled.correlation(),
        r2=pooled.r2(),
        alphas=alphas,
        p=p,
        q=benjamini_hochberg(p),
        curve=nan_mean(np.stack([result.curve for result in results]), axis=0),
        grid=grid,
        notes=notes,
        warnings=[*edge_warnings(alphas, grid), *dict.fromkeys(warnings)],
        split=np.empty((0, voxels)),
        spaces=[],
    )


def _merged(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Merge tables that each have the rows of their own folds, and nan elsewhere."""
    whole = tables[0].copy()
    for table in tables[1:]:
        whole = np.where(np.isnan(whole), table, whole)
    return whole
