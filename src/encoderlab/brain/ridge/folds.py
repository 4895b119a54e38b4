"""Folds over stories: which stories are held out together; every story is held out exactly once.

    leave_one_out(n)        {0}, {1}, ..., {n - 1}
    leave_k_out(n, k, seed) a random partition into ceil(n / k) folds of k stories or one fewer
    k_fold(n, k, seed)      a random partition into k folds whose sizes differ by one at most

TRs of one story are never split between training and test: neighbouring TRs share words and slow noise, so that a split
inside a story scores memory of the story (Roberts et al. 2017, blocking in cross-validation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encoderlab.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Folds:
    """held_out[f]: the stories of fold f, ascending. A fold's model trains on all other stories."""

    held_out: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        held = sorted(story for fold in self.held_out for story in fold)
        if held != list(range(len(held))) or not all(self.held_out):
            raise InputError(f"folds: every story is held out exactly once, in folds that are not empty; got {held}")
        if len(self.held_out) < 2:
            raise InputError(f"folds: one fold of {len(held)} stories leaves no story to train on; 2 folds at least")

    @property
    def stories(self) -> int:
        return sum(len(fold) for fold in self.held_out)

    def __len__(self) -> int:
        return len(self.held_out)

    @classmethod
    def leave_one_out(cls, stories: int) -> Folds:
        return cls(held_out=tuple((story,) for story in range(stories)))

    @classmethod
    def leave_k_out(cls, stories: int, k: int, seed: int = 0) -> Folds:
        if not 1 <= k < stories:
            raise InputError(f"leave-k-out: k = {k} of {stories} stories; 1 to {stories - 1} can be left out")
        return cls.k_fold(stories, math.ceil(stories / k), seed)

    @classmethod
    def k_fold(cls, stories: int, k: int, seed: int = 0) -> Folds:
        if not 2 <= k <= stories:
            raise InputError(f"k-fold: {k} folds of {stories} stories; 2 to {stories} folds are possible")
        order = np.random.Generator(np.random.PCG64([seed, 0xF01D])).permutation(stories)
        return cls(held_out=tuple(tuple(sorted(int(story) for story in part)) for part in np.array_split(order, k)))
