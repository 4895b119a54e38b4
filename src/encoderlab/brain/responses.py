"""Responses of the brain to S stories, each a (T_s, V) array of TRs x voxels, read a range of voxels at a time.

A whole brain over a hundred stories is 13 to 26 GB, so that nothing here holds more than what was asked for: files are
memory-mapped (.npy) or read by their slices (HDF5), and `read` is the only way to the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoderlab.errors import InputError


@dataclass(frozen=True, kw_only=True)
class StoryResponses:
    """The responses to S stories; build it with one of the `from_` methods.

    names: of the stories, for messages. lengths: T_s of every story. voxels: V. load(story, slice of voxels): an array.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    voxels: int
    load: Callable[[int, slice], NDArray[Any]]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, story: int, voxels: slice) -> NDArray[np.floating]:
        """(T_s, voxels of the slice), float32 or float64, as stored (other types become float64)."""
        block = np.asarray(self.load(story, voxels))
        return block if block.dtype in (np.float32, np.float64) else block.astype(np.float64)

    @classmethod
    def from_arrays(cls, arrays: Sequence[ArrayLike], names: Sequence[str] | None = None) -> StoryResponses:
        blocks = [np.asarray(block) for block in arrays]
        return cls._checked(names, [b.shape for b in blocks], [b.dtype for b in blocks], lambda s, v: blocks[s][:, v])

    @classmethod
    def from_npy(cls, paths: Sequence[str | Path]) -> StoryResponses:
        """One .npy file per story, memory-mapped; the name of a story is that of its file."""
        blocks = [_mapped(Path(path)) for path in paths]
        names = [Path(path).stem for path in paths]
        return cls._checked(names, [b.shape for b in blocks], [b.dtype for b in blocks], lambda s, v: blocks[s][:, v])

    @classmethod
    def from_hdf5(cls, path: str | Path, names: Sequence[str]) -> StoryResponses:
        """One dataset per story in an HDF5 file; it is opened for every read, and only the slice is read."""
        shapes: list[tuple[int, ...]] = []
        dtypes: list[np.dtype[Any]] = []
        try:
            with h5py.File(path, "r") as file:
                for name in names:
                    dataset = file.get(name)
                    if not isinstance(dataset, h5py.Dataset):
                        raise InputError(f"{path}: no dataset {name!r} in this HDF5 file")
                    shapes.append(dataset.shape)
                    dtypes.append(dataset.dtype)
        except OSError as error:
            raise InputError(f"{path}: cannot be read as HDF5: {error}") from None

        def load(story: int, voxels: slice) -> NDArray[Any]:
            with h5py.File(path, "r") as file:
                dataset = file[names[story]]
                assert isinstance(dataset, h5py.Dataset)
                return dataset[:, voxels]

        return cls._checked(names, shapes, dtypes, load)

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
        usual = max(widths, key=widths.count, default=0)  # the odd one out is to blame, also where it is the first
        for name, shape, dtype in zip(names, shapes, dtypes, strict=True):
            if len(shape) != 2 or 0 in shape:
                problems.append(
                    f"story {name}: responses have shape {shape}, expected (TRs, voxels), neither of them 0"
                )
            elif shape[1] != usual:
                other = names[next(i for i, one in enumerate(shapes) if len(one) == 2 and one[1] == usual)]
                problems.append(
                    f"story {name}: responses of {shape[1]} voxels, story {other} has {usual}; "
                    "all stories need the same voxels"
                )
            if dtype.kind not in "fiu":
                problems.append(f"story {name}: responses of type {dtype}, expected numbers")
        if problems:
            raise InputError(*problems)
        return cls(names=tuple(names), lengths=tuple(shape[0] for shape in shapes), voxels=shapes[0][1], load=load)


def _mapped(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as .npy: {error}") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: several arrays in one file (.npz); expected one array (TRs, voxels)")
    return array
