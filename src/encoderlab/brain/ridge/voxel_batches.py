"""Survey which voxels can be used in which stories, and read the voxels batch by batch as tensors.

A survey reads every response once. A voxel with a nan in a story is left out of that story, in training and in scoring.
Voxels that miss the same stories form a group with a model of its own. In a batch, each voxel is shifted by its level
and scaled by its spread, so float32 products are precise whatever the unit of the responses (percent signal change,
tesla). Shift and scale are medians over stories, so an extreme story costs the others no digits. The scale is a power
of two, which rounds nothing. Without an intercept there is no shift, as it would change the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over all responses found; every array is (S, V).

    Attributes:
        missing: whether some TR has no number.
        empty: whether no TR has a number.
        constant: whether all TRs have the same number.
        mean: the mean over TRs.
        square: the sum of squared deviations from the mean.
    """

    missing: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    constant: NDArray[np.bool_]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]

    def groups(self) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
        """Yield (stories, the voxels that have exactly these stories), the voxels ascending."""
        complete = ~self.missing.any(axis=0)
        stories = range(len(self.missing))
        if complete.any():
            yield tuple(stories), np.flatnonzero(complete)
        odd = np.flatnonzero(~complete)
        patterns, which = np.unique(self.missing[:, odd], axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            yield tuple(s for s in stories if not pattern[s]), odd[np.ravel(which) == number]


def survey(responses: StoryResponses, memory: float) -> Survey:
    """Read every response once.

    Args:
        responses: of all stories.
        memory: bytes for the blocks that are read.

    Raises:
        InputError: a response is infinite, or a file gives another shape than it announced.
    """
    shape = (len(responses), responses.voxels)
    missing, empty, constant = (np.zeros(shape, dtype=bool) for _ in range(3))
    mean, square = np.zeros(shape), np.zeros(shape)
    problems = []
    for story, (name, length) in enumerate(zip(responses.names, responses.lengths, strict=True)):
        width = max(1, int(memory / (32 * length)))
        infinite = 0
        for start in range(0, responses.voxels, width):
            voxels = slice(start, min(start + width, responses.voxels))
            block = responses.read(story, voxels)
            if block.shape != (length, voxels.stop - voxels.start):
                raise InputError(
                    f"story {name}: voxels {voxels.start} to {voxels.stop} have shape {block.shape}; "
                    f"expected {length} TRs of each"
                )
            with np.errstate(invalid="ignore"):
                mean[story, voxels] = block.mean(axis=0, dtype=np.float64)
                missing[story, voxels] = np.isnan(mean[story, voxels])
                empty[story, voxels] = np.isnan(block).all(axis=0)
                infinite += int(np.isinf(block[:, ~np.isfinite(mean[story, voxels])]).any(axis=0).sum())
                constant[story, voxels] = (block == block[0]).all(axis=0)
                centred = block - mean[story, voxels].astype(block.dtype)
                square[story, voxels] = np.einsum("tv,tv->v", centred, centred)
        if infinite:
            problems.append(
                f"story {name}: {infinite} of {responses.voxels} voxels are infinite; expected finite numbers; mark "
                "missing values as nan"
            )
    if problems:
        raise InputError(*problems)
    return Survey(missing=missing, empty=empty, constant=constant, mean=mean, square=square)


@dataclass(kw_only=True)
class Batch:
    """Some voxels of one group, with y = shift + scale * (what `read` returns).

    Attributes:
        responses: of all stories.
        voxels: (n,) their numbers, ascending.
        shift: (n,).
        scale: (n,) powers of two.
        constant: (S, n) whether a response is constant over a story.
        dtype: of the tensors.
        device: of the tensors.
        keep: whether tensors stay in memory.
        cached: {story: its tensor}, for tensors that stay.
    """

    responses: StoryResponses
    voxels: NDArray[np.int64]
    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    constant: NDArray[np.bool_]
    dtype: torch.dtype
    device: torch.device
    keep: bool
    cached: dict[int, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.voxels)

    def runs(self) -> list[tuple[slice, slice]]:
        """List (slice of the batch, slice of the brain) for every run of neighbouring voxels."""
        edges = [0, *(np.flatnonzero(np.diff(self.voxels) != 1) + 1).tolist(), len(self.voxels)]
        return [
            (slice(a, b), slice(int(self.voxels[a]), int(self.voxels[b - 1]) + 1))
            for a, b in zip(edges, edges[1:], strict=False)
        ]

    def stored(self, story: int) -> NDArray[np.floating]:
        """Read (T_s, n) as stored."""
        blocks = [self.responses.read(story, run) for _, run in self.runs()]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)

    def read(self, story: int) -> Tensor:
        """Read (T_s, n), shifted and scaled; with `keep`, it stays in memory."""
        if story in self.cached:
            return self.cached[story]
        block = self.stored(story)
        block = (block - self.shift.astype(block.dtype)) / self.scale.astype(block.dtype)
        tensor = torch.from_numpy(block).to(device=self.device, dtype=self.dtype)
        if self.keep:
            self.cached[story] = tensor
        return tensor

    def centred(self, story: int) -> tuple[Tensor, Tensor]:
        """Read (T_s, n) minus the mean over the story, exactly 0 where constant, and that mean (n,)."""
        y = self.read(story)
        mean = y.mean(0)
        y = y - mean
        y[:, torch.from_numpy(self.constant[story]).to(self.device)] = 0
        return y, mean


def batches(
    surveyed: Survey,
    responses: StoryResponses,
    stories: tuple[int, ...],
    voxels: NDArray[np.int64],
    *,
    size: int,
    keep: bool,
    shifted: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Iterator[Batch]:
    """Yield the voxels of a group, `size` at a time.

    Args:
        surveyed: the survey of the responses.
        responses: of all stories.
        stories: the stories that the voxels of the group have.
        voxels: their numbers.
        size: voxels in a batch.
        keep: whether tensors stay in memory.
        shifted: whether voxels are shifted by their level.
        dtype: of the tensors.
        device: of the tensors.
    """
    lengths = np.array([responses.lengths[story] for story in stories], dtype=np.float64)[:, None]
    for start in range(0, len(voxels), size):
        part = voxels[start : start + size]
        cell = np.array(stories)[:, None], part  # indexes (stories of the group, n)
        # The level and the spread about it, as medians over stories: (n,).
        shift = np.median(surveyed.mean[cell], axis=0) if shifted else np.zeros(len(part))
        spread = np.sqrt(surveyed.square[cell] / lengths + (surveyed.mean[cell] - shift) ** 2)
        middle = np.median(spread, axis=0)
        middle = np.where(middle > 0, middle, spread.max(axis=0))
        yield Batch(
            responses=responses,
            voxels=part,
            shift=shift,
            scale=np.exp2(np.round(np.log2(np.where(middle > 0, middle, 1.0)))),
            constant=surveyed.constant[:, part],
            dtype=dtype,
            device=device,
            keep=keep,
        )
