"""One subject's responses from what they are kept in, for the stories that are asked for.

    a folder     one .npy file a story, (TRs, voxels)
    .h5, .hdf5   one data set a story
    .npz         one array a story, or all of them stacked: `Y` with `offsets` and `stories`

Nothing is unpickled. Of a .npy or HDF5 file only what is needed is read, when it is needed.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import h5py
import numpy as np

from encoderlab.brain.responses import StoryResponses
from encoderlab.errors import InputError

HDF5 = (".h5", ".hdf5", ".hf5")


@final
@dataclass(frozen=True, kw_only=True)
class Subject:
    """What there is of one subject: the names of its stories, in order of their kind."""

    path: Path
    stories: tuple[str, ...]

    def responses(self, names: Sequence[str]) -> StoryResponses:
        """Those of some of its stories. InputError as `StoryResponses`, naming the story and its shape."""
        ending = self.path.suffix.lower()
        if self.path.is_dir():
            return StoryResponses.from_npy([self.path / f"{name}.npy" for name in names])
        if ending in HDF5:
            return StoryResponses.from_hdf5(self.path, list(names))
        with _npz(self.path) as file:
            if "offsets" not in file:
                return StoryResponses.from_arrays([_array(self.path, file, name) for name in names], names)
            matrix, offsets = _array(self.path, file, "Y"), _array(self.path, file, "offsets")
        place = {name: i for i, name in enumerate(self.stories)}
        blocks = [matrix[offsets[place[name]] : offsets[place[name] + 1]] for name in names]
        return StoryResponses.from_arrays(blocks, names)


def open_subject(path: Path | str) -> Subject:
    """What a folder or file has. InputError where it is neither of those above, or has no story."""
    path = Path(path).expanduser()
    if path.is_dir():
        stories = sorted(file.stem for file in path.glob("*.npy") if not file.name.startswith("."))
        expected = "one .npy file a story"
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder; expected responses: a folder of .npy files, .h5 or .npz")
    elif path.suffix.lower() in HDF5:
        try:
            with h5py.File(path, "r") as file:
                stories = [name for name, held in file.items() if isinstance(held, h5py.Dataset)]
        except OSError as error:
            raise InputError(f"{path}: cannot be read as HDF5: {str(error).splitlines()[0]}") from None
        expected = "one data set a story"
    elif path.suffix.lower() == ".npz":
        stories, expected = _npz_stories(path), "one array a story"
    else:
        raise InputError(f"{path}: unknown ending {path.suffix!r}; expected a folder of .npy files, .h5 or .npz")
    if not stories:
        raise InputError(f"{path}: no story in it; expected {expected}")
    return Subject(path=path, stories=tuple(stories))


def _npz(path: Path) -> np.lib.npyio.NpzFile:
    try:
        file = np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz: {str(error).splitlines()[0]}") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise InputError(f"{path}: one array, not an .npz; expected one array a story")
    return file


def _array(path: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return file[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: {name} cannot be read: {str(error).splitlines()[0]}") from None


def _npz_stories(path: Path) -> list[str]:
    with _npz(path) as file:
        if "offsets" not in file:
            return list(file.files)
        if missing := {"Y", "stories"} - set(file.files):
            raise InputError(f"{path}: offsets without {', '.join(sorted(missing))}; expected Y, offsets and stories")
        held = {name: _array(path, file, name) for name in ("Y", "offsets", "stories")}
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in held["stories"].ravel().tolist()]
        offsets, rows = np.atleast_1d(held["offsets"]), len(np.atleast_1d(held["Y"]))
        if len(offsets) != len(names) + 1 or offsets[0] != 0 or offsets[-1] != rows or (np.diff(offsets) < 0).any():
            raise InputError(
                f"{path}: {len(names)} stories, {len(offsets)} offsets that end at {offsets[-1]}, {rows} rows in Y; "
                "expected offsets from 0 to the rows of Y, one more than stories"
            )
        return names
