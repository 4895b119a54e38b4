"""Which held-out scores choose the alpha of a fold.

    flat     alpha of fold f = argmax of the mean held-out r over the stories outside f. Their models have seen f's
             stories in training: cheap, for every prediction is made anyway, and slightly optimistic.
    nested   the models that choose have seen none of f's stories. The folds fall into `groups` blocks; the alpha of the
             folds of a block comes from the other blocks, each held out in turn from models that train without both
             (Varma & Simon 2006). The pair (b, g) is one model: it predicts g for b and b for g.
             With fewer folds than groups every fold is a block, and its training stories fall into groups of their own.

No score of a story ever enters the choice of its own fold's alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from encoderlab.brain.ridge.folds import Folds

GROUPS = 10


@dataclass(frozen=True, kw_only=True)
class Work:
    """One model: trained without `held`; the r of a story of `scored` counts for the chooser beside it."""

    held: tuple[int, ...]
    scored: tuple[tuple[int, int], ...]

    def among(self, present: Sequence[int]) -> Work | None:
        """The same model where only these stories exist; None where nothing is left to score, or to train on."""
        held = tuple(story for story in self.held if story in present)
        scored = tuple((story, chooser) for story, chooser in self.scored if story in present)
        return Work(held=held, scored=scored) if scored and len(held) < len(present) else None


def flat(folds: Folds) -> list[Work]:
    """One model per fold; the chooser of a score is the fold it belongs to."""
    return [
        Work(held=fold, scored=tuple((story, number) for story in fold)) for number, fold in enumerate(folds.held_out)
    ]


def nested(folds: Folds, groups: int) -> tuple[list[Work], list[int]]:
    """Models, and the chooser (block) of every fold; the chooser of a score is the block it chooses for."""
    if len(folds) >= groups:
        chooser = [number % groups for number in range(len(folds))]
        blocks = [sum((folds.held_out[f] for f in range(block, len(folds), groups)), ()) for block in range(groups)]
        works = [
            Work(held=blocks[b] + blocks[g], scored=tuple([(s, b) for s in blocks[g]] + [(s, g) for s in blocks[b]]))
            for b, g in combinations(range(groups), 2)
        ]
        return works, chooser
    works = []
    for number, fold in enumerate(folds.held_out):
        training = [story for story in range(folds.stories) if story not in fold]
        parts = [tuple(training[i::groups]) for i in range(min(groups, len(training)))]
        works += [Work(held=fold + part, scored=tuple((story, number) for story in part)) for part in parts]
    return works, list(range(len(folds)))


def choose(curves: Tensor, penalties: Tensor) -> Tensor:
    """(..., A, V) mean r -> (..., V) position of the best alpha; penalties (A,) ascending, ties go to the larger.

    himalaya's rule: r + 1e-10 log(penalty), so that scores equal up to rounding count as a tie.
    """
    shape = [-1, 1]
    ranked = torch.nan_to_num(curves.double(), nan=-2.0) + 1e-10 * penalties.double().log().view(shape)
    return len(penalties) - 1 - ranked.flip(-2).argmax(-2)
