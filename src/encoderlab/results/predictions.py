"""Predictions of several variants on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from encoderlab.core.errors import InputError
from encoderlab.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run answered on one split, sorted by row: index int64 (n,), logits and labels (n, ...) as the task has
    them, evidence (n, k) as `Task.evidence` makes it of them."""

    index: NDArray[np.int64]
    logits: NDArray[np.float32]
    labels: NDArray[Any]
    evidence: NDArray[Any]

    def at(self, rows: NDArray[np.int64]) -> Predictions:
        """The answers for source rows that are all in `index`."""
        where = np.searchsorted(self.index, rows)
        return Predictions(
            index=rows, logits=self.logits[where], labels=self.labels[where], evidence=self.evidence[where]
        )


Predicted = Mapping[int | None, Predictions]  # by seed; None: of a baseline without one


def read_predictions(folder: Path, split: str, task: Task, class_names: Sequence[str]) -> Predictions | None:
    """predictions/<split>.safetensors of one run folder; None if the run has none. InputError if it is damaged."""
    path = folder / "predictions" / f"{split}.safetensors"
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
        order = np.argsort(tensors["index"], kind="stable")
        logits, labels = tensors["logits"][order], tensors["labels"][order]
        evidence = task.evidence(logits, labels, class_names)
        return Predictions(index=tensors["index"][order], logits=logits, labels=labels, evidence=evidence)
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path}: not readable as predictions ({error}); delete the run's folder and run the study again"
        ) from None


def on_common_rows(found: Sequence[Predictions]) -> list[Predictions]:
    """The answers for the source rows that all of them have."""
    rows = reduce(np.intersect1d, [one.index for one in found])
    return [one.at(rows) for one in found]


def disagreeing(matched: Sequence[Predictions]) -> int:
    """Rows whose label is not the same in all of them."""
    first = matched[0].labels
    if any(one.labels.shape != first.shape for one in matched):
        return len(first)
    wrong = np.array([one.labels != first for one in matched])
    return int(wrong.any(axis=(0, *range(2, wrong.ndim))).sum())
