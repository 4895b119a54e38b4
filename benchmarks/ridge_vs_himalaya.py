"""Ridge over held-out stories: encoderlab against himalaya's RidgeCV, in turn in one process.

The same work: every story held out once, mean held-out r for every alpha and voxel, float32 features and responses.
himalaya refits on all stories besides (one decomposition in S + 1); encoderlab chooses an alpha per fold and scores
every story at it besides. Best alphas and their mean r are compared. himalaya: its faster backend of numpy and torch.

    python benchmarks/ridge_vs_himalaya.py     10 stories, 3,000 TRs, 384 features, 3,000 voxels, 10 alphas
        --large        10 stories, 8,000 TRs, 1,024 features, 2,000 voxels, 20 alphas
        --lab          101 stories, 34,786 TRs, 3,072 features, 200 voxels, 20 alphas; himalaya on 2 folds, scaled up
        --growth       200, 2,000 and 20,000 voxels from .npy files: time and peak memory
        --json FILE    what was measured, as one more line of a file
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from himalaya.backend import set_backend
from himalaya.ridge import RidgeCV
from himalaya.scoring import correlation_score
from lib import work
from numpy.typing import NDArray

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.result import RidgeResult
from encoderlab.brain.ridge.ridge import Ridge


@dataclass(frozen=True, kw_only=True)
class Shape:
    stories: int
    rows: int
    features: int
    voxels: int
    alphas: int

    def grid(self) -> tuple[float, ...]:
        return tuple(float(alpha) for alpha in np.logspace(1, 6, self.alphas))

    def lengths(self) -> list[int]:
        edges = np.linspace(0, self.rows, self.stories + 1).round().astype(int)
        return np.diff(edges).tolist()


DEFAULT = Shape(stories=10, rows=3000, features=384, voxels=3000, alphas=10)
LARGE = Shape(stories=10, rows=8000, features=1024, voxels=2000, alphas=20)
LAB = Shape(stories=101, rows=34786, features=3072, voxels=200, alphas=20)
GROWTH = [Shape(stories=30, rows=10000, features=512, voxels=voxels, alphas=10) for voxels in (200, 2000, 20000)]

Stories = list[NDArray[np.float32]]


def features(shape: Shape, rng: np.random.Generator) -> Stories:
    """Columns of falling variance, as principal directions of embeddings have."""
    scales = np.geomspace(10, 0.1, shape.features, dtype=np.float32)
    return [rng.standard_normal((n, shape.features), dtype=np.float32) * scales for n in shape.lengths()]


def responses(shape: Shape, x: Stories, rng: np.random.Generator) -> Stories:
    """Noise, and a signal that is anything from nothing to a quarter of the variance."""
    weights = rng.standard_normal((shape.features, shape.voxels), dtype=np.float32)
    weights *= np.linspace(0, 0.3, shape.voxels, dtype=np.float32) / np.sqrt(shape.features)
    return [block @ weights + rng.standard_normal((len(block), shape.voxels), dtype=np.float32) for block in x]


def ours(shape: Shape, x: Stories, y: StoryResponses) -> RidgeResult:
    return Ridge(alphas=shape.grid(), scheme="flat").score(x, y)


def theirs(shape: Shape, x: NDArray[np.float32], y: NDArray[np.float32], folds: int) -> tuple[NDArray, NDArray]:
    number = np.repeat(np.arange(shape.stories), shape.lengths())
    cv = [(np.flatnonzero(number != story), np.flatnonzero(number == story)) for story in range(folds)]
    # all alphas at once would take 8.5 GB at the size of the lab
    parameters = {"score_func": correlation_score, "n_alphas_batch": 1 if shape is LAB else None}
    model = RidgeCV(alphas=np.array(shape.grid(), dtype=np.float32), cv=cv, solver_params=parameters).fit(x, y)
    return np.asarray(model.best_alphas_), np.asarray(model.cv_scores_)


def compare(shape: Shape, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = features(shape, rng)
    y = responses(shape, x, rng)
    stacked = np.concatenate(x), np.concatenate(y)
    seconds: dict[str, list[float]] = {"encoderlab": [], "numpy": [], "torch": []}
    found = {}
    for _ in range(repeats):
        for name, times in seconds.items():
            if name != "encoderlab":
                set_backend(name)
            start = time.perf_counter()
            if name == "encoderlab":
                result = ours(shape, x, StoryResponses.from_arrays(y))
            else:
                found[name] = theirs(shape, *stacked, shape.stories)
            times.append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    faster = "numpy" if medians["numpy"] < medians["torch"] else "torch"
    # himalaya's alphas have been through a logarithm, so that they are compared by their place in the grid
    best = np.argmax(result.curve, axis=0)
    alphas, scores = found[faster]
    place = np.abs(np.log(alphas)[None] - np.log(shape.grid())[:, None]).argmin(axis=0)
    return {
        "repeats": repeats,
        "seconds": {"encoderlab": round(medians["encoderlab"], 2), "himalaya": round(medians[faster], 2)},
        "himalaya_backend": faster,
        "ratio": round(medians[faster] / medians["encoderlab"], 1),
        "same_best_alpha": float((best == place).mean()),
        "largest_difference_of_r": float(np.abs(result.curve.max(axis=0) - scores).max()),
        "stages_s": _stages(result),
    }


def lab() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = features(LAB, rng)
    y = responses(LAB, x, rng)
    start = time.perf_counter()
    result = ours(LAB, x, StoryResponses.from_arrays(y))
    seconds, gib = time.perf_counter() - start, peak()
    set_backend("numpy")
    stacked = np.concatenate(x), np.concatenate(y)
    del x, y
    folds = 2
    start = time.perf_counter()
    theirs(LAB, *stacked, folds)
    whole = (time.perf_counter() - start) / (folds + 1) * (LAB.stories + 1)
    return {
        "himalaya_folds_timed": folds,
        "seconds": {"encoderlab": round(seconds), "himalaya": round(whole)},
        "ratio": round(whole / seconds),
        "peak_gib": {"encoderlab": round(gib, 1), "both": round(peak(), 1)},
        "stages_s": _stages(result),
    }


def growth() -> dict[str, Any]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for shape in GROWTH:
            rng = np.random.default_rng(0)
            x = features(shape, rng)
            for story, block in enumerate(responses(shape, x, rng)):
                np.save(Path(folder) / f"{story:03}.npy", block)
            # a process of its own, so that the peak is that of this size
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, gib = pool.apply(grown, (shape, folder))
            found[shape.voxels] = {"seconds": round(seconds, 1), "peak_gib": round(gib, 2)}
    return {"voxels": found}


def grown(shape: Shape, folder: str) -> tuple[float, float]:
    x = features(shape, np.random.default_rng(0))
    start = time.perf_counter()
    ours(shape, x, StoryResponses.from_npy(sorted(Path(folder).glob("*.npy"))))
    return time.perf_counter() - start, peak()


def _stages(result: RidgeResult) -> dict[str, float]:
    return {name: round(seconds, 2) for name, seconds in result.timings.items()}


def peak() -> float:
    """Largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--large", action="store_true")
    which.add_argument("--lab", action="store_true")
    which.add_argument("--growth", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    shape = LAB if arguments.lab else GROWTH[0] if arguments.growth else LARGE if arguments.large else DEFAULT
    result = lab() if arguments.lab else growth() if arguments.growth else compare(shape, arguments.repeats)
    work.say({"benchmark": "ridge", **asdict(shape), **result}, arguments.json)


if __name__ == "__main__":
    main()
