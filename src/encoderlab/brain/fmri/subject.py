"""Open the responses of one subject, from a folder or a file.

    a folder               one .npy file per story, (TRs, voxels), or one HDF5 file a story with a data set `data`
    .h5, .hdf, .hdf5, .hf5 one data set per story, or one group a story with a data set `data`; outer groups are ignored
    .npz                   one array per story, or all of them stacked: `Y` with `offsets` and `stories`

A story that was played several times is stacked several times, or is one array (repeats, TRs, voxels). ds003020 has
`individual_repeats` beside `data`, which is their average. Nothing is unpickled. .npy and HDF5 files are read slice by
slice, when the slices are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import h5py
import numpy as np
from numpy.typing import NDArray

from encoderlab.brain.fmri.arrays import Array, Place, hdf5, member, npz
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.core.errors import InputError

HDF5 = (".h5", ".hdf", ".hdf5", ".hf5")
DATA, REPEATS = "data", "individual_repeats"
MOST_REPEATS = 20  # a longer first axis holds TRs, if another axis is shorter than this
EXPECTED = "a folder of .npy or .hf5 files, .h5 or .npz"
_REPEAT = re.compile(r"[-_. ]*(?:rep|repeat|repetition|run|play)[-_]?\d+$", re.IGNORECASE)
_NUMBERED = re.compile(r"[-_. ]\(?\d+\)?$")
Repeats = Literal["refuse", "average", "first"]


@final
@dataclass(frozen=True, kw_only=True)
class Subject:
    """The arrays of one subject, none of them read yet.

    Attributes:
        path: the folder or file.
        places: {story: where its responses lie}; several places are repeats of the story.
        single: {story: where its single repeats lie}, for stories whose average `places` has.
    """

    path: Path
    places: Mapping[str, tuple[Place, ...]]
    single: Mapping[str, Place]

    @property
    def stories(self) -> tuple[str, ...]:
        """The names of the stories."""
        return tuple(self.places)

    @property
    def notes(self) -> list[str]:
        """Lines for the user about stories that have both an average and single repeats."""
        if not self.single:
            return []
        return [
            f"{len(self.single)} stories have both {DATA} and {REPEATS}; encoderlab uses {DATA}: "
            f"{_first_names(list(self.single))}"
        ]

    def responses(self, names: Sequence[str], repeats: Repeats = "refuse") -> StoryResponses:
        """Open the responses to some stories.

        Args:
            names: the stories.
            repeats: what to do with a story that was played several times.

        Raises:
            InputError: a story's array cannot be used; the message names every such story and the reason.
        """
        npz_arrays: dict[Place, NDArray[Any]] = {}  # .npz arrays already read
        repeat_counts: dict[str, int] = {}
        arrays, problems = [], []
        for name in names:
            if name not in self.places:
                raise InputError(f"{self.path}: no story {name!r} in it; expected {_first_names(self.stories)}")
            places = self.places[name]
            if repeats == "first" and name in self.single:
                places = (self.single[name],)
            try:
                opened = [place.open(npz_arrays) for place in places]
                count = opened[0].shape[0] if len(opened) == 1 and len(opened[0].shape) == 3 else len(opened)
                repeat_counts |= {name: count} if count > 1 else {}
                arrays.append(_without_repeats(name, opened, places, count, repeats))
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(*problems)
        return replace(StoryResponses.from_opened(names, arrays), repeats=repeat_counts)

    def grouped(self, stories: Iterable[str]) -> Subject:
        """Treat arrays such as NAME_run-1, NAME_1 and NAME/1 as repeats of a story NAME that has a transcript.

        Args:
            stories: the names of the stories that have a transcript.
        """
        places, transcripts = dict(self.places), set(stories)
        for name, name_places in self.places.items():
            if name in transcripts:
                continue
            named_repeat = _REPEAT.search(name)
            match = named_repeat or _NUMBERED.search(name)
            base = name[: match.start()] if match else _group(name_places[0]) if name.isdigit() else ""
            if base in transcripts and (named_repeat or base not in self.places):
                places[base] = (*places.get(base, ()), *places.pop(name))
        return replace(self, places=places)

    def files(self, names: Sequence[str]) -> list[Path]:
        """List the files that hold the responses to these stories."""
        places = [place for name in names for place in (*self.places[name], *self._single(name))]
        return list(dict.fromkeys(place.file for place in places))

    def _single(self, name: str) -> tuple[Place, ...]:
        return (self.single[name],) if name in self.single else ()


def open_subject(path: Path | str) -> Subject:
    """Open a folder or file of responses, without reading them.

    Raises:
        InputError: the path has none of the forms above, or holds no story.
    """
    path = Path(path).expanduser()
    single: dict[str, Place] = {}
    if path.is_dir():
        places, expected = _folder(path, single), "one .npy file per story"
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder; expected responses: {EXPECTED}")
    elif path.suffix.lower() in HDF5:
        places, expected = _hdf5(path, single), "one data set per story"
    elif path.suffix.lower() == ".npz":
        places, expected = _npz(path), "one array per story"
    else:
        raise InputError(f"{path}: unknown ending {path.suffix!r}; expected {EXPECTED}")
    if not places:
        raise InputError(f"{path}: no story in it; expected {expected}")
    return Subject(path=path, places=places, single=single)


def _without_repeats(
    name: str, arrays: Sequence[Array], places: Sequence[Place], count: int, repeats: Repeats
) -> Array:
    """Make one array (TRs, voxels) of a story's repeats; an array of a wrong shape passes, to be refused later."""
    if len(arrays) == 1 and len(arrays[0].shape) != 3:
        return arrays[0]
    shapes = [array.shape for array in arrays]
    first, *others = shapes[0]
    if len(arrays) == 1 and first > MOST_REPEATS >= min(others):
        axis = 2 if others[1] <= others[0] else 1
        raise InputError(
            f"story {name}: responses of shape {shapes[0]}; expected (repeats, TRs, voxels), but the repeats seem to "
            f"be on axis {axis}; save np.moveaxis(array, {axis}, 0)"
        )
    if count > 1 and repeats == "refuse":
        where = f"({', '.join(map(str, places))})" if len(arrays) > 1 else f"of shape {shapes[0]}"
        raise InputError(
            f'story {name}: {count} repeats {where}; set encode.repeats = "average", or "first" to use only the first'
        )
    if len(set(shapes)) > 1:
        raise InputError(f"story {name}: repeats of shapes {', '.join(map(str, shapes))}; expected the same shape")
    if len(arrays) == 1:  # (repeats, TRs, voxels)
        (whole,) = arrays
        return Array(shape=whole.shape[1:], dtype=whole.dtype, load=lambda voxels: _merged(whole.load(voxels), repeats))
    if repeats == "first":
        return arrays[0]
    return Array(
        shape=shapes[0],
        dtype=arrays[0].dtype,
        load=lambda voxels: _merged(np.stack([array.load(voxels) for array in arrays]), repeats),
    )


