"""Divide stories into folds, which are held out one at a time; every story is held out exactly once.

    leave_one_out(n)        {0}, {1}, ..., {n - 1}
    leave_k_out(n, k, seed) a random partition into ceil(n / k) folds of k stories or one fewer
    k_fold(n, k, seed)      a random partition into k folds whose sizes differ by one at most

TRs of one story are never split between training and test. Neighbouring TRs share words and slow noise, so a split
inside a story would score memory of that story (Roberts et al. 2017, blocking in cross-validation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encoderlab.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Folds:
    """A partition of the stories.

    Attributes:
        held_out: the stories of each fold, ascending; the model of a fold trains on all other stories.
    """

    held_out: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        held = sorted(story for fold in self.held_out for story in fold)
        if held != list(range(len(held))) or not all(self.held_out):
            raise InputError(f"folds: got {held}; expected every story exactly once, in folds that are not empty")
        if len(self.held_out) < 2:
            raise InputError(
                f"folds: one fold of {len(held)} stories leaves no story to train on; use at least 2 folds"
            )

    @property
    def stories(self) -> int:
        """The number of stories."""
        return sum(len(fold) for fold in self.held_out)

    def __len__(self) -> int:
        return len(self.held_out)

    @classmethod
    def leave_one_out(cls, stories: int) -> Folds:
        """Hold out each story by itself."""
        return cls(held_out=tuple((story,) for story in range(stories)))

    @classmethod
    def leave_k_out(cls, stories: int, k: int, seed: int = 0) -> Folds:
        """Hold out k stories at a time, drawn at random; some folds may have one story fewer."""
        if not 1 <= k < stories:
            raise InputError(f"leave-k-out: k = {k} of {stories} stories; expected 1 to {stories - 1}")
        return cls.k_fold(stories, math.ceil(stories / k), seed)

    @classmethod
    def k_fold(cls, stories: int, k: int, seed: int = 0) -> Folds:
        """Divide the stories at random into k folds whose sizes differ by at most one."""
        if not 2 <= k <= stories:
            raise InputError(f"k-fold: {k} folds of {stories} stories; expected 2 to {stories} folds")
        order = np.random.Generator(np.random.PCG64([seed, 0xF01D])).permutation(stories)
        return cls(held_out=tuple(tuple(sorted(int(story) for story in part)) for part in np.array_split(order, k)))
