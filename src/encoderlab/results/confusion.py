"""The confusion matrix and the per-class scores of each trained variant over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoderlab.core.variation import Estimate, SeedVariance
from encoderlab.results.comparison import Variant
from encoderlab.results.predictions import answers_to_same_rows, groups_of
from encoderlab.tasks.class_metrics import OfClasses, f1_of_class
from encoderlab.tasks.metric import Metric

MOST_CLASSES = 20  # a larger matrix cannot be read; its most frequent confusions are listed instead
MOST_PAIRS = 15


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The scores of one class: means over seeds in [0, 1].

    Attributes:
        support: The number of test rows (or entities) that have the label.
        f1_low, f1_high: The 95 % interval of the F1 for other seeds and rows. None without predictions, or if no row
            has the label.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    f1_low: float | None = None
    f1_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """The confusions and the per-class scores of one variant.

    Attributes:
        seeds: The number of runs. Counts are sums over them: a test row counts once per seed.
        cells: [gold][predicted] = (count, share of the gold label). None if there are too many classes.
        pairs: The most frequent confusions as (gold, predicted, count).
    """

    variant: str
    seeds: int
    labels: tuple[str, ...]
    cells: tuple[tuple[tuple[int, float], ...], ...] | None
    pairs: tuple[tuple[str, str, int], ...]
    classes: tuple[ClassScores, ...]


def confusions(variants: Sequence[Variant], metrics: Iterable[Metric]) -> dict[str, Confusion]:
    """Return the per-class test scores of the trained variants, and their confusions if a row has one class.

    Args:
        variants: The variants of the study with their predictions.
        metrics: The metrics of the study. One of them may know the F1 of each class.

    Returns:
        {name: scores} of the variants with a run that has such scores.
    """
    metric = next((one for one in metrics if isinstance(one, OfClasses)), None)
    trained = [variant for variant in variants if variant.is_trained]
    seeds = _pooled_seed_variances(trained, metric)
    return {variant.name: one for variant in trained if (one := _confusion(variant, metric, seeds)) is not None}


def _confusion(variant: Variant, metric: OfClasses | None, seeds: Sequence[SeedVariance]) -> Confusion | None:
    runs = variant.done
    tests = [tables for run in runs if "test" in run.splits and (tables := run.splits["test"].tables).get("per_class")]
    if not tests:
        return None
    labels = tuple(str(one["label"]) for one in tests[0]["per_class"])
    matrices = [test["confusion"] for test in tests if test.get("confusion")]
    total: NDArray[Any] = np.sum(matrices, axis=0) if matrices else np.zeros((len(labels), len(labels)), dtype=int)
    share = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    cells = None
    if matrices and len(labels) <= MOST_CLASSES:
        cells = tuple(
            tuple((int(n), float(s)) for n, s in zip(*row, strict=True)) for row in zip(total, share, strict=True)
        )
    wrong = total * (1 - np.eye(len(labels), dtype=int))
    top = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(i), len(labels)) for i in top]
    classes: list[ClassScores] = []
    supports = [one["support"] for one in tests[0]["per_class"]]
    for k, (label, estimate) in enumerate(zip(labels, _f1_scores(variant, metric, supports, seeds), strict=True)):
        scores = [test["per_class"][k] for test in tests]
        interval = {} if estimate is None else {"f1_low": estimate.low, "f1_high": estimate.high}
        means = {name: float(np.mean([score[name] for score in scores])) for name in ("precision", "recall", "f1")}
        classes.append(ClassScores(label=label, **means, support=supports[k], **interval))
    return Confusion(
        variant=variant.name,
        seeds=len(tests),
        labels=labels,
        cells=cells,
        pairs=tuple((labels[g], labels[p], int(wrong[g, p])) for g, p in places if wrong[g, p]),
        classes=tuple(classes),
    )


def _f1_scores(
    variant: Variant, metric: OfClasses | None, supports: Sequence[int], seeds: Sequence[SeedVariance]
) -> Iterator[Estimate | None]:
    """Yield the estimate of each class's F1. None if the predictions do not tell, or no row has the label.

    Args:
        variant: The variant with its predictions.
        metric: The metric that knows the F1 of each class. None if there is none.
        supports: The number of rows or entities with each label.
        seeds: The variance of each class's F1 over seeds of the study's trained variants.
    """
    answers = answers_to_same_rows(variant.test)
    if metric is None or not answers:
        yield from [None] * len(supports)
        return
    of_seeds = (metric.by_class(one.statistics[metric.key]) for one in answers)
    for support, pooled, *runs in zip(supports, seeds, *of_seeds, strict=True):
        yield f1_of_class(np.array(runs), groups_of(answers), seeds=pooled) if support else None


def _pooled_seed_variances(trained: Iterable[Variant], metric: OfClasses | None) -> list[SeedVariance]:
    """Return the variance of each class's F1 over seeds, pooled over the trained variants."""
    if metric is None:
        return []
    of_variants = [
        [[_f1(rows) for rows in metric.by_class(one.statistics[metric.key])] for one in variant.test.values()]
        for variant in trained
    ]
    return [
        SeedVariance.of(one_class)
        for one_class in zip(*(zip(*runs, strict=True) for runs in of_variants if runs), strict=True)
    ]


def _f1(rows: NDArray[np.float64]) -> float:
    """Return the F1 of what `OfClasses.by_class` yields, (n, 2). 0 if no row has or gets the class."""
    twice, whole = rows.sum(axis=0)
    return float(twice / max(whole, 1.0))