def _merged(block: NDArray[Any], repeats: Repeats) -> NDArray[Any]:
    """Average the repeats or take the first: (repeats, TRs, voxels) -> (TRs, voxels)."""
    if len(block) == 1 or repeats == "first":
        return block[0]
    return block.mean(axis=0, dtype=np.float64 if block.dtype != np.float32 else np.float32)


def _folder(path: Path, single: dict[str, Place]) -> dict[str, tuple[Place, ...]]:
    """Find the stories of a folder: one file each. Fills `single` with those that have single repeats."""
    places: dict[str, tuple[Place, ...]] = {}
    for file in sorted(path.iterdir()):
        if file.name.startswith(".") or file.suffix.lower() not in (".npy", *HDF5):
            continue
        if file.stem in places:
            other = places[file.stem][0].file.name
            raise InputError(f"{path}: story {file.stem!r} occurs twice, {other} and {file.name}; remove one")
        if file.suffix.lower() == ".npy":
            places[file.stem] = (Place(file=file),)
            continue
        datasets = _datasets(file)
        if DATA not in datasets and len(datasets) != 1:
            raise InputError(
                f"{file}: data sets {_first_names(datasets) or 'none'}; in a folder, expected one file per story with "
                f"a data set {DATA!r}; if this file holds all stories, name it under [responses]"
            )
        places[file.stem] = (Place(file=file, key=DATA if DATA in datasets else datasets[0]),)
        if DATA in datasets and REPEATS in datasets:
            single[file.stem] = Place(file=file, key=REPEATS)
    return places


