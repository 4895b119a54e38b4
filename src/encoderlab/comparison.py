"""Two variants on the same test rows: the difference in accuracy, its interval and test, or why there is none.

Rows are matched by their `index` in the source, seeds by their number. Labels of matched rows must agree: predictions
that were made on other data are never compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from encoderlab import stats
from encoderlab.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run answered on one split, sorted by row: index, predicted and labels are int64 (n,). credit: float64
    (n,), a score from 0 to 1 of each row, where it is more than right or wrong."""

    index: NDArray[np.int64]
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    credit: NDArray[np.float64] | None = None

    def at(self, rows: NDArray[np.int64]) -> Predictions:
        """The answers for source rows that are all in `index`."""
        where = np.searchsorted(self.index, rows)
        credit = None if self.credit is None else self.credit[where]
        return Predictions(index=rows, predicted=self.predicted[where], labels=self.labels[where], credit=credit)

    @property
    def right(self) -> NDArray[Any]:
        """(n,): whether each row is right, or its credit."""
        return self.predicted == self.labels if self.credit is None else self.credit


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One method with one choice of settings: its finished runs, their test predictions by seed, its failed runs."""

    name: str
    method: str
    kind: str
    done: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    test: dict[int | None, Predictions]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Accuracy of one variant minus that of another, in [-1, 1], over `pairs` pairs of runs with equal seeds.

    The mean, its 95 % bootstrap interval over rows, and the p of a paired test combined over the pairs: McNemar's of
    right and wrong, a sign-flip test of credits. All None, and `obstacle` says why, if the two cannot be compared.
    """

    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    pairs: int = 0
    obstacle: str | None = None


def variants(out: Path, runs: Iterable[dict[str, Any]]) -> list[Variant]:
    """Runs grouped by variant, in the order of their first run."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["variant"], []).append(run)
    found = []
    for name, group in groups.items():
        done = [run for run in group if run["status"] == "done"]
        failed = [run for run in group if run["status"] != "done"]
        read = {run.get("seed"): read_predictions(out / "runs" / run["id"], "test") for run in done}
        test = {seed: predictions for seed, predictions in read.items() if predictions is not None}
        first = group[0]
        found.append(
            Variant(name=name, method=first["method"], kind=first["kind"], done=done, failed=failed, test=test)
        )
    return found


def read_predictions(folder: Path, split: str) -> Predictions | None:
    """predictions/<split>.safetensors of one run folder; None if the run has none. InputError if it is damaged."""
    path = folder / "predictions" / f"{split}.safetensors"
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
        order = np.argsort(tensors["index"], kind="stable")
        return Predictions(
            index=tensors["index"][order],
            predicted=tensors["logits"].argmax(axis=1)[order],
            labels=tensors["labels"][order],
            credit=tensors["credit"][order] if "credit" in tensors else None,
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path}: not readable as predictions ({error}); delete the run's folder and run the study again"
        ) from None


def against(found: Sequence[Variant], other: Variant | None) -> Mapping[str, Comparison]:
    """Every other variant with a finished run, compared with `other`, by name; nothing without a finished `other`."""
    if other is None or not other.done:
        return {}
    return {v.name: compare(v, other) for v in found if v is not other and v.done}


def compare(a: Variant, b: Variant) -> Comparison:
    """`a` minus `b` over the seeds and test rows that both have.

    A baseline that has no seed answers the same whatever the seed, so it is paired with every seed of the other.
    """
    if not a.test or not b.test:
        return Comparison(obstacle="test predictions are missing")
    if None in a.test or None in b.test:
        pairs = [(p, q) for p in a.test.values() for q in b.test.values()]
    else:
        pairs = [(a.test[seed], b.test[seed]) for seed in a.test if seed in b.test]
    if not pairs:
        return Comparison(obstacle="no seed was finished in both")
    rows = reduce(np.intersect1d, [p.index for pair in pairs for p in pair])
    if not rows.size:
        return Comparison(obstacle="they were tested on different rows")
    matched = [(p.at(rows), q.at(rows)) for p, q in pairs]
    labels = np.array([p.labels for pair in matched for p in pair])
    disagree = int((labels != labels[0]).any(axis=0).sum())
    if disagree:
        return Comparison(obstacle=f"the labels of {disagree:,} of {rows.size:,} test rows differ between their runs")
    left = np.array([p.right for p, _ in matched])
    right = np.array([q.right for _, q in matched])
    difference = left.astype(np.float64) - right
    test = stats.mcnemar if left.dtype == bool else stats.sign_flip
    interval = stats.bootstrap_mean(difference)
    return Comparison(
        difference=float(difference.mean()),
        difference_low=interval.low,
        difference_high=interval.high,
        p=stats.rueger([test(x, y) for x, y in zip(left, right, strict=True)]),
        pairs=len(pairs),
    )
