"""The [data] section: where each split comes from.

Relative paths start at `base`, the folder of the study file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import final

FILE_FORMATS = ("csv", "tsv", "json", "jsonl", "conll", "parquet")
# How `datasets.save_to_disk` marks its folders: one data set, or several by name.
DATASET_FOLDER, DATASET_DICT_FOLDER = "dataset_info.json", "dataset_dict.json"


def file_format(path: Path) -> str | None:
    """The format that the name of a file promises ("train.csv.gz" -> "csv"), or None when it is none we read."""
    suffixes = [suffix.lower().removeprefix(".") for suffix in path.suffixes]
    compressed = suffixes[-1:] == ["gz"]
    last = (suffixes[:-1] if compressed else suffixes)[-1:]
    if not last or last[0] not in FILE_FORMATS or (compressed and last[0] == "parquet"):
        return None
    return last[0]


def path_problem(path: Path) -> str | None:
    """What is wrong with `path` before it is opened, as one line without a subject, or None."""
    if os.path.isdir(path):  # unlike Path.is_dir, false for a name that is too long
        if (path / DATASET_FOLDER).is_file() or (path / DATASET_DICT_FOLDER).is_file():
            return None
        return (
            f"{path} is a folder that `datasets` did not save; name a file in it, or a folder written by save_to_disk"
        )
    if not os.path.isfile(path):
        names = os.listdir(path.parent) if os.path.isdir(path.parent) else []
        near = get_close_matches(path.name, names, n=1)
        said = f"no such file: {path}" + (f"; did you mean {near[0]!r}?" if near else "")
        made = f"; where it is to hold stories, `encoderlab stories FILE -o {path}` makes it"
        return said + made * (path.suffix == ".parquet")
    if file_format(path) is None:
        known = ", ".join(f".{name}" for name in FILE_FORMATS)
        return f"{path} has no known ending; expected one of {known} (all but .parquet also with .gz)"
    return None


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows of one split come from: a file or folder, a data set on the hub, or a cut from the training rows.

    path: a CSV, TSV, JSON, JSONL, CoNLL (each also .gz) or Parquet file, or a folder written by `datasets.save_to_disk`
    hub: a name on the Hugging Face hub
    config: of a hub data set that has several
    revision: of a hub data set: a branch, tag or commit
    split: which split of the hub data set or of the folder
    fraction: share of the training rows to cut off for this split, between 0 and 1; stratified by label
    rows: at most this many rows, a sample stratified by label
    part: [from, to], a share of the rows in an order drawn with seed: [0, 0.5] is one half and [0.5, 1] the other, so
        that two splits share a file and no row
    seed: of the cut, of the sample and of the order
    """

    path: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    rows: int | None = None
    fraction: float | None = None
    part: tuple[float, float] | None = None
    seed: int = 0

    def location(self, base: Path) -> Path:
        """The absolute or `base`-relative path of a source that has one."""
        assert self.path is not None
        return base / os.path.expanduser(self.path)

    def same_as(self, other: Source, base: Path) -> bool:
        """Whether both read the same rows, sampling apart; a cut is the same as nothing, and so is another part."""

        def identity(one: Source) -> tuple:
            place = one.location(base).resolve() if one.path is not None else one.hub
            return place, one.config, one.split, one.revision

        same = None not in (identity(self)[0], identity(other)[0]) and identity(self) == identity(other)
        (low, high), (other_low, other_high) = self.part or (0, 1), other.part or (0, 1)
        apart = self.seed == other.seed and (high <= other_low or other_high <= low)
        return same and not apart

    def problems(self, where: str, base: Path, *, may_cut: bool = True) -> list[str]:
        """Everything wrong with this source, one line each; `where` is its place in the study file ("data.test")."""
        kinds = ("path", "hub", "fraction") if may_cut else ("path", "hub")
        given = [name for name in ("path", "hub", "fraction") if getattr(self, name) is not None]
        found = []
        if len(given) != 1 or given[0] not in kinds:
            got = " and ".join(given) or "none of them"
            found.append(f"{where}: expected exactly one of {', '.join(kinds)}, got {got}")
        if self.path == "" or self.hub == "":
            found.append(f"{where}: the name of the source is empty")
        elif self.path is not None and (problem := path_problem(self.location(base))):
            found.append(f"{where}.path: {problem}")
        if self.rows is not None and self.rows < 1:
            found.append(f"{where}.rows: expected a positive whole number, got {self.rows}")
        if self.fraction is not None and not 0 < self.fraction < 1:
            found.append(f"{where}.fraction: expected a number between 0 and 1, both excluded, got {self.fraction}")
        if self.part is not None and not 0 <= self.part[0] < self.part[1] <= 1:
            found.append(f"{where}.part: expected [from, to] with 0 <= from < to <= 1, got {list(self.part)}")
        if self.part is not None and self.fraction is not None:
            found.append(f"{where}.part: a cut from train has none; remove it, or name a file with `path`")
        if self.seed < 0:
            found.append(f"{where}.seed: expected a whole number from 0 up, got {self.seed}")
        for name in ("config", "revision"):
            if getattr(self, name) is not None and self.hub is None:
                found.append(f"{where}.{name}: only a hub data set has one; remove it, or name the data set with `hub`")
        is_file = self.path is not None and not os.path.isdir(self.location(base))
        if self.split is not None and (is_file or (self.path is None and self.hub is None)):
            found.append(f"{where}.split: only a hub data set or a `datasets` folder has splits; remove it")
        return found


@final
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The [data] section of a study file. Without `validation` or `test`, they are cut from the training rows.

    other_tests: test sets by name that are reported beside `test`; methods are ranked and compared on `test` alone
    """

    train: Source
    validation: Source = Source(fraction=0.1)
    test: Source = Source(fraction=0.2)
    other_tests: Mapping[str, Source] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, Source]:
        """By the name of the split: train, validation, test, then the other test sets."""
        return {"train": self.train, "validation": self.validation, "test": self.test, **self.other_tests}

    def problems(self, where: str, base: Path) -> list[str]:
        """Everything wrong that shows without reading the data, one line each; `where` names the section ("data")."""
        found = self.train.problems(f"{where}.train", base, may_cut=False)
        for name in self.other_tests:
            if name in ("train", "validation", "test") or not re.fullmatch(r"[\w-]+", name):
                found.append(f"{where}.other_tests.{name}: expected another name, of letters, digits, - and _")
        held_out = [
            line
            for name, source in list(self.sources.items())[1:]
            for line in source.problems(place(name, where), base)
        ]
        found += held_out
        for name in ("test", *self.other_tests) if not held_out else ():
            if self.validation.same_as(self.sources[name], base):
                key = "path" if self.validation.path is not None else "hub"
                found.append(
                    f"{where}.validation.{key}: the same data as {place(name, where)}; epochs and learning rates are "
                    f"chosen on validation, so test would no longer be unseen. Name other rows, or cut them from "
                    f"train: {{ fraction = 0.1 }}"
                )
        cut = sum(source.fraction or 0 for source in self.sources.values())
        if cut >= 1 and not any(".fraction" in line for line in found):
            found.append(
                f"{where}: validation and test together cut {cut:g} of the training rows; expected less than 1"
            )
        return found


def place(split: str, where: str = "data") -> str:
    """Where the study file says what the rows of a split are."""
    return f"{where}.{split}" if split in ("train", "validation", "test") else f"{where}.other_tests.{split}"