def _hdf5(path: Path, single: dict[str, Place]) -> dict[str, tuple[Place, ...]]:
    """Find the stories of an HDF5 file; fills `single` with those that have single repeats.

    A story has the last name of its path. A data set `data` has the name of its group, or of the file.
    """
    places: dict[str, tuple[Place, ...]] = {}
    datasets = _datasets(path)
    if stacked := [key for key in datasets if key.rpartition("/")[2].lower() in ("y_train", "y_test")]:
        raise InputError(
            f"{path}: data sets {_first_names(datasets)}: runs stacked without the names of their stories "
            f"({stacked[0]}); expected one data set per story; cut the array at the onsets of the runs, and name each "
            "part after its story"
        )
    numbered = {key.rpartition("/")[0] for key in datasets if key.rpartition("/")[2].isdigit()}
    for key in datasets:
        group, _, last = key.rpartition("/")
        parent = group.rpartition("/")[2] or path.stem
        name = last if last not in (DATA, REPEATS) else parent
        if group and (_REPEAT.fullmatch(last) or (last.isdigit() and len(numbered) > 1)):
            name = f"{parent}_{last}"
        if last == REPEATS and f"{group}/{DATA}".strip("/") in datasets:
            single[name] = Place(file=path, key=key)
            continue
        if name in places:
            raise InputError(
                f"{path}: story {name!r} occurs twice, {places[name][0].key} and {key}; expected one subject per file; "
                "save each subject by itself"
            )
        places[name] = (Place(file=path, key=key),)
    return places


def _group(place: Place) -> str:
    """Name the group that holds a data set."""
    return (place.key or "").rpartition("/")[0].rpartition("/")[2]


def _datasets(path: Path) -> list[str]:
    """List the paths of all data sets of an HDF5 file."""
    datasets: list[str] = []

    def visit(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            datasets.append(key)

    with hdf5(path) as file:
        file.visititems(visit)
    return datasets


def _npz(path: Path) -> dict[str, tuple[Place, ...]]:
    """Find the stories of an .npz file: one array each, or rows of `Y`."""
    with npz(path) as file:
        if "offsets" not in file:
            return {name: (Place(file=path, key=name),) for name in file.files}
        if missing := {"Y", "stories"} - set(file.files):
            raise InputError(f"{path}: offsets without {', '.join(sorted(missing))}; expected Y, offsets and stories")
        arrays = {name: member(path, file, name) for name in ("Y", "offsets", "stories")}
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in arrays["stories"].ravel().tolist()]
    offsets, rows = np.atleast_1d(arrays["offsets"]), len(np.atleast_1d(arrays["Y"]))
    if len(offsets) != len(names) + 1 or offsets[0] != 0 or offsets[-1] != rows or (np.diff(offsets) < 0).any():
        raise InputError(
            f"{path}: {len(names)} stories, {len(offsets)} offsets that end at {offsets[-1]}, {rows} rows in Y; "
            "expected ascending offsets from 0 to the number of rows of Y, one more than the stories"
        )
    places: dict[str, tuple[Place, ...]] = {}
    for name, start, stop in zip(names, offsets.tolist(), offsets.tolist()[1:], strict=False):
        places[name] = (*places.get(name, ()), Place(file=path, key="Y", rows=(start, stop)))
    return places


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
