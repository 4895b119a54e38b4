"""Define which held-out scores choose the alpha of a fold.

    flat     alpha of fold f = argmax of the mean held-out r over the stories outside f. The models of these stories
             trained on f's stories: cheap, because every prediction is needed anyway, and slightly optimistic.
    nested   the models that choose did not train on f's stories. The folds form `groups` blocks. The alpha of the
             folds of a block comes from the other blocks, each held out in turn by models that train without both
             (Varma & Simon 2006). The pair (b, g) is one model: it predicts g for b and b for g.
             With fewer folds than groups every fold is a block, and its training stories form groups of their own.

The scores of a story never enter the choice of its own fold's alpha.
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
    """One model to run.

    Attributes:
        held: the stories that it trains without.
        scored: (story, chooser) pairs: the r of the story counts for that chooser.
    """

    held: tuple[int, ...]
    scored: tuple[tuple[int, int], ...]

    def among(self, present: Sequence[int]) -> Work | None:
        """Restrict the model to these stories; None if nothing is left to score, or to train on."""
        held = tuple(story for story in self.held if story in present)
        scored = tuple((story, chooser) for story, chooser in self.scored if story in present)
        return Work(held=held, scored=scored) if scored and len(held) < len(present) else None


def flat(folds: Folds) -> list[Work]:
    """List one model per fold; the chooser of a score is the fold of its story."""
    return [
        Work(held=fold, scored=tuple((story, number) for story in fold)) for number, fold in enumerate(folds.held_out)
    ]


def nested(folds: Folds, groups: int) -> tuple[list[Work], list[int]]:
    """List the models, and the chooser (block) of every fold; the chooser of a score is the block it chooses for."""
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
    """Choose the best alpha: (..., A, V) mean r -> (..., V) positions; ties go to the larger penalty.

    The rule is himalaya's: r + 1e-10 log(penalty), so that scores equal up to rounding are a tie.

    Args:
        curves: (..., A, V) mean r.
        penalties: (A,) ascending.
    """
    shape = [-1, 1]
    ranked = torch.nan_to_num(curves.double(), nan=-2.0) + 1e-10 * penalties.double().log().view(shape)
    return len(penalties) - 1 - ranked.flip(-2).argmax(-2)
