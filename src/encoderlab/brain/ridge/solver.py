"""Run all models of one group of voxels: the search for alpha, and the scores at the chosen alpha.

For each batch of n voxels, with Z from `gram` and models from `held_out`:

    W = sum of Z_s'Y_s                       once
    model of work.held: W minus the W_s      for every fold (flat), for every pair of blocks (nested)
    p of every scored story and penalty  ->  three sums per voxel; the predictions themselves are not kept

S is the number of stories, A the number of penalties.
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
AMPLIFICATION = 100.0  # of rounding errors; above it products are in float64, so that scores stay within 1e-5


class Engine:
    """The models of one group of voxels, which have the same stories.

    Args:
        basis: the rotated features of these stories.
        penalties: the grid, ascending, on the squared norm of the weights.
        method: "identity" or "downdate"; "auto" takes the cheaper one for each model.
        intercept: whether models have an intercept.
        precision: "float32" or "float64", of the products; float32 becomes float64 where rounding would grow too much.
        works: every model that will be run.
        memory: bytes for a batch.
        on_progress: called with the number of voxels after each model.
    """

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
        on_progress: Callable[[int], None],
    ) -> None:
        self.basis, self.penalties, self.method, self.intercept = basis, tuple(penalties), method, intercept
        self.works, self.memory, self.on_progress = works, memory, on_progress
        single = precision == "float32" and not any(
            amplifies(basis, work.held, self.penalties[0], AMPLIFICATION) for work in works
        )
        self.dtype = torch.float32 if single else torch.float64
        self.stories = tuple(basis.stories)
        self.lengths = {story: len(rows) for story, rows in basis.stories.items()}
        self.counted = {"identity": 0, "downdate": 0}  # models made by each method

    def bytes_per_voxel(self, choosers: int) -> int:
        """Estimate the bytes for each voxel of a batch: weights, one model's predictions, and the sums or curves."""
        number = self.dtype.itemsize
        held = max(sum(self.lengths[story] for story in work.held) for work in self.works)
        sums = len(self.penalties) * (len(self.stories) * (3 * number + 16) + choosers * 24)
        return self.basis.directions * (24 + 2 * number) + number * (5 * max(self.lengths.values()) + held) + sums

    def flat(self, batch: Batch, works: Sequence[Work], folds: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Search alpha by the flat scheme.

        Returns:
            The mean held-out r by which each fold chooses, (folds, A, n); that over all stories, (A, n); and the sums
            that scores are computed from, each (S, A, n).
        """
        shape = (len(self.stories), len(self.penalties), len(batch))
        sums = {name: self._empty(shape, self.dtype) for name in ("predicted", "product", "mean")}
        fold_sums = self._empty((folds, *shape[1:]), torch.float64)  # of r over the stories of each fold
        counts = self._empty((folds, 1, len(batch)), torch.float64)  # stories in each fold with a response that varies
        for work, model in self._models(batch, works):
            actual = {story: batch.centred(story)[0] for story, _ in work.scored}  # (T_s, n)
            # Predict the held-out stories under every penalty, and keep only the sums.
            for story, i, p in model.predict(list(actual), self.penalties, [EVERY] * len(self.penalties)):
                row = self.stories.index(story)
                for name, value in self._sums(story, p, actual[story]).items():
                    sums[name][row, i] = value
            # Add the r of these stories, (A, n), to their folds.
            for story, fold in work.scored:
                row = self.stories.index(story)
                r, varies = _r(sums["product"][row], sums["predicted"][row], actual[story])
                fold_sums[fold] += r
                counts[fold] += varies
        total, count = fold_sums.sum(0), counts.sum(0)
        # A fold's curve is summed over the other folds: a difference would keep the rounding of its own scores.
        curves = torch.stack([_without(fold_sums, fold) / _without(counts, fold) for fold in range(folds)])
        return curves, total / count, sums

    def nested(self, batch: Batch, works: Sequence[Work], blocks: int) -> tuple[Tensor, Tensor]:
        """Search alpha by the nested scheme.

        Returns:
            The mean held-out r by which each block chooses, (blocks, A, n), and that of all inner scores, (A, n).
        """
        sums = self._empty((blocks, len(self.penalties), len(batch)), torch.float64)
        counts = self._empty((blocks, 1, len(batch)), torch.float64)
        for work, model in self._models(batch, works):
            actual = {story: batch.centred(story)[0] for story, _ in work.scored}  # (T_s, n)
            chooser = dict(work.scored)
            # Predict the held-out stories under every penalty, and add their r, (n,), to the block that chooses.
            for story, i, p in model.predict(list(actual), self.penalties, [EVERY] * len(self.penalties)):
                story_sums = self._sums(story, p, actual[story])
                r, varies = _r(story_sums["product"], story_sums["predicted"], actual[story])
                sums[chooser[story], i] += r
                if i == 0:
                    counts[chooser[story]] += varies
        return sums / counts, sums.sum(0) / counts.sum(0)

    def chosen(self, batch: Batch, choice: Tensor, works: Sequence[Work], sums: Mapping[str, Tensor]) -> Moments:
        """Pick the moments at the chosen alpha from the sums of `flat`.

        Args:
            batch: the voxels.
            choice: (folds, n) positions in the grid.
            works: the models of the folds.
            sums: each (S, A, n), from `flat`.
        """
        at_choice = {name: torch.full_like(value[:, 0], torch.nan) for name, value in sums.items()}  # (S, n) each
        for story, fold in (pair for work in works for pair in work.scored):
            row = self.stories.index(story)
            for name, value in sums.items():
                at_choice[name][row] = value[row].gather(0, choice[fold][None])[0]
        return self._moments(batch, at_choice)

    def predicted(self, batch: Batch, choice: Tensor, works: Sequence[Work], held_out: HeldOut | None) -> Moments:
        """Compute the moments at the chosen alpha from one more model per fold.

        Args:
            batch: the voxels.
            choice: (folds, n) positions in the grid.
            works: the models of the folds.
            held_out: gets every prediction, in the unit of the responses.
        """
        blank = torch.full((len(self.stories), len(batch)), torch.nan, dtype=self.dtype, device=batch.device)
        sums = {name: blank.clone() for name in ("predicted", "product", "mean")}  # (S, n) each
        for work, model in self._models(batch, works):
            # Group the voxels by their alpha, so that each penalty predicts only its own voxels.
            positions = choice[work.scored[0][1]]
            used = torch.unique(positions).tolist()
            voxels: list[Tensor | slice] = [torch.nonzero(positions == position)[:, 0] for position in used]
            whole = {s: self._empty((self.lengths[s] + 1, len(batch)), self.dtype) for s, _ in work.scored}
            for story, i, p in model.predict(list(whole), [self.penalties[position] for position in used], voxels):
                whole[story][:, voxels[i]] = p
            # Sum up each story, and hand its predictions over.
            for story, p in whole.items():
                row = self.stories.index(story)
                for name, value in self._sums(story, p, batch.centred(story)[0]).items():
                    sums[name][row] = value
                if held_out is not None:
                    _hand_over(batch, story, p, held_out)
        return self._moments(batch, sums)

    def _models(self, batch: Batch, works: Sequence[Work]) -> Iterator[tuple[Work, Downdated | Identity]]:
        """Yield every model with its work, fitted to the batch."""
        number = self.dtype.itemsize
        width = self.basis.directions + int(self.basis.centred)
        keep = len(self.stories) * width * len(batch) * number < self.memory / 4
        cached: dict[int, Tensor] = {}

        def cross(story: int) -> Tensor:
            """Compute W_s = Z_s'Y_s, (K, n), or (K + 1, n) if centred."""
            if story in cached:
                return cached[story]
            weights = product(self.basis.stories[story].to(self.dtype).T, batch.read(story))
            if keep:
                cached[story] = weights
            return weights

        total = self._empty((width, len(batch)), torch.float64)
        for story in self.stories:
            total += cross(story)
        for work in works:
            model = self._model(work.held, len(batch))
            # In float64 the same terms cancel up to rounding, even if they were nearly the whole sum.
            training = total.clone()
            for story in work.held:
                training -= cross(story)
            model.fit(training)
            yield work, model
            self.on_progress(len(batch))

    def _model(self, held: Sequence[int], voxels: int) -> Downdated | Identity:
        """Make the model that trains without `held`, by the cheaper method if it is free to choose."""
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
        """Sum a prediction (T_s + 1, n) against the centred responses (T_s, n): p.p, p.y and the mean, (n,) each."""
        varying = 0.0 if story in self.basis.still else 1.0  # exactly 0 where no feature of the story changes
        rows = p[:-1]
        return {
            "predicted": rows.square().sum(0) * varying,
            "product": (rows * actual).sum(0) * varying,
            "mean": p[-1],
        }

    def _moments(self, batch: Batch, sums: Mapping[str, Tensor]) -> Moments:
        """Join the sums of predictions, (S, n) each, with those of the responses."""
        responses = [batch.centred(story) for story in self.stories]
        return Moments(
            predicted=_numpy(sums["predicted"]),
            product=_numpy(sums["product"]),
            predicted_mean=_numpy(sums["mean"]),
            actual=np.stack([_numpy(y.square().sum(0)) for y, _ in responses]),
            actual_mean=np.stack([_numpy(mean) for _, mean in responses]),
            lengths=np.array([self.lengths[story] for story in self.stories], dtype=np.int64),
        )

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.basis.values.device)


def _r(product: Tensor, predicted: Tensor, actual: Tensor) -> tuple[Tensor, Tensor]:
    """Compute (..., n) r, 0 where it is undefined, and (n,) 1 where the response varies, else 0."""
    square = actual.square().sum(0).double()
    scale = (predicted.double() * square).sqrt()
    return torch.where(scale > 0, product.double() / torch.where(scale > 0, scale, 1.0), 0.0), (square > 0).double()


def _without(values: Tensor, fold: int) -> Tensor:
    """Sum over all folds except one: (folds, ...) -> (...)."""
    return values[:fold].sum(0) + values[fold + 1 :].sum(0)


def _hand_over(batch: Batch, story: int, p: Tensor, held_out: HeldOut) -> None:
    """Pass the predictions of a story on, in the unit of the responses, a range of neighbouring voxels at a time."""
    predicted = _numpy(p[:-1] + p[-1]) * batch.scale + batch.shift
    actual = batch.stored(story)
    for within, voxels in batch.runs():
        held_out(story, voxels, predicted[:, within].astype(actual.dtype), actual[:, within])


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.double().cpu().numpy()
