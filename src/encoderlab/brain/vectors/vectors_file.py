"""Write and read the file of a feature space: HDF5, one data set per story.

/                       label, format, key (SHA-256 of everything except the words that the vectors depend on), and
                        what the key is made of: kind, units, model, model_fingerprint, adapter_fingerprint, layer, ...
/stories/NAME           (words, dimensions) float32; tr_seconds, words_sha256, empty, unknown, missing, ...
/vocabulary             bag of words only: the words, in order of their numbers (then the data sets are int32)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import h5py
import numpy as np

from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import InputError
from encoderlab.core.files import write_atomically

FORMAT = "encoderlab-vectors/1"


def key(attributes: Mapping[str, str | int]) -> str:
    """Hash the attributes of a file."""
    return hashlib.sha256(json.dumps([FORMAT, attributes], sort_keys=True).encode()).hexdigest()


@final
@dataclass(frozen=True, kw_only=True)
class VectorsFile:
    """A finished file.

    Attributes:
        path: the file.
        key: the hash of its attributes.
        label: of the feature space.
        kind: of the feature space.
        dimensions: columns of the vectors; for a bag of words, the size of the vocabulary.
        words: words of all stories.
        counts: {what: number of words, windows or tokens}, summed over the stories.
    """

    path: Path
    key: str
    label: str
    kind: str
    dimensions: int
    words: int
    counts: dict[str, int]

    def read(self, story: str) -> np.ndarray:
        """Read the vectors of a story, (words, dimensions)."""
        with h5py.File(self.path, "r") as file:
            return np.asarray(file["stories"][story])  # type: ignore[index]

    @property
    def vocabulary(self) -> list[str]:
        """The words of a bag of words, in order of their numbers."""
        with h5py.File(self.path, "r") as file:
            return [word.decode() for word in file["vocabulary"][()]]  # type: ignore[index]


def up_to_date(path: Path, wanted: str, label: str, stories: Sequence[Story]) -> bool:
    """Return whether the file holds the vectors of exactly these stories, with this label and the key `wanted`."""
    try:
        with h5py.File(path, "r") as file:
            saved = {name: data.attrs["words_sha256"] for name, data in file["stories"].items()}  # type: ignore[union-attr]
            return (file.attrs["key"], file.attrs["label"]) == (wanted, label) and saved == {
                s.name: s.words_fingerprint for s in stories
            }
    except (OSError, KeyError):
        return False  # there is no file, or a damaged one


def write(
    places: Sequence[tuple[Path, str, Mapping[str, str | int]]],
    stories: Sequence[Story],
    vectors: Iterator[tuple[list[np.ndarray], dict[str, int]]],
    vocabulary: Sequence[str] | None = None,
) -> None:
    """Write the files that one pass over the words fills, whole or not at all.

    Args:
        places: path, label and attributes of each file.
        stories: the stories, in the order of `vectors`.
        vectors: for each story one (words, dimensions) array per file, and counts.
        vocabulary: the words of a bag of words.
    """

    def fill(opened: list[h5py.File]) -> None:
        for story, (arrays, counts) in zip(stories, vectors, strict=True):
            for file, array in zip(opened, arrays, strict=True):
                assert len(array) == len(story), (story.name, len(array), len(story))
                data = file["stories"].create_dataset(story.name, data=array)  # type: ignore[union-attr]
                data.attrs.update({"words_sha256": story.words_fingerprint, "tr_seconds": story.tr, **counts})

    _open_all(places, [], fill, vocabulary)


def _open_all(
    places: Sequence[tuple[Path, str, Mapping[str, str | int]]],
    opened: list[h5py.File],
    fill: Callable[[list[h5py.File]], None],
    vocabulary: Sequence[str] | None,
) -> None:
    """Open all files, then call `fill`; each file is replaced when the ones after it are complete."""
    if not places:
        fill(opened)
        return
    (path, label, attributes), *rest = places

    def begin(beside: Path) -> None:
        with h5py.File(beside, "w") as file:
            file.attrs.update({"format": FORMAT, "label": label, "key": key(attributes), **attributes})
            file.create_group("stories", track_order=True)
            if vocabulary is not None:
                file["vocabulary"] = [word.encode("utf-8", "replace") for word in vocabulary]
            _open_all(rest, [*opened, file], fill, vocabulary)

    write_atomically(path, begin)


def open_vectors(path: Path) -> VectorsFile:
    """Open a file of vectors, or raise InputError for any other file."""
    try:
        with h5py.File(path, "r") as file:
            arrays = list(file["stories"].values())  # type: ignore[union-attr]
            names = ("empty", "unknown", "missing", "windows", "tokens")
            counts = {n: int(sum(a.attrs[n] for a in arrays)) for n in names if arrays and n in arrays[0].attrs}
            kind = str(file.attrs["kind"])
            size = len(file["vocabulary"]) if kind == "bag-of-words" else arrays[0].shape[1]  # type: ignore[arg-type]
            return VectorsFile(
                path=path,
                key=str(file.attrs["key"]),
                label=str(file.attrs["label"]),
                kind=kind,
                dimensions=size,
                words=sum(len(array) for array in arrays),
                counts=counts,
            )
    except (OSError, KeyError, IndexError) as error:
        raise InputError(
            f"{path}: damaged, or not a file of word vectors ({error}); delete it and run `encoderlab embed` again"
        ) from None
