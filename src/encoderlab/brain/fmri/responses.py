"""Read the responses of the brain to S stories, each a (T_s, V) array of TRs x voxels, a range of voxels at a time.

A whole brain over a hundred stories is 13 to 26 GB, so nothing here holds more than the slice that is read. Files are
memory-mapped (.npy) or read by slices (HDF5), and `read` is the only way to the numbers.
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

    Attributes:
        names: the stories' names, for messages.
        lengths: the number of TRs of each story, T_s.
        voxels: the number of voxels, V.
        load: load(story, slice of voxels) returns that array.
        repeats: {story: how often it was played}, for stories that were played more than once.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    voxels: int
    load: Callable[[int, slice], NDArray[Any]]
    repeats: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, story: int, voxels: slice) -> NDArray[np.floating]:
        """Read (T_s, voxels of the slice), float32 or float64 as stored; other types become float64."""
        block = np.asarray(self.load(story, voxels))
        return block if block.dtype in (np.float32, np.float64) else block.astype(np.float64)

    def without(self, left_out: Sequence[NDArray[np.bool_] | None]) -> StoryResponses:
        """Leave out some TRs.

        Args:
            left_out: one (T_s,) mask a story, True for a TR to leave out; None keeps all TRs of the story.
        """
        if not any(rows is not None for rows in left_out):
            return self
        remaining = [None if rows is None else np.flatnonzero(~rows) for rows in left_out]

        def load(story: int, voxels: slice) -> NDArray[Any]:
            rows, block = remaining[story], self.read(story, voxels)
            return block if rows is None else block[rows]

        lengths = [length if rows is None else len(rows) for length, rows in zip(self.lengths, remaining, strict=True)]
        return replace(self, lengths=tuple(lengths), load=load)

    def missing_in(self, stories: Sequence[int]) -> StoryResponses:
        """Replace every response to some stories by nan, which leaves them out of training and scoring."""
        if not stories:
            return self

        def load(story: int, voxels: slice) -> NDArray[Any]:
            block = self.read(story, voxels)
            return np.full_like(block, np.nan) if story in stories else block

        return replace(self, load=load)

    def centred(self) -> StoryResponses:
        """Subtract each voxel's mean within each story; TRs that are nan do not enter the mean."""

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
        """Take one (T_s, V) array a story; without `names`, stories are called by their numbers."""
        blocks = [np.asarray(block) for block in arrays]
        return cls._checked(names, [b.shape for b in blocks], [b.dtype for b in blocks], lambda s, v: blocks[s][:, v])

    @classmethod
    def from_npy(cls, paths: Sequence[str | Path]) -> StoryResponses:
        """Take one .npy file per story, memory-mapped; a story has the name of its file."""
        return cls.from_places([Path(path).stem for path in paths], [Place(file=Path(path)) for path in paths])

    @classmethod
    def from_hdf5(cls, path: str | Path, names: Sequence[str]) -> StoryResponses:
        """Take one data set per story of an HDF5 file, which is opened for every read of a slice."""
        return cls.from_places(names, [Place(file=Path(path), key=name) for name in names])

    @classmethod
    def from_places(cls, names: Sequence[str], places: Sequence[Place]) -> StoryResponses:
        """Take one array on disk a story."""
        return cls.from_opened(names, [place.open() for place in places])

    @classmethod
    def from_opened(cls, names: Sequence[str], arrays: Sequence[Array]) -> StoryResponses:
        """Take one opened array a story."""
        return cls._checked(names, [a.shape for a in arrays], [a.dtype for a in arrays], lambda s, v: arrays[s].load(v))

    @classmethod
    def from_matrix(
        cls, matrix: ArrayLike, offsets: Sequence[int], names: Sequence[str] | None = None
    ) -> StoryResponses:
        """Take stories stacked in one (T, V) matrix, where story s is rows offsets[s]:offsets[s + 1].

        Raises:
            InputError: the offsets do not fit the matrix.
        """
        rows = np.asanyarray(matrix)
        edges = [int(edge) for edge in offsets]
        if rows.ndim != 2 or edges[:1] != [0] or edges[-1] != len(rows) or any(np.diff(edges) < 0):
            raise InputError(
                f"responses: offsets from {edges[:1]} to {edges[-1:]} for a matrix of shape {rows.shape}; expected "
                f"ascending offsets from 0 to its {len(rows)} rows, one more than the stories"
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
        """Build the responses, or raise InputError listing every array whose shape or type is wrong."""
        names = [str(story) for story in range(len(shapes))] if names is None else names
        if len(names) != len(shapes):
            raise InputError(f"responses: {len(names)} names for {len(shapes)} stories; expected one name per story")
        if not shapes:
            raise InputError("responses: no story; expected at least one")
        problems = []
        widths = [shape[1] for shape in shapes if len(shape) == 2]
        if transposed := _transposed(names, shapes):
            raise InputError(transposed)
        hint = f" (the first axis is {shapes[0][:1]} in all of them: if these are voxels, save array.T)"
        usual = max(widths, key=widths.count, default=0)  # the story unlike the others is wrong, even if it is first
        for name, shape, dtype in zip(names, shapes, dtypes, strict=True):
            if len(shape) != 2 or 0 in shape:
                problems.append(
                    f"story {name}: responses have shape {shape}; expected (TRs, voxels), neither of them 0"
                )
            elif shape[1] != usual and shape[0] == usual and len(shapes) > 2:
                problems.append(
                    f"story {name}: responses have shape {shape}, which seems to be (voxels, TRs); expected (TRs, "
                    "voxels); save array.T"
                )
            elif shape[1] != usual:
                other = names[next(i for i, s in enumerate(shapes) if len(s) == 2 and s[1] == usual)]
                problems.append(
                    f"story {name}: responses of {shape[1]} voxels, story {other} has {usual}; expected the same "
                    "voxels in all stories" + (hint if len({shape[:1] for shape in shapes}) == 1 else "")
                )
            if dtype.kind not in "fiu":
                problems.append(f"story {name}: responses of type {dtype}; expected numbers")
        if problems:
            raise InputError(*problems)
        return cls(names=tuple(names), lengths=tuple(shape[0] for shape in shapes), voxels=shapes[0][1], load=load)


def _transposed(names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> str | None:
    """Describe the problem if all arrays are (voxels, TRs): their first axes are equal, their second axes are not."""
    flat = [shape for shape in shapes if len(shape) == 2]
    second = [b for _, b in flat]
    usual = max(map(second.count, second), default=0)
    if len(flat) < max(3, len(shapes)) or len({a for a, _ in flat}) > 1 or 2 * usual > len(flat):
        return None
    return (
        f"story {names[0]}: responses have shape {flat[0]}, story {names[1]} {flat[1]}: the first axis has the same "
        f"length in all stories, so the arrays seem to be (voxels, TRs); expected (TRs, voxels); save array.T"
    )
