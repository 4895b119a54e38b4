"""Carry out one call of `Ridge.score`: groups of voxels, batches of a group, alpha for each fold, tables of scores."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.ridge import alpha_selection
from encoderlab.brain.ridge.alpha_selection import Work
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.ridge.gram import rotate
from encoderlab.brain.ridge.inputs import open_device
from encoderlab.brain.ridge.result import RidgeResult, Tables
from encoderlab.brain.ridge.settings import RidgeSettings
from encoderlab.brain.ridge.solver import Engine, HeldOut
from encoderlab.brain.ridge.voxel_batches import Batch, batches, survey
from encoderlab.core.errors import InputError

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One batch of voxels with its models.

    Attributes:
        engine: the engine of the batch's group.
        batch: the voxels.
        outer: the models that predict the held-out stories.
        inner: the models that choose alpha.
    """

    engine: Engine
    batch: Batch
    outer: list[Work]
    inner: list[Work]


class Run:
    """One ridge regression: settings, features, responses and folds, with its progress and timings.

    Args:
        ridge: the settings.
        features: one (T_s, F) array a story, as `inputs.checked` returns them.
        responses: the responses to the same stories.
        folds: the stories that are held out together.
        only: the folds to score; None means all.
        held_out: gets every prediction once.
        device: where tensors are.
        progress: progress(done, all), in models x voxels.
    """

    def __init__(
        self,
        ridge: RidgeSettings,
        features: list[NDArray[np.floating]],
        responses: StoryResponses,
        folds: Folds,
        *,
        only: Collection[int] | None,
        held_out: HeldOut | None,
        device: str,
        progress: Progress | None,
    ) -> None:
        self.ridge, self.features, self.responses, self.folds = ridge, features, responses, folds
        self.held_out, self.progress = held_out, progress
        self.device = open_device(device)
        self.grid = sorted(set(ridge.alphas))
        self.penalties = [alpha**2 if ridge.convention == "huth" else alpha for alpha in self.grid]
        self.memory = ridge.memory_gib * 2**30
        self.outer = alpha_selection.flat(folds)
        if ridge.scheme == "flat":
            self.inner, self.chooser, self.groups = self.outer, list(range(len(folds))), None
        else:
            self.groups = min(ridge.groups or alpha_selection.GROUPS, folds.stories)
            self.inner, self.chooser = alpha_selection.nested(folds, self.groups)
        if only is not None:
            self._restrict(set(only))
        self.scored = {story for work in self.outer for story, _ in work.scored}
        # The sums of the flat search hold the scores of every alpha; otherwise each fold is predicted once more.
        self.reuse = ridge.scheme == "flat" and not ridge.shared_alpha and held_out is None
        self.timings: dict[str, float] = {}
        self.used: Counter[str] = Counter()
        self.done, self.unscored, self.promoted = 0, 0, False

    def result(self) -> RidgeResult:
        """Run everything, and return the scores.

        Raises:
            InputError: the folds leave too few stories to choose an alpha.
        """
        stories, voxels = len(self.features), self.responses.voxels
        if len(self._possible(range(stories))[0]) < len(self.outer):
            raise InputError(
                f"folds: {len(self.folds)} folds of {stories} stories leave too few stories outside a fold to choose "
                f"its alpha by the {self.ridge.scheme} scheme; use at least 3 stories, or hold out fewer at a time"
            )
        # Read all responses once, to learn which voxels have which stories.
        with self._timed("survey"):
            self.survey = survey(self.responses, self.memory / 2)
        tables = Tables(stories, voxels, len(self.folds), self.grid)
        # One alpha for all voxels needs a search over all batches before the first score.
        shared = self._shared(tables) if self.ridge.shared_alpha else None
        for part in self._parts():
            if shared is not None:
                self._score(part, shared.expand(-1, len(part.batch)), None, tables)
                continue
            # Search: curves (choosers, A, n) and their mean over stories (A, n).
            with self._timed("search"):
                curves, curve, sums = self._search(part)
            tables.curve[:, part.batch.voxels] = curve.cpu().numpy()
            # Choose: positions in the grid, (folds, n).
            choice = alpha_selection.choose(curves, torch.tensor(self.penalties, device=self.device))[self.chooser]
            del curves, curve
            self._score(part, choice, sums, tables)
        if self.progress is not None:
            self.progress(self._models() * voxels, self._models() * voxels)
        return RidgeResult(
            scores=tables.scores,
            pooled=tables.pooled,
            r2=tables.r2,
            alphas=tables.alphas,
            curve=tables.curve,
            grid=tuple(self.grid),
            convention=self.ridge.convention,
            scheme=self.ridge.scheme,
            groups=self.groups,
            missing=tuple((s, int(n)) for s, n in enumerate(self.survey.missing.sum(axis=1)) if n),
            empty=int(self.survey.empty.sum()),
            constant=int(self.survey.constant.sum()),
            notes=tuple(self._notes()),
            warnings=tuple(self._warnings(tables)),
            timings=self.timings,
        )

    def _parts(self) -> Iterator[Part]:
        """Yield every batch of every group of voxels that have the same stories."""
        ridge = self.ridge
        self.unscored = 0
        for stories, voxels in self.survey.groups():
            # Models without the stories that this group lacks.
            outer, inner = self._possible(stories)
            self.unscored += (len(self.scored.intersection(stories)) - sum(len(w.scored) for w in outer)) * len(voxels)
            if not outer:
                continue
            rows = sum(self.responses.lengths[story] for story in stories)
            # One decomposition serves all batches of the group.
            with self._timed("basis"):
                basis = rotate(
                    {story: self.features[story] for story in stories},
                    centred=ridge.intercept,
                    standardised=ridge.standardise,
                    dual=ridge.method == "dual" or rows < self.features[0].shape[1],
                    device=self.device,
                )
                engine = Engine(
                    basis,
                    self.penalties,
                    method="auto" if ridge.method == "dual" else ridge.method,
                    intercept=ridge.intercept,
                    precision=ridge.precision,
                    works=outer if inner == outer else [*outer, *inner],
                    memory=self.memory,
                    on_progress=self._on_progress,
                )
            self.promoted |= ridge.precision == "float32" and engine.dtype == torch.float64
            # As many voxels at a time as half of the memory holds; responses are kept if they fit into a quarter.
            size = max(1, int(self.memory / 2 / engine.bytes_per_voxel(1 + max(self.chooser))))
            for batch in batches(
                self.survey,
                self.responses,
                stories,
                voxels,
                size=size,
                keep=rows * min(size, len(voxels)) * engine.dtype.itemsize < self.memory / 4,
                shifted=ridge.intercept,
                dtype=engine.dtype,
                device=self.device,
            ):
                yield Part(engine=engine, batch=batch, outer=outer, inner=inner)
            self.used.update(engine.counted)

    def _restrict(self, only: set[int]) -> None:
        """Keep only the models of some folds, and the models that choose their alphas."""
        if not only <= set(range(len(self.folds))) or not only:
            raise InputError(f"only {sorted(only)}: expected some of the folds 0 to {len(self.folds) - 1}")
        self.outer = [work for work in self.outer if work.scored[0][1] in only]
        if self.ridge.scheme == "nested":
            wanted = {self.chooser[fold] for fold in only}
            pairs = [(w.held, tuple(pair for pair in w.scored if pair[1] in wanted)) for w in self.inner]
            self.inner = [Work(held=held, scored=scored) for held, scored in pairs if scored]

    def _possible(self, stories: Sequence[int]) -> tuple[list[Work], list[Work]]:
        """List the models of the folds whose alpha can be chosen among these stories, and the models that choose."""
        inner = [work for each in self.inner if (work := each.among(stories))]
        outer = [work for each in self.outer if (work := each.among(stories))]
        if self.ridge.scheme == "flat":  # a fold needs a score outside it to choose its alpha
            return (outer, inner) if len(inner) > 1 else ([], [])
        served = {chooser for work in inner for _, chooser in work.scored}
        outer = [work for work in outer if self.chooser[work.scored[0][1]] in served]
        return outer, inner if outer else []

    def _search(self, part: Part) -> tuple[Tensor, Tensor, dict[str, Tensor] | None]:
        """Search alpha for a batch: curves (choosers, A, n), their mean over stories (A, n), and the sums of `flat`."""
        if self.ridge.scheme == "flat":
            return part.engine.flat(part.batch, part.inner, len(self.folds))
        return (*part.engine.nested(part.batch, part.inner, 1 + max(self.chooser)), None)

    def _shared(self, tables: Tables) -> Tensor:
        """Choose one alpha a fold, with the best mean r over all voxels: (folds, 1) positions in the grid."""
        total = torch.zeros((1 + max(self.chooser), len(self.grid), 1), dtype=torch.float64, device=self.device)
        votes = torch.zeros_like(total)
        for part in self._parts():
            with self._timed("search"):
                curves, curve, _ = self._search(part)
            tables.curve[:, part.batch.voxels] = curve.cpu().numpy()
            total += curves.nansum(-1, keepdim=True)
            votes += (~curves.isnan()).sum(-1, keepdim=True)
        return alpha_selection.choose(total / votes, torch.tensor(self.penalties, device=self.device))[self.chooser]

    def _score(self, part: Part, choice: Tensor, sums: dict[str, Tensor] | None, tables: Tables) -> None:
        """Write the scores of a batch at the chosen alphas, (folds, n) positions in the grid, into the tables."""
        with self._timed("scores"):
            if self.reuse and sums is not None:
                moments = part.engine.chosen(part.batch, choice, part.outer, sums)
            else:
                moments = part.engine.predicted(part.batch, choice, part.outer, self.held_out)
            folds = [work.scored[0][1] for work in part.outer]
            tables.fill(part.engine.stories, part.batch.voxels, moments, folds, choice.cpu().numpy())

    def _models(self) -> int:
        return len(self.inner) + (0 if self.reuse else len(self.outer))

    def _on_progress(self, voxels: int) -> None:
        self.done += voxels
        if self.progress is not None:
            self.progress(self.done, self._models() * self.responses.voxels)

    def _timed(self, stage: str) -> _Timed:
        return _Timed(self.timings, stage)

    def _notes(self) -> list[str]:
        what = "square root of the penalty" if self.ridge.convention == "huth" else "penalty"
        notes = [f"alpha is the {what} on the squared norm of the weights ({self.ridge.convention})"]
        if self.ridge.scheme == "flat":
            notes.append(
                "flat: a fold's alpha comes from the held-out r of the other stories, whose models trained on the "
                "scored story"
            )
        elif self.groups is not None and len(self.folds) > self.groups:
            notes.append(
                f"nested: the {len(self.folds)} folds form {self.groups} groups; "
                "a fold's alpha comes from the other groups, each held out in turn"
            )
        elif self.groups == len(self.folds):
            notes.append("nested: a fold's alpha comes from the other folds, each held out in turn")
        else:
            notes.append(f"nested: a fold's alpha comes from its training stories, in {self.groups} groups or fewer")
        notes.append(f"models: {self.used['identity']} by the block identity, {self.used['downdate']} by down-dating")
        if self.promoted:
            notes.append(
                f"products are in float64: at alpha {self.grid[0]:g} a held-out story has directions that the others "
                "lack, where float32 would lose digits; a grid that starts at a larger alpha is twice as fast"
            )
        return notes

    def _warnings(self, tables: Tables) -> list[str]:
        warnings = tables.warnings()
        if self.unscored:
            warnings.append(
                f"{self.unscored} (story, voxel) pairs have no score, because too few other stories have that voxel"
            )
        return warnings


class _Timed:
    """A context that adds its seconds to a stage."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self.timings, self.stage = timings, stage

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.timings[self.stage] = self.timings.get(self.stage, 0.0) + time.perf_counter() - self.start
