"""The [data] section: the source of each split.

Relative paths start at `base`, the folder of the study file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, final

from encoderlab.core.errors import Problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import Doc
from encoderlab.data.foreign import foreign

DELIMITERS = (",", ";", "\t", "|")
TEXT_FORMATS = ("csv", "tsv", "json", "jsonl", "conll")
BINARY_FORMATS = ("parquet", "arrow", "feather")  # compressed inside, if at all: never .gz
FILE_FORMATS = (*TEXT_FORMATS, *BINARY_FORMATS)
_ADDRESS = re.compile(r"(?:^|/)(https?|ftp|s3|gs|hf|file):/+(.*)")
# Files by which `datasets.save_to_disk` marks its folders: one data set, or several by name.
DATASET_FOLDER, DATASET_DICT_FOLDER = "dataset_info.json", "dataset_dict.json"


def file_format(path: Path) -> str | None:
    """Return the format that a file name promises ("train.csv.gz" -> "csv"), or None if encoderlab does not read it."""
    suffixes = [suffix.lower().removeprefix(".") for suffix in path.suffixes]
    compressed = suffixes[-1:] == ["gz"]
    last = (suffixes[:-1] if compressed else suffixes)[-1:]
    if not last or last[0] not in FILE_FORMATS or (compressed and last[0] in BINARY_FORMATS):
        return None
    return last[0]


def known_encoding(name: str) -> bool:
    """Return whether Python has a text encoding of that name."""
    try:
        "a".encode(name)
    except (LookupError, ValueError):
        return False
    return True


def path_problem(path: Path) -> str | None:
    """Return why a file or folder cannot be read, as one line, or None. Reads only the first bytes of a file."""
    if os.path.isdir(path):  # unlike Path.is_dir, false for a name that is too long
        if (path / DATASET_FOLDER).is_file() or (path / DATASET_DICT_FOLDER).is_file():
            return None
        return (
            f"{path} is a folder that `datasets` did not save; name a file in it, or a folder written by save_to_disk"
        )
    if not os.path.isfile(path):
        return _no_file(path)
    form = file_format(path)
    if problem := foreign(path, form):
        return problem
    if form is None:
        known = ", ".join(f".{name}" for name in FILE_FORMATS)
        binary = ", ".join(f".{name}" for name in BINARY_FORMATS)
        return f"{path} has no known ending; expected one of {known} (all but {binary} also with .gz)"
    return None


def _no_file(path: Path) -> str:
    """Return why a path is not a file."""
    if address := _ADDRESS.search(str(path)):
        return f"{address[1]}://{address[2]} is a URL; download the file and give its path, or use `hub` for a data set"
    if os.path.islink(path):
        return f"{path} is a link to {os.readlink(path)}, which does not exist"
    if os.path.lexists(path):
        return f"{path} is a pipe or a device, which can be read only once; save its output to a file"
    if any(ord(letter) < 32 for letter in path.name):
        return f"no such file: {str(path)!r}; a backslash in double quotes is an escape: write the path with /"
    names = os.listdir(path.parent) if os.path.isdir(path.parent) else []
    near = did_you_mean(path.name, names)
    hint = f"; {near}" if near else ""
    made = f"; to make a file of stories, run: encoderlab stories FILE -o {path}"
    return f"no such file: {path}{hint}" + made * (path.suffix == ".parquet" and not near)


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of the rows of one split: a file or folder, a data set on the hub, or a share of the training rows."""

    path: Annotated[
        str | None,
        Doc(
            "a CSV, TSV, JSON, JSONL, CoNLL (each also .gz), Parquet or Arrow (also .feather) file, or a folder "
            "written by `datasets.save_to_disk`"
        ),
    ] = None
    hub: Annotated[str | None, Doc("name of a data set on the Hugging Face hub")] = None
    config: Annotated[str | None, Doc("configuration of a hub data set that has several")] = None
    split: Annotated[str | None, Doc("split of the hub data set or of the folder")] = None
    revision: Annotated[str | None, Doc("branch, tag or commit of the hub data set")] = None
    rows: Annotated[
        int | None, Doc("maximum number of rows; if there are more, a sample stratified by label is used")
    ] = None
    fraction: Annotated[
        float | None, Doc("share of the training rows to cut off for this split, between 0 and 1; stratified by label")
    ] = None
    part: Annotated[
        tuple[float, float] | None,
        Doc(
            "[from, to], a share of the rows in a random order. [0, 0.5] is one half and [0.5, 1] the "
            "other, so that two splits can share a file but no row"
        ),
    ] = None
    seed: Annotated[int, Doc("random seed of the cut, of the sample and of the order")] = 0
    encoding: Annotated[
        str | None,
        Doc('encoding of a text file that is neither UTF-8 nor recognised, such as "cp1252", "cp1251" or "gb18030"'),
    ] = None
    delimiter: Annotated[
        str | None, Doc("character between the fields of a CSV or TSV file; default: detected in its header")
    ] = None
    columns: Annotated[
        tuple[int, int] | None,
        Doc(
            "numbers of the columns of a CoNLL file with the word and with its label, counted from 1, "
            "or from the end (-1 is the last); default: the first and the last"
        ),
    ] = None

    def location(self, base: Path) -> Path:
        """Return the path of a file or folder. A relative one starts at `base`."""
        assert self.path is not None
        return base / os.path.expanduser(self.path)

    def same_as(self, other: Source, base: Path) -> bool:
        """Return whether two sources read the same rows, without regard to sampling.

        A cut from the training rows equals no other source. Two `part`s that do not overlap are different.
        """

        def identity(one: Source) -> tuple:
            place = one.location(base).resolve() if one.path is not None else one.hub
            return place, one.config, one.split, one.revision

        same = None not in (identity(self)[0], identity(other)[0]) and identity(self) == identity(other)
        (low, high), (other_low, other_high) = self.part or (0, 1), other.part or (0, 1)
        apart = self.seed == other.seed and (high <= other_low or other_high <= low)
        return same and not apart

    def problems(self, where: str, base: Path, *, may_cut: bool = True) -> list[Problem]:
        """List all problems of the source that show before it is read.

        Args:
            where: the key of the source in the study file, such as "data.test".
            base: the folder that relative paths start at.
            may_cut: whether the source may be a share of the training rows.
        """
        kinds = ("path", "hub", "fraction") if may_cut else ("path", "hub")
        given = [name for name in ("path", "hub", "fraction") if getattr(self, name) is not None]
        found = []
        if len(given) != 1 or given[0] not in kinds:
            got = " and ".join(given) or "none of them"
            found.append(Problem(where, f"expected exactly one of {', '.join(kinds)}, got {got}"))
        if self.path == "" or self.hub == "":
            found.append(Problem(where, "the name of the source is empty"))
        elif self.path is not None and (problem := path_problem(self.location(base))):
            found.append(Problem(f"{where}.path", problem))
        found += [problem.under(where) for problem in self._number_problems()]
        for name in ("config", "revision"):
            if getattr(self, name) is not None and self.hub is None:
                hint = "remove it, or name the data set with `hub`"
                found.append(Problem(f"{where}.{name}", f"only a hub data set has a {name}", hint))
        found += [problem.under(where) for problem in self.form_problems(base)]
        is_file = self.path is not None and not os.path.isdir(self.location(base))
        if self.split is not None and (is_file or (self.path is None and self.hub is None)):
            found.append(
                Problem(f"{where}.split", "only a hub data set or a `datasets` folder has splits", "remove it")
            )
        return found

    def _number_problems(self) -> list[Problem]:
        """List the numbers that are out of range; paths are the keys alone."""
        found = []
        if self.rows is not None and self.rows < 1:
            found.append(Problem("rows", f"expected a positive whole number, got {self.rows}"))
        if self.fraction is not None and not 0 < self.fraction < 1:
            message = f"expected a number between 0 and 1, both excluded, got {self.fraction}"
            found.append(Problem("fraction", message))
        if self.part is not None and not 0 <= self.part[0] < self.part[1] <= 1:
            found.append(Problem("part", f"expected [from, to] with 0 <= from < to <= 1, got {list(self.part)}"))
        if self.part is not None and self.fraction is not None:
            found.append(Problem("part", "a share of train has no parts", "remove it, or name a file with `path`"))
        if self.seed < 0:
            found.append(Problem("seed", f"expected a whole number from 0 up, got {self.seed}"))
        return found

    def form_problems(self, base: Path) -> list[Problem]:
        """List the problems of `encoding`, `delimiter` and `columns`; paths are the keys alone."""
        form = file_format(self.location(base)) if self.path and not os.path.isdir(self.location(base)) else None
        found = []
        for name, forms in (("encoding", TEXT_FORMATS), ("delimiter", ("csv", "tsv")), ("columns", ("conll",))):
            if getattr(self, name) is not None and form not in forms:
                known = ", ".join(f".{one}" for one in forms)
                found.append(Problem(name, f"valid only for a file that ends with {known}", "remove it"))
        if self.encoding is not None and not known_encoding(self.encoding):
            message = f"{self.encoding!r} is not known; expected a name such as 'cp1252' or 'gb18030'"
            found.append(Problem("encoding", message))
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            found.append(Problem("delimiter", f"expected one character such as ';', got {self.delimiter!r}"))
        if self.columns is not None and (0 in self.columns or self.columns[0] == self.columns[1]):
            expected = "expected two different numbers, [word, label], from 1 up (or -1, the last)"
            found.append(Problem("columns", f"{expected}, got {list(self.columns)}"))
        return found


