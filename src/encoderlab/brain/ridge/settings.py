"""The settings of a ridge regression, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from encoderlab.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class RidgeSettings:
    """The settings of a ridge regression.

    Attributes:
        alphas: the grid.
        convention: whether alpha is the penalty on the squared norm, or its square root ("huth").
        scheme: how alpha is chosen; see `alpha_selection`.
        groups: groups of folds in the nested scheme; None means one group a fold up to 10 folds, otherwise 10 groups.
        shared_alpha: whether each fold has one alpha, by the mean r over voxels, instead of one per voxel.
        intercept: whether models have an intercept.
        standardise: whether features are scaled by the mean and standard deviation of the training stories.
        precision: of the products; decompositions are always in float64.
        memory_gib: memory in GiB for a batch of voxels; the features take 8 bytes a number in addition.
        method: how models are computed; "dual" decomposes (TRs, TRs) even if there are fewer features than TRs.

    Raises:
        InputError: a setting is wrong; the message lists all that are.
    """

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
            problems.append(
                f"alphas: {max(self.alphas):g}; expected at most {largest:g}, because predictions vanish beyond it"
            )
        for name, allowed in (
            ("convention", ("squared-norm", "huth")),
            ("scheme", ("nested", "flat")),
            ("precision", ("float32", "float64")),
            ("method", ("auto", "identity", "downdate", "dual")),
        ):
            if getattr(self, name) not in allowed:
                problems.append(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.groups is not None and self.groups < 3:
            problems.append(
                f"groups: {self.groups}; expected 3 or more, because two are held out and at least one trains"
            )
        if not self.memory_gib > 0:
            problems.append(f"memory_gib: expected a number above 0, got {self.memory_gib}")
        if self.method == "identity" and self.standardise:
            problems.append(
                "method: the identity does not hold if features are standardised in each fold; use auto or downdate"
            )
        if problems:
            raise InputError(*problems)
