"""Two variants on the same test rows: the difference in the task's metric, its interval and test, or why there is none.

Interval and test are of one standard error, over seeds and rows together (`variation`).
Rows are matched by their `index` in the source, seeds by their number. Labels of matched rows must agree: predictions
that were made on other data are never compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoderlab.core import statistics
from encoderlab.core.variation import (
    Estimate,
    SeedVariance,
    agresti_min,
    covariance_of_means,
    difference,
    mid_p_mcnemar,
    one,
    wider,
    wilson,
)
from encoderlab.results.predictions import Predicted, Predictions, disagreeing, on_common_rows, read_predictions
from encoderlab.tasks.base import Task

FEW = 10  # right or wrong answers, below which a t interval of a share is too narrow


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

    difference_low, difference_high: 95 % interval; p: of the same standard error (`variation`). general: whether they
    speak of the methods; otherwise of these runs alone, because no seed was repeated. estimate: with its parts. All
    None, and `obstacle` says why, if the two cannot be compared.
    """

    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    pairs: int = 0
    general: bool = False
    obstacle: str | None = None
    estimate: Estimate | None = None

    @classmethod
    def of(cls, found: Estimate) -> Comparison:
        return cls(
            difference=found.value,
            difference_low=found.low,
            difference_high=found.high,
            p=found.p,
            pairs=found.seeds,
            general=found.general,
            estimate=found,
        )


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


def against(found: Sequence[Variant], other: Variant | None, task: Task) -> Mapping[str, Comparison]:
    """Every other variant with a finished run, compared with `other`, by name; nothing without a finished `other`."""
    if other is None or not other.done:
        return {}
    seeds = over_seeds(found, task)
    return {v.name: compare(v, other, task, seeds) for v in found if v is not other and v.done}


def over_seeds(found: Sequence[Variant], task: Task) -> SeedVariance:
    """What the trained variants tell of the metric's variance over seeds."""
    return SeedVariance.of(
        [[_metric(p.evidence, task) for p in variant.test.values()] for variant in found if variant.kind == "run"]
    )


def compare(a: Variant, b: Variant, task: Task, seeds: SeedVariance) -> Comparison:
    """`a` minus `b` over the seeds and test rows that both have. seeds: of the study's trained variants.

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
    ours, theirs = ([_metric(x, task) for x in side] for side in (left, right))
    gaps = left[..., 0].astype(np.float64) - right[..., 0] if left.shape[2] == 1 else None
    if gaps is not None:
        covariance, units = covariance_of_means(gaps)
    else:

        def gap(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.array(
                [task.weighted(x, weights) - task.weighted(y, weights) for x, y in zip(left, right, strict=True)]
            )

        covariance, units = np.atleast_2d(np.cov(statistics.bootstrap_draws(gap, rows))), rows
    floor = agresti_min(gaps.mean(axis=0)) if gaps is not None and left.dtype == bool else 0.0
    constant = None in a.test or None in b.test
    found = difference(ours, theirs, covariance, units, seeds, constant=constant, floor=floor)
    if floor and gaps is not None and not found.general:
        found = replace(found, p=mid_p_mcnemar(int((gaps > 0).sum()), int((gaps < 0).sum())))
    return Comparison.of(found)


def _metric(evidence: NDArray[Any], task: Task) -> float:
    return float(task.weighted(evidence, np.ones((1, len(evidence))))[0])


def over_rows(matched: Sequence[Predictions], task: Task) -> statistics.Interval:
    """The interval over rows of the metric's mean over seeds."""
    evidence = np.array([p.evidence for p in matched])
    if evidence.shape[2] == 1:
        return statistics.bootstrap_mean(evidence[..., 0])
    return statistics.bootstrap(lambda w: np.mean([task.weighted(x, w) for x in evidence], axis=0), evidence.shape[1])


def estimated(matched: Sequence[Predictions], task: Task, bounds: tuple[float, float]) -> Estimate:
    """The metric on other rows with other seeds, with one interval. bounds: of the metric."""
    evidence = np.array([p.evidence for p in matched])
    values, rows = [_metric(x, task) for x in evidence], evidence.shape[1]
    if evidence.shape[2] == 1:
        covariance, units = covariance_of_means(evidence[..., 0])
    else:
        draws = statistics.bootstrap_draws(lambda w: np.array([task.weighted(x, w) for x in evidence]), rows)
        covariance, units = np.atleast_2d(np.cov(draws)), rows
    found = one(values, covariance, units)
    if evidence.dtype == bool and (len(values) == 1 or rows * min(found.value, 1 - found.value) < FEW):
        return wider(found, *wilson(found.value, rows), bounds=bounds)
    return wider(found, found.low, found.high, bounds=bounds)
