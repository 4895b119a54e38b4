"""The predictions of several runs on the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from encoderlab.core.array_files import load_arrays
from encoderlab.core.errors import InputError
from encoderlab.results.row_groups import RowGroups
from encoderlab.tasks.metric import Metric
from encoderlab.training.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run answered on one split, as statistics of its rows.

    Attributes:
        index: The source row of each answer, int64 (n,), ascending.
        labels: The gold labels as the task has them, (n, ...).
        statistics: {key of a metric: its row statistics, (n, k)}.
        groups: The group of each row, int64 (n,). None: rows are independent.
    """

    index: NDArray[np.int64]
    labels: NDArray[Any]
    statistics: Mapping[str, NDArray[Any]]
    groups: NDArray[np.int64] | None = None

    def at(self, rows: NDArray[np.int64]) -> Predictions:
        """Return the answers for some source rows. All of them must be in `index`."""
        where = np.searchsorted(self.index, rows)
        return Predictions(
            index=rows,
            labels=self.labels[where],
            statistics={key: statistics[where] for key, statistics in self.statistics.items()},
            groups=None if self.groups is None else self.groups[where],
        )


Predicted = Mapping[int | None, Predictions]  # by seed; a baseline without seeds has the key None


def read_predictions(
    folder: Path, split: str, metrics: Iterable[Metric], groups: RowGroups | None = None
) -> Predictions | None:
    """Read predictions/<split>.safetensors of a run's folder. None if the run has none.

    Args:
        folder: The run's folder.
        split: The name of the split.
        metrics: The metrics whose row statistics are needed.
        groups: Which rows of the split belong together.

    Raises:
        InputError: The file is damaged.
    """
    path = RunFolder(folder).predictions(split)
    if not path.is_file():
        return None
    try:
        tensors = load_arrays(path)
        order = np.argsort(tensors["index"], kind="stable")
        logits, labels = tensors["logits"][order], tensors["labels"][order]
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path}: not readable as predictions ({error}); delete the run's folder and run the study again"
        ) from None
    return Predictions(
        index=tensors["index"][order],
        labels=labels,
        statistics={metric.key: metric.row_statistics(logits, labels) for metric in metrics},
        groups=None if groups is None else groups.of(tensors["index"][order]),
    )


def on_common_rows(predictions: Sequence[Predictions]) -> list[Predictions]:
    """Return the answers for the source rows that all of them have."""
    rows = reduce(np.intersect1d, [one.index for one in predictions])
    return [one.at(rows) for one in predictions]


def disagreeing(matched: Sequence[Predictions]) -> int:
    """Count the rows whose label is not the same in all of them."""
    first = matched[0].labels
    if any(one.labels.shape != first.shape for one in matched):
        return len(first)
    wrong = np.array([one.labels != first for one in matched])
    return int(wrong.any(axis=(0, *range(2, wrong.ndim))).sum())


def groups_of(matched: Sequence[Predictions]) -> NDArray[np.int64] | None:
    """Return the groups of the rows that all of them have, (n,). None without groups, or if there is a single one."""
    groups = matched[0].groups if matched else None
    return None if groups is None or len(np.unique(groups)) < 2 else groups


def answers_to_same_rows(predicted: Predicted) -> list[Predictions]:
    """Return the answers to the rows that all seeds have. Empty if there are none, or labels disagree."""
    matched = on_common_rows(list(predicted.values())) if predicted else []
    return [] if not matched or not len(matched[0].index) or disagreeing(matched) else matched


def stacked(matched: Sequence[Predictions], metric: Metric) -> NDArray[Any]:
    """Return the row statistics of runs on the same rows, (runs, n, k)."""
    return np.array([one.statistics[metric.key] for one in matched])
