"""Two variants on the same test rows: the difference in the task's metric, its interval and test, or why there is none.

Rows are matched by their `index` in the source, seeds by their number. Labels of matched rows must agree: predictions
that were made on other data are never compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from encoderlab import stats
from encoderlab.errors import InputError
from encoderlab.tasks import Task


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


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One method with one choice of settings: its finished runs, their predictions on `test` by seed, those on the
    other test sets by name, its failed runs."""

    name: str
    method: str
    kind: str
    done: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    test: Predicted
    others: Mapping[str, Predicted] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The metric of one variant minus that of another, over `pairs` pairs of runs with equal seeds.

    The mean, its 95 % bootstrap interval over rows, and the p of a paired test combined over the pairs: McNemar's of
    right and wrong, a sign-flip test of other scores of rows, a swap test of what is no mean over rows. All None, and
    `obstacle` says why, if the two cannot be compared.
    """

    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    pairs: int = 0
    obstacle: str | None = None


def variants(out: Path, runs: Iterable[dict[str, Any]], task: Task, others: Sequence[str] = ()) -> list[Variant]:
    """Runs grouped by variant, in the order of their first run. others: names of further test sets."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["variant"], []).append(run)
    found = []
    for name, group in groups.items():
        done = [run for run in group if run["status"] == "done"]
        failed = [run for run in group if run["status"] != "done"]
        test, *more = (
            {
                run.get("seed"): predictions
                for run in done
                if (predictions := read_predictions(out / "runs" / run["id"], split, task, run["class_names"]))
            }
            for split in ("test", *others)
        )
        first = group[0]
        found.append(
            Variant(
                name=name,
                method=first["method"],
                kind=first["kind"],
                done=done,
                failed=failed,
                test=test,
                others=dict(zip(others, more, strict=True)),
            )
        )
    return found


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


def against(found: Sequence[Variant], other: Variant | None, task: Task) -> Mapping[str, Comparison]:
    """Every other variant with a finished run, compared with `other`, by name; nothing without a finished `other`."""
    if other is None or not other.done:
        return {}
    return {v.name: compare(v, other, task) for v in found if v is not other and v.done}


def compare(a: Variant, b: Variant, task: Task) -> Comparison:
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
    matched = on_common_rows([p for pair in pairs for p in pair])
    rows = len(matched[0].index)
    if not rows:
        return Comparison(obstacle="they were tested on different rows")
    if disagree := disagreeing(matched):
        return Comparison(obstacle=f"the labels of {disagree:,} of {rows:,} test rows differ between their runs")
    left, right = np.array([p.evidence for p in matched[::2]]), np.array([q.evidence for q in matched[1::2]])
    if left.shape[2] == 1:
        difference = left[..., 0].astype(np.float64) - right[..., 0]
        mean, interval = difference.mean(), stats.bootstrap_mean(difference)
        test = stats.mcnemar if left.dtype == bool else stats.sign_flip
        p_values = [test(x, y) for x, y in zip(left[..., 0], right[..., 0], strict=True)]
    else:

        def gap(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            both = zip(left, right, strict=True)
            return np.mean([task.weighted(x, weights) - task.weighted(y, weights) for x, y in both], axis=0)

        mean, interval = gap(np.ones((1, rows)))[0], stats.bootstrap(gap, rows)
        stacked = [np.vstack(pair) for pair in zip(left, right, strict=True)]
        p_values = [stats.swap_test(partial(task.weighted, both), rows) for both in stacked]
    return Comparison(
        difference=float(mean),
        difference_low=interval.low,
        difference_high=interval.high,
        p=stats.rueger(p_values),
        pairs=len(pairs),
    )


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


def over_rows(matched: Sequence[Predictions], task: Task) -> stats.Interval:
    """The interval over rows of the metric's mean over seeds."""
    evidence = np.array([one.evidence for one in matched])
    if evidence.shape[2] == 1:
        return stats.bootstrap_mean(evidence[..., 0])
    return stats.bootstrap(lambda w: np.mean([task.weighted(x, w) for x in evidence], axis=0), evidence.shape[1])
