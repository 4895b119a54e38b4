"""The file of a feature space: HDF5, one data set a story.

/                       label, format, key (sha256 of what the vectors depend on but the words), and each of those:
                        kind, units, model, model_fingerprint, adapter_fingerprint, layer, ...
/stories/NAME           (words, dimensions) float32; tr_seconds, words_sha256, empty, unknown, missing, ...
/vocabulary             bag of words only: the words, in order of their numbers (then the data sets are int32)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import InputError
from encoderlab.core.files import write_atomically

FORMAT = "encoderlab-vectors/1"


def key(attributes: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([FORMAT, attributes], sort_keys=True).encode()).hexdigest()


@final
@dataclass(frozen=True, kw_only=True)
class VectorsFile:
    """A finished file. counts: summed over the stories. key: see above."""

    path: Path
    key: str
    label: str
    kind: str
    dimensions: int
    words: int
    counts: dict[str, int]

    def read(self, story: str) -> np.ndarray:
        with h5py.File(self.path, "r") as file:
            return np.asarray(file["stories"][story])  # type: ignore[index]

    @property
    def vocabulary(self) -> list[str]:
        with h5py.File(self.path, "r") as file:
            return [word.decode() for word in file["vocabulary"][()]]  # type: ignore[index]


def up_to_date(path: Path, wanted: str, label: str, stories: Sequence[Story]) -> bool:
    """Whether the file holds these stories' vectors under this label, made as the key `wanted` says, and no others."""
    try:
        with h5py.File(path, "r") as file:
            held = {name: data.attrs["words_sha256"] for name, data in file["stories"].items()}  # type: ignore[union-attr]
            return (file.attrs["key"], file.attrs["label"]) == (wanted, label) and held == {
                s.name: s.words_fingerprint for s in stories
            }
    except (OSError, KeyError):
        return False  # none, or a damaged one


def write(
    places: Sequence[tuple[Path, str, Mapping[str, Any]]],
    stories: Sequence[Story],
    vectors: Iterator[tuple[list[np.ndarray], dict[str, int]]],
    vocabulary: Sequence[str] | None = None,
) -> None:
    """places: path, label and attributes of each file that one pass fills. Whole or not at all."""

    def fill(opened: list[h5py.File]) -> None:
        for story, (arrays, counts) in zip(stories, vectors, strict=True):
            for file, array in zip(opened, arrays, strict=True):
                assert len(array) == len(story), (story.name, len(array), len(story))
                data = file["stories"].create_dataset(story.name, data=array)  # type: ignore[union-attr]
                data.attrs.update({"words_sha256": story.words_fingerprint, "tr_seconds": story.tr, **counts})

    _open_all(places, [], fill, vocabulary)


def _open_all(
    places: Sequence[tuple[Path, str, Mapping[str, Any]]],
    opened: list[h5py.File],
    fill: Callable[[list[h5py.File]], None],
    vocabulary: Sequence[str] | None,
) -> None:
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
    """InputError for what is no such file."""
    try:
        with h5py.File(path, "r") as file:
            held = list(file["stories"].values())  # type: ignore[union-attr]
            known = ("empty", "unknown", "missing", "windows", "tokens")
            counts = {n: int(sum(d.attrs[n] for d in held)) for n in known if held and n in held[0].attrs}
            kind = str(file.attrs["kind"])
            size = len(file["vocabulary"]) if kind == "bag-of-words" else held[0].shape[1]  # type: ignore[arg-type]
            return VectorsFile(
                path=path,
                key=str(file.attrs["key"]),
                label=str(file.attrs["label"]),
                kind=kind,
                dimensions=size,
                words=sum(len(d) for d in held),
                counts=counts,
            )
    except (OSError, KeyError, IndexError) as error:
        raise InputError(f"{path}: damaged, or no file of word vectors ({error}); delete it and embed again") from None
