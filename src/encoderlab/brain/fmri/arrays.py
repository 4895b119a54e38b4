"""Open an array on disk: its shape and type at once, a range of its voxels when it is read."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np
from numpy.typing import NDArray

from encoderlab.core.errors import InputError, first_line

# Words in the name of an array that does not hold the responses to a story.
ASIDE = frozenset(
    "mask masks affine affines roi rois atlas parcellation voxel voxels vox coord coords coordinates ijk xyz xfm "
    "transform header meta metadata info params parameters motion confounds regressors mapper vertices faces surface "
    "ceiling ceilings ev reliability isc snr tsnr alpha alphas weights labels names runs onsets offsets".split()
)


@final
@dataclass(frozen=True, kw_only=True)
class Array:
    """An opened array.

    Attributes:
        shape: as stored.
        dtype: as stored.
        load: load(voxels) reads that slice of the last axis, and all of the other axes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[slice], NDArray[Any]]


@final
@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of an array: a .npy file, or a data set of an HDF5 or .npz file.

    Attributes:
        file: the file.
        key: the data set; None for a .npy file.
        rows: its first row and the row after its last, if stories are stacked.
    """

    file: Path
    key: str | None = None
    rows: tuple[int, int] | None = None

    def __str__(self) -> str:
        key = "" if self.key is None else f"/{self.key}"
        rows = "" if self.rows is None else f" rows {self.rows[0]} to {self.rows[1]}"
        return f"{self.file.name}{key}{rows}"

    def open(self, npz_arrays: dict[Place, NDArray[Any]] | None = None) -> Array:
        """Open the array.

        Args:
            npz_arrays: .npz arrays that were read already, to which this call adds its own; each is read once, whole.

        Raises:
            InputError: the array cannot be read.
        """
        if self.key is None:
            block = mapped(self.file)
        elif self.file.suffix.lower() == ".npz":
            whole, npz_arrays = Place(file=self.file, key=self.key), {} if npz_arrays is None else npz_arrays
            if whole not in npz_arrays:
                with npz(self.file) as file:
                    npz_arrays[whole] = member(self.file, file, self.key)
            block = npz_arrays[whole] if self.rows is None else npz_arrays[whole][self.rows[0] : self.rows[1]]
        else:
            return self._hdf5()
        return Array(shape=block.shape, dtype=block.dtype, load=lambda voxels: block[..., voxels])

    def _hdf5(self) -> Array:
        key = str(self.key)

        def load(voxels: slice) -> NDArray[Any]:
            with hdf5(self.file) as file:
                return file[key][..., voxels]  # type: ignore[index]

        with hdf5(self.file) as file:
            dataset = file.get(key)
            if not isinstance(dataset, h5py.Dataset):
                raise InputError(f"{self.file}: no data set {key!r} in this HDF5 file")
            return Array(shape=dataset.shape or (), dtype=dataset.dtype, load=load)


def why_no_story(name: str, place: Place) -> str | None:
    """Explain why an array without a transcript cannot hold responses to a story; None if it may hold them.

    Its name (mask, affine, ...) or its form may exclude it: responses are numbers in two axes, or three with repeats.
    """
    if words := ASIDE.intersection(re.split(r"[^a-z]+", name.lower())):
        return f"named {min(words)}"
    try:
        array = place.open()
    except InputError:
        return None  # it is reported when the stories are read
    if array.dtype.kind not in "fiu":
        return f"of type {array.dtype}"
    return f"of shape {array.shape}" if len(array.shape) not in (2, 3) else None


def mapped(path: Path) -> NDArray[Any]:
    """Memory-map a .npy file, or raise InputError."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as .npy: {error}; save it again") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: several arrays in one file (.npz); expected one array (TRs, voxels)")
    return array


def hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading, or raise InputError."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5: {first_line(error)}; copy it again") from None


def npz(path: Path) -> np.lib.npyio.NpzFile:
    """Open an .npz file for reading without unpickling anything, or raise InputError."""
    try:
        file = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz: {first_line(error)}; copy it again") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise InputError(f"{path}: a single array, not an .npz file; expected one array per story")
    return file


def member(path: Path, file: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
    """Read one array of an .npz file, or raise InputError."""
    try:
        return file[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: {name} cannot be read: {first_line(error)}") from None