@final
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The [data] section of a study file. If `validation` or `test` is missing, it is cut from the training rows."""

    train: Source
    validation: Source = Source(fraction=0.1)
    test: Source = Source(fraction=0.2)
    other_tests: Annotated[
        Mapping[str, Source],
        Doc("test sets by name that are reported beside `test`; methods are ranked and compared on `test` alone"),
    ] = field(default_factory=dict)
    group: Annotated[
        str | None,
        Doc(
            "column of the test rows that belong together (texts of one author, rows of one premise or document); "
            "intervals and tests draw whole groups"
        ),
    ] = None

    @property
    def sources(self) -> dict[str, Source]:
        """The source of each split by its name: train, validation, test, then the other test sets."""
        return {"train": self.train, "validation": self.validation, "test": self.test, **self.other_tests}

    def problems(self, where: str, base: Path) -> list[Problem]:
        """List all problems of the section that show before the data are read.

        Args:
            where: the name of the section, "data".
            base: the folder that relative paths start at.
        """
        found = self.train.problems(f"{where}.train", base, may_cut=False)
        if self.group == "":
            found.append(Problem(f"{where}.group", "is empty", "name a column of the test rows, or remove the key"))
        for name in self.other_tests:
            if name in ("train", "validation", "test") or not re.fullmatch(r"[\w-]+", name):
                message = "expected another name, of letters, digits, - and _"
                found.append(Problem(f"{where}.other_tests.{name}", message))
        held_out = [
            problem
            for name, source in list(self.sources.items())[1:]
            for problem in source.problems(place(name, where), base)
        ]
        found += held_out
        for name in ("test", *self.other_tests) if not held_out else ():
            if self.validation.same_as(self.sources[name], base):
                key = "path" if self.validation.path is not None else "hub"
                found.append(
                    Problem(
                        f"{where}.validation.{key}",
                        f"the same data as {place(name, where)}; epochs and learning rates are chosen on validation, "
                        "so test would no longer be unseen",
                        "use other rows, or cut them from train: { fraction = 0.1 }",
                    )
                )
        cut = sum(source.fraction or 0 for source in self.sources.values())
        if cut >= 1 and not any(problem.path.endswith(".fraction") for problem in found):
            message = f"validation and test together cut {cut:g} of the training rows; expected less than 1"
            found.append(Problem(where, message))
        return found


def place(split: str, where: str = "data") -> str:
    """Return the key of a split in the study file, such as "data.test"."""
    return f"{where}.{split}" if split in ("train", "validation", "test") else f"{where}.other_tests.{split}"
