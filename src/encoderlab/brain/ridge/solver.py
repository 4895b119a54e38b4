"""All models of the stories that one group of voxels has: the search for alpha, and the scores at the chosen alpha.

Per batch of voxels, with Z from `gram` and models from `heldout`:

    W = sum of Z_s'Y_s                       once
    model of work.held: W minus the W_s      for every fold (flat), for every pair of blocks (nested)
    p of every scored story and penalty  ->  three sums per voxel; the predictions themselves are not kept
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoderlab.brain.ridge.alpha_selection import Work
from encoderlab.brain.ridge.gram import Basis, product
from encoderlab.brain.ridge.held_out import Downdated, Identity, amplifies, cheaper
from encoderlab.brain.ridge.moments import Moments
from encoderlab.brain.ridge.voxel_batches import Batch

HeldOut = Callable[[int, slice, NDArray[np.floating], NDArray[np.floating]], None]
EVERY = slice(None)
AMPLIFICATION = 100.0  # of rounding; beyond it products are in float64, so that scores stay within 1e-5


class Engine:
    """penalties: ascending, on the squared norm. works: every model it will be asked for. counted: uses of a method."""

    def __init__(
        self,
        basis: Basis,
        penalties: Sequence[float],
        *,
        method: str,
        intercept: bool,
        precision: str,
        works: Sequence[Work],
        memory: float,
        tick: Callable[[int], None],
    ) -> None:
        self.basis, self.penalties, self.method, self.intercept = basis, tuple(penalties), method, intercept
        self.works, self.memory, self.tick = works, memory, tick
        single = precision == "float32" and not any(
            amplifies(basis, work.held, self.penalties[0], AMPLIFICATION) for work in works
        )
        self.dtype = torch.float32 if single else torch.float64
        self.stories = tuple(basis.stories)
        self.lengths = {story: len(rows) for story, rows in basis.stories.items()}
        self.counted = {"identity": 0, "downdate": 0}

    def bytes_per_voxel(self, choosers: int) -> int:
        """What a batch needs for each voxel: weights, one model's predictions, and the sums or curves."""
        number = self.dtype.itemsize
        held = max(sum(self.lengths[story] for story in work.held) for work in self.works)
        sums = len(self.penalties) * (len(self.stories) * (3 * number + 16) + choosers * 24)
        return self.basis.directions * (24 + 2 * number) + number * (5 * max(self.lengths.values()) + held) + sums

    def flat(self, batch: Batch, works: Sequence[Work], folds: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Curves of the folds (folds, A, n), of all stories (A, n), and the sums (S, A, n) that scores are made of."""
        shape = (len(self.stories), len(self.penalties), len(batch))
        sums = {name: self._empty(shape, self.dtype) for name in ("predicted", "product", "mean")}
        own = self._empty((folds, *shape[1:]), torch.float64)
        counts = self._empty((folds, 1, len(batch)), torch.float64)
        for work, model in self._models(batch, works):
            actual = {story: batch.centred(story)[0] for story, _ in work.scored}
            for story, i, p in model.predict(list(actual), self.penalties, [EVERY] * len(self.penalties)):
                row = self.stories.index(story)
                for name, value in self._sums(story, p, actual[story]).items():
                    sums[name][row, i] = value
            for story, fold in work.scored:
                row = self.stories.index(story)
                r, known = _r(sums["product"][row], sums["predicted"][row], actual[story])
                own[fold] += r
                counts[fold] += known
        total, known = own.sum(0), counts.sum(0)
        # a fold's curve is summed over the other folds: a difference would keep the rounding of its own scores
        curves = torch.stack([_without(own, fold) / _without(counts, fold) for fold in range(folds)])
        return curves, total / known, sums

    def nested(self, batch: Batch, works: Sequence[Work], blocks: int) -> tuple[Tensor, Tensor]:
        """Curves of the blocks (blocks, A, n), and of all inner held-out scores (A, n)."""
        sums = self._empty((blocks, len(self.penalties), len(batch)), torch.float64)
        counts = self._empty((blocks, 1, len(batch)), torch.float64)
        for work, model in self._models(batch, works):
            actual = {story: batch.centred(story)[0] for story, _ in work.scored}
            chooser = dict(work.scored)
            for story, i, p in model.predict(list(actual), self.penalties, [EVERY] * len(self.penalties)):
                found = self._sums(story, p, actual[story])
                r, known = _r(found["product"], found["predicted"], actual[story])
                sums[chooser[story], i] += r
                if i == 0:
                    counts[chooser[story]] += known
        return sums / counts, sums.sum(0) / counts.sum(0)

    def chosen(self, batch: Batch, choice: Tensor, works: Sequence[Work], sums: Mapping[str, Tensor]) -> Moments:
        """Moments at the chosen alpha, taken from the sums of `flat`. choice: (folds, n) positions in the grid."""
        taken = {name: torch.full_like(value[:, 0], torch.nan) for name, value in sums.items()}
        for story, fold in (pair for work in works for pair in work.scored):
            row = self.stories.index(story)
            for name, value in sums.items():
                taken[name][row] = value[row].gather(0, choice[fold][None])[0]
        return self._moments(batch, taken)

    def predicted(self, batch: Batch, choice: Tensor, works: Sequence[Work], held_out: HeldOut | None) -> Moments:
        """Moments at the chosen alpha, from one more model per fold; `held_out` gets every prediction."""
        blank = torch.full((len(self.stories), len(batch)), torch.nan, dtype=self.dtype, device=batch.device)
        taken = {name: blank.clone() for name in ("predicted", "product", "mean")}
        for work, model in self._models(batch, works):
            positions = choice[work.scored[0][1]]
            used = torch.unique(positions).tolist()
            voxels: list[Tensor | slice] = [torch.nonzero(positions == position)[:, 0] for position in used]
            whole = {s: self._empty((self.lengths[s] + 1, len(batch)), self.dtype) for s, _ in work.scored}
            for story, i, p in model.predict(list(whole), [self.penalties[position] for position in used], voxels):
                whole[story][:, voxels[i]] = p
            for story, p in whole.items():
                row = self.stories.index(story)
                for name, value in self._sums(story, p, batch.centred(story)[0]).items():
                    taken[name][row] = value
                if held_out is not None:
                    _hand_over(batch, story, p, held_out)
        return self._moments(batch, taken)

    def _models(self, batch: Batch, works: Sequence[Work]) -> Iterator[tuple[Work, Downdated | Identity]]:
        number = self.dtype.itemsize
        width = self.basis.directions + int(self.basis.centred)
        keep = len(self.stories) * width * len(batch) * number < self.memory / 4
        kept: dict[int, Tensor] = {}

        def cross(story: int) -> Tensor:
            if story in kept:
                return kept[story]
            weights = product(self.basis.stories[story].to(self.dtype).T, batch.read(story))
            if keep:
                kept[story] = weights
            return weights

        total = self._empty((width, len(batch)), torch.float64)
        for story in self.stories:
            total += cross(story)
        for work in works:
            model = self._model(work.held, len(batch))
            # what was added goes out again up to the rounding of float64, also where it was nearly all
            left = total.clone()
            for story in work.held:
                left -= cross(story)
            model.fit(left)
            yield work, model
            self.tick(len(batch))

    def _model(self, held: Sequence[int], voxels: int) -> Downdated | Identity:
        method = self.method
        if method == "auto" and self.basis.vectors is None:
            rows = sum(self.lengths[story] for story in held)
            method = cheaper(rows, self.basis.directions, voxels, len(self.penalties))
        if method == "identity":
            self.counted["identity"] += 1
            return Identity(self.basis, held, self.dtype)
        self.counted["downdate"] += 1
        return Downdated(self.basis, held, self.dtype, intercept=self.intercept)

    def _sums(self, story: int, p: Tensor, actual: Tensor) -> dict[str, Tensor]:
        still = 0.0 if story in self.basis.still else 1.0
        rows = p[:-1]
        return {
            "predicted": rows.square().sum(0) * still,
            "product": (rows * actual).sum(0) * still,
            "mean": p[-1],
        }

    def _moments(self, batch: Batch, taken: Mapping[str, Tensor]) -> Moments:
        found = [batch.centred(story) for story in self.stories]
        return Moments(
            predicted=_numpy(taken["predicted"]),
            product=_numpy(taken["product"]),
            predicted_mean=_numpy(taken["mean"]),
            actual=np.stack([_numpy(y.square().sum(0)) for y, _ in found]),
            actual_mean=np.stack([_numpy(mean) for _, mean in found]),
            lengths=np.array([self.lengths[story] for story in self.stories], dtype=np.int64),
        )

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.basis.values.device)


def _r(product: Tensor, predicted: Tensor, actual: Tensor) -> tuple[Tensor, Tensor]:
    """(..., n) r, 0 where there is none; (n,) 1 where the response varies."""
    square = actual.square().sum(0).double()
    scale = (predicted.double() * square).sqrt()
    return torch.where(scale > 0, product.double() / torch.where(scale > 0, scale, 1.0), 0.0), (square > 0).double()


def _without(values: Tensor, fold: int) -> Tensor:
    return values[:fold].sum(0) + values[fold + 1 :].sum(0)


def _hand_over(batch: Batch, story: int, p: Tensor, held_out: HeldOut) -> None:
    predicted = _numpy(p[:-1] + p[-1]) * batch.scale + batch.shift
    actual = batch.stored(story)
    for within, voxels in batch.runs():
        held_out(story, voxels, predicted[:, within].astype(actual.dtype), actual[:, within])


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.double().cpu().numpy()
