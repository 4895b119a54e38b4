"""Responses of the brain to S stories, each a (T_s, V) array of TRs x voxels, read a range of voxels at a time.

A whole brain over a hundred stories is 13 to 26 GB, so that nothing here holds more than what was asked for: files are
memory-mapped (.npy) or read by their slices (HDF5), and `read` is the only way to the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoderlab.brain.fmri.arrays import Array, Place
from encoderlab.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class StoryResponses:
    """The responses to S stories; build it with one of the `from_` methods.

    names: of the stories, for messages. lengths: T_s of every story. voxels: V. load(story, slice of voxels): an array.
    repeats: {story: how often it was played}, where that is more than once.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    voxels: int
    load: Callable[[int, slice], NDArray[Any]]
    repeats: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, story: int, voxels: slice) -> NDArray[np.floating]:
        """(T_s, voxels of the slice), float32 or float64, as stored (other types become float64)."""
        block = np.asarray(self.load(story, voxels))
        return block if block.dtype in (np.float32, np.float64) else block.astype(np.float64)

    def without(self, left_out: Sequence[NDArray[np.bool_] | None]) -> StoryResponses:
        """The same without some TRs. left_out: (T_s,) of each story, or None where all stay."""
        if not any(rows is not None for rows in left_out):
            return self
        kept = [None if rows is None else np.flatnonzero(~rows) for rows in left_out]

        def load(story: int, voxels: slice) -> NDArray[Any]:
            rows, block = kept[story], self.read(story, voxels)
            return block if rows is None else block[rows]

        lengths = [length if rows is None else len(rows) for length, rows in zip(self.lengths, kept, strict=True)]
        return replace(self, lengths=tuple(lengths), load=load)

    def missing_in(self, stories: Sequence[int]) -> StoryResponses:
        """The same with nan for every response to some stories, which leaves these out of training and scoring."""
        if not stories:
            return self

        def load(story: int, voxels: slice) -> NDArray[Any]:
            block = self.read(story, voxels)
            return np.full_like(block, np.nan) if story in stories else block

        return replace(self, load=load)

    def centred(self) -> StoryResponses:
        """The same about the mean within each story, voxel by voxel; TRs that are nan have no part in the mean."""

        def load(story: int, voxels: slice) -> NDArray[Any]:
            block = self.read(story, voxels)
            mean = block.mean(axis=0, dtype=np.float64)
            gaps = np.flatnonzero(np.isnan(mean))
            if gaps.size:
                known = ~np.isnan(block[:, gaps])
                total = np.where(known, block[:, gaps], 0).sum(axis=0, dtype=np.float64)
                mean[gaps] = total / np.maximum(known.sum(axis=0), 1)
            # what is infinite stays, for the survey to say so
            return block - np.where(np.isfinite(mean), mean, 0.0).astype(block.dtype)

        return replace(self, load=load)

    @classmethod
    def from_arrays(cls, arrays: Sequence[ArrayLike], names: Sequence[str] | None = None) -> StoryResponses:
        blocks = [np.asarray(block) for block in arrays]
        return cls._checked(names, [b.shape for b in blocks], [b.dtype for b in blocks], lambda s, v: blocks[s][:, v])

    @classmethod
    def from_npy(cls, paths: Sequence[str | Path]) -> StoryResponses:
        """One .npy file per story, memory-mapped; the name of a story is that of its file."""
        return cls.from_places([Path(path).stem for path in paths], [Place(file=Path(path)) for path in paths])

    @classmethod
    def from_hdf5(cls, path: str | Path, names: Sequence[str]) -> StoryResponses:
        """One dataset per story in an HDF5 file; it is opened for every read, and only the slice is read."""
        return cls.from_places(names, [Place(file=Path(path), key=name) for name in names])

    @classmethod
    def from_places(cls, names: Sequence[str], places: Sequence[Place]) -> StoryResponses:
        """One array on disk per story."""
        return cls.from_opened(names, [place.open() for place in places])

    @classmethod
    def from_opened(cls, names: Sequence[str], arrays: Sequence[Array]) -> StoryResponses:
        """One array on disk per story, opened."""
        return cls._checked(names, [a.shape for a in arrays], [a.dtype for a in arrays], lambda s, v: arrays[s].load(v))

    @classmethod
    def from_matrix(
        cls, matrix: ArrayLike, offsets: Sequence[int], names: Sequence[str] | None = None
    ) -> StoryResponses:
        """Stories stacked in one (T, V) matrix (a memory map stays one): story s is rows offsets[s]:offsets[s + 1]."""
        rows = np.asanyarray(matrix)
        edges = [int(edge) for edge in offsets]
        if rows.ndim != 2 or edges[:1] != [0] or edges[-1] != len(rows) or any(np.diff(edges) < 0):
            raise InputError(
                f"responses: offsets rise from 0 to the {len(rows)} rows of the matrix, one more than the stories; "
                f"got {edges[:1]} to {edges[-1:]} for a matrix of shape {rows.shape}"
            )
        shapes = [(stop - start, rows.shape[1]) for start, stop in zip(edges, edges[1:], strict=False)]
        return cls._checked(names, shapes, [rows.dtype] * len(shapes), lambda s, v: rows[edges[s] : edges[s + 1], v])

    @classmethod
    def _checked(
        cls,
        names: Sequence[str] | None,
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[np.dtype[Any]],
        load: Callable[[int, slice], NDArray[Any]],
    ) -> StoryResponses:
        names = [str(story) for story in range(len(shapes))] if names is None else names
        if len(names) != len(shapes):
            raise InputError(f"responses: {len(names)} names for {len(shapes)} stories")
        if not shapes:
            raise InputError("responses: no story")
        problems = []
        widths = [shape[1] for shape in shapes if len(shape) == 2]
        if turned := _turned(names, shapes):
            raise InputError(turned)
        alike = f" (the first axis is {shapes[0][:1]} in all of them: if these are voxels, save array.T)"
        usual = max(widths, key=widths.count, default=0)  # the odd one out is to blame, also where it is the first
        for name, shape, dtype in zip(names, shapes, dtypes, strict=True):
            if len(shape) != 2 or 0 in shape:
                problems.append(
                    f"story {name}: responses have shape {shape}, expected (TRs, voxels), neither of them 0"
                )
            elif shape[1] != usual and shape[0] == usual and len(shapes) > 2:
                problems.append(f"story {name}: responses have shape {shape}, turned (voxels, TRs); save array.T")
            elif shape[1] != usual:
                other = names[next(i for i, one in enumerate(shapes) if len(one) == 2 and one[1] == usual)]
                problems.append(
                    f"story {name}: responses of {shape[1]} voxels, story {other} has {usual}; "
                    "all stories need the same voxels" + (alike if len({shape[:1] for shape in shapes}) == 1 else "")
                )
            if dtype.kind not in "fiu":
                problems.append(f"story {name}: responses of type {dtype}, expected numbers")
        if problems:
            raise InputError(*problems)
        return cls(names=tuple(names), lengths=tuple(shape[0] for shape in shapes), voxels=shapes[0][1], load=load)


def _turned(names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> str | None:
    """What to say of arrays (voxels, TRs): the first axis is the same in all, the second is not."""
    flat = [shape for shape in shapes if len(shape) == 2]
    second = [b for _, b in flat]
    usual = max(map(second.count, second), default=0)
    if len(flat) < max(3, len(shapes)) or len({a for a, _ in flat}) > 1 or 2 * usual > len(flat):
        return None
    return (
        f"story {names[0]}: responses have shape {flat[0]}, story {names[1]} {flat[1]}: the first axis has the same "
        f"length in all stories, so the arrays are turned, (voxels, TRs); expected (TRs, voxels): save array.T"
    )
