"""One array on disk: its shape and type before anything of it is read, and a range of its voxels when it is wanted."""

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

from encoderlab.core.errors import InputError

# Words in the name of an array that holds something else than the responses to a story.
ASIDE = frozenset(
    "mask masks affine affines roi rois atlas parcellation voxel voxels vox coord coords coordinates ijk xyz xfm "
    "transform header meta metadata info params parameters motion confounds regressors mapper vertices faces surface "
    "ceiling ceilings ev reliability isc snr tsnr alpha alphas weights labels names runs onsets offsets".split()
)


@final
@dataclass(frozen=True, kw_only=True)
class Array:
    """shape, dtype: as stored. load(voxels): that slice of the last axis, all of the others."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[slice], NDArray[Any]]


@final
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an array lies: a .npy file, or a data set of an HDF5 or .npz file.

    rows: start and stop of it, where stories are stacked.
    """

    file: Path
    key: str | None = None
    rows: tuple[int, int] | None = None

    def __str__(self) -> str:
        key = "" if self.key is None else f"/{self.key}"
        rows = "" if self.rows is None else f" rows {self.rows[0]} to {self.rows[1]}"
        return f"{self.file.name}{key}{rows}"

    def open(self, held: dict[Place, NDArray[Any]] | None = None) -> Array:
        """Look at the array. InputError where it cannot be read.

        Args:
            held: arrays of .npz files that were read already; they are read whole, and once.
        """
        if self.key is None:
            block = mapped(self.file)
        elif self.file.suffix.lower() == ".npz":
            whole, held = Place(file=self.file, key=self.key), {} if held is None else held
            if whole not in held:
                with npz(self.file) as file:
                    held[whole] = member(self.file, file, self.key)
            block = held[whole] if self.rows is None else held[whole][self.rows[0] : self.rows[1]]
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
                raise InputError(f"{self.file}: no dataset {key!r} in this HDF5 file")
            return Array(shape=dataset.shape or (), dtype=dataset.dtype, load=load)


def why_no_story(name: str, place: Place) -> str | None:
    """Say why an array without a transcript holds no responses to a story; None where it may.

    Its name says so (mask, affine, ...), or its form does: responses are numbers in two axes, or three with repeats.
    """
    if said := ASIDE.intersection(re.split(r"[^a-z]+", name.lower())):
        return f"named {min(said)}"
    try:
        array = place.open()
    except InputError:
        return None  # read with the stories, it is reported as what it is
    if array.dtype.kind not in "fiu":
        return f"of type {array.dtype}"
    return f"of shape {array.shape}" if len(array.shape) not in (2, 3) else None


def mapped(path: Path) -> NDArray[Any]:
    """A .npy file, memory-mapped."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as .npy: {error}") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: several arrays in one file (.npz); expected one array (TRs, voxels)")
    return array


def hdf5(path: Path) -> h5py.File:
    """An HDF5 file, opened for reading."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5: {str(error).splitlines()[0]}") from None


def npz(path: Path) -> np.lib.npyio.NpzFile:
    """An .npz file, opened for reading; nothing is unpickled."""
    try:
        file = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz: {str(error).splitlines()[0]}") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise InputError(f"{path}: one array, not an .npz; expected one array a story")
    return file


def member(path: Path, file: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
    """One array of an .npz file."""
    try:
        return file[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: {name} cannot be read: {str(error).splitlines()[0]}") from None
