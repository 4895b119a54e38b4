"""The confusion matrix and the per-class scores of one variant over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoderlab.training.run_record import RunRecord

MOST_CLASSES = 20  # a larger matrix cannot be read; its most frequent confusions are listed instead
MOST_PAIRS = 15


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The scores of one class: means over seeds in [0, 1]. support: how many test rows have the label."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


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


def confusion(variant: str, runs: Sequence[RunRecord]) -> Confusion | None:
    """Return the per-class test scores, and the confusions if a row has one class. None if no run has them."""
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
    for k, label in enumerate(labels):
        scores = [test["per_class"][k] for test in tests]
        means = {name: float(np.mean([score[name] for score in scores])) for name in ("precision", "recall", "f1")}
        classes.append(ClassScores(label=label, **means, support=scores[0]["support"]))
    return Confusion(
        variant=variant,
        seeds=len(tests),
        labels=labels,
        cells=cells,
        pairs=tuple((labels[g], labels[p], int(wrong[g, p])) for g, p in places if wrong[g, p]),
        classes=tuple(classes),
    )
