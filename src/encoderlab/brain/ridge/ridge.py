"""Ridge regression from features of stories to voxels, scored on held-out stories, alpha chosen per voxel.

    b = argmin |X b - y|^2 + alpha |b|^2            (Hoerl & Kennard 1970)

alpha is the penalty on the squared norm, as in scikit-learn and himalaya; with convention "huth" it is the square root
of that penalty, as in the code of the Huth laboratory. Every story is predicted by a model of the stories outside its
fold, exactly (`heldout`), at an alpha that its own scores had no part in (`selection`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge.fit import Progress, Run, checked
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.result import RidgeResult
from encoderlab.brain.ridge.solver import HeldOut
from encoderlab.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """alphas: the grid. scheme, groups: how alpha is chosen, see `selection`; groups None: one by one up to 10 folds,
    otherwise 10 groups. shared_alpha: one alpha per fold, by the mean r over voxels, instead of one per voxel.
    standardise: features by mean and standard deviation of the training stories. precision: of the products;
    decompositions are in float64. memory_gib: for a batch of voxels; the features take 8 bytes a number beside it.
    method: "dual" decomposes (TRs, TRs) also where there are fewer features than TRs."""

    alphas: tuple[float, ...] = tuple(float(alpha) for alpha in np.logspace(2, 8, 13))
    convention: Literal["squared-norm", "huth"] = "squared-norm"
    scheme: Literal["nested", "flat"] = "nested"
    groups: int | None = None
    shared_alpha: bool = False
    intercept: bool = False
    standardise: bool = False
    precision: Literal["float32", "float64"] = "float32"
    memory_gib: float = 2.0
    method: Literal["auto", "identity", "downdate", "dual"] = "auto"

    def __post_init__(self) -> None:
        problems = []
        if not self.alphas or not all(math.isfinite(alpha) and alpha > 0 for alpha in self.alphas):
            problems.append(f"alphas: expected finite numbers above 0, got {self.alphas}")
        largest = 1e9 if self.convention == "huth" else 1e18
        if problems == [] and max(self.alphas) > largest:
            problems.append(f"alphas: {max(self.alphas):g}, expected at most {largest:g}: beyond it predictions vanish")
        for name, allowed in (
            ("convention", ("squared-norm", "huth")),
            ("scheme", ("nested", "flat")),
            ("precision", ("float32", "float64")),
            ("method", ("auto", "identity", "downdate", "dual")),
        ):
            if getattr(self, name) not in allowed:
                problems.append(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.groups is not None and self.groups < 3:
            problems.append(f"groups: {self.groups}, expected 3 or more: two are held out and one at least trains")
        if not self.memory_gib > 0:
            problems.append(f"memory_gib: expected a number above 0, got {self.memory_gib}")
        if self.method == "identity" and self.standardise:
            problems.append(
                "method: the identity does not hold for features standardised per fold; use auto or downdate"
            )
        if problems:
            raise InputError(*problems)

    def score(
        self,
        features: Sequence[ArrayLike],
        responses: StoryResponses,
        folds: Folds | None = None,
        *,
        only: Collection[int] | None = None,
        held_out: HeldOut | None = None,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> RidgeResult:
        """Predict every story from stories outside its fold, and score that. features[s]: (T_s, F), rows as responses.

        folds: None leaves one story out at a time. only: the numbers of the folds to score, for features that were
        made without the stories of those; all other folds stay without a score. held_out(story, voxels, predicted,
        actual): gets every prediction once, (T_s, voxels) in the unit of the responses. progress(done, all), in models
        x voxels.
        """
        folds = Folds.leave_one_out(len(responses)) if folds is None else folds
        return Run(
            self, checked(features, responses, folds), responses, folds, only, held_out, device, progress
        ).result()
