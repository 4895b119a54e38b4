"""groups.safetensors: which test rows of a study belong together, beside study.json.

The file has the tensors NAME/index and NAME/group of each test set NAME with groups, int64 (n,), and in its metadata
under NAME what the rows of a group share. A study without groups has no file. Runs know nothing of groups, so that a
finished study can get them without training again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from encoderlab.core.array_files import load_arrays, read_about, save_arrays
from encoderlab.core.errors import InputError

NAME = "groups.safetensors"


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class RowGroups:
    """The groups of one test set.

    Attributes:
        by: What the rows of a group share, such as "author".
        index: The number of each row in its source, as in the predictions of a run, int64 (n,).
        numbers: The number of each row's group from 0, int64 (n,).
    """

    by: str
    index: NDArray[np.int64]
    numbers: NDArray[np.int64]

    @property
    def count(self) -> int:
        """The number of groups."""
        return len(np.unique(self.numbers))

    @property
    def sentence(self) -> str:
        """The sentence of a report about the groups."""
        rows = f"{len(self.numbers):,} test rows are in {self.count:,} groups ({self.by})"
        return f"Intervals and p-values draw whole groups of rows: the {rows}."

    def of(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the groups of some rows. A row that the file does not name is a group of its own."""
        order = np.argsort(self.index)
        place = np.minimum(np.searchsorted(self.index, index, sorter=order), len(order) - 1)
        known = self.index[order][place] == index
        return np.where(known, self.numbers[order][place], -1 - np.arange(len(index)))


def write(out: Path, groups: Mapping[str, RowGroups]) -> None:
    """Write the groups of each test set into a study's folder; without groups, remove the file of an earlier study."""
    if not groups:
        (out / NAME).unlink(missing_ok=True)
        return
    arrays: dict[str, NDArray[Any]] = {}
    for name, one in groups.items():
        arrays |= {f"{name}/index": one.index.astype(np.int64), f"{name}/group": one.numbers.astype(np.int64)}
    save_arrays(out / NAME, arrays, {name: one.by for name, one in groups.items()})


def read(out: Path) -> dict[str, RowGroups]:
    """Return the groups of each test set of a study that has them.

    Raises:
        InputError: The file is damaged.
    """
    if not (out / NAME).is_file():
        return {}
    try:
        arrays = load_arrays(out / NAME)
        return {
            name: RowGroups(by=by, index=arrays[f"{name}/index"], numbers=arrays[f"{name}/group"])
            for name, by in read_about(out / NAME).items()
        }
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{out / NAME}: not readable as the groups of test rows ({error}); run the study again: its finished runs "
            "are not trained again"
        ) from None
