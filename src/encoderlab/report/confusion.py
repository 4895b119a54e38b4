"""Compute the confusion matrix and the per-class scores of one variant over its seeds, for the tables of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoderlab.report import text

MOST_CLASSES = 20  # a larger matrix cannot be read: its most frequent confusions are listed instead
MOST_PAIRS = 15


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """The confusions and the per-class scores of one variant.

    cells: [gold][predicted] = (count, share of the gold label); None if there are too many classes
    pairs: the most frequent confusions as (gold, predicted, count)
    classes: label, precision, recall, F1 (means over seeds, %) and support of each class
    """

    variant: str
    seeds: int
    labels: list[str]
    cells: list[list[tuple[int, float]]] | None
    pairs: list[tuple[str, str, int]]
    classes: list[dict[str, str]]


def read(variant: str, runs: Sequence[Mapping[str, Any]]) -> Confusion | None:
    """Return the per-class test scores, and the confusions if a row has one class; None if no run has them.

    Counts are sums over seeds: a test row counts once per seed.
    """
    tests = [(run.get("splits") or {}).get("test") or {} for run in runs]
    tests = [test for test in tests if test.get("per_class")]
    if not tests:
        return None
    labels = [str(one["label"]) for one in tests[0]["per_class"]]
    confused = [test["confusion"] for test in tests if test.get("confusion")]
    total = np.sum(confused, axis=0) if confused else np.zeros((len(labels), len(labels)), dtype=int)
    share = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    cells = None
    if confused and len(labels) <= MOST_CLASSES:
        cells = [[(int(n), float(s)) for n, s in zip(*row, strict=True)] for row in zip(total, share, strict=True)]
    wrong = total * (1 - np.eye(len(labels), dtype=int))
    top = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [tuple(map(int, np.unravel_index(i, wrong.shape))) for i in top]
    classes = []
    for k, label in enumerate(labels):
        scores = [test["per_class"][k] for test in tests]
        means = {m: text.percent(float(np.mean([s[m] for s in scores]))) for m in ("precision", "recall", "f1")}
        classes.append({"label": label, **means, "support": text.count(scores[0]["support"])})
    return Confusion(
        variant=variant,
        seeds=len(tests),
        labels=labels,
        cells=cells,
        pairs=[(labels[g], labels[p], int(wrong[g, p])) for g, p in places if wrong[g, p]],
        classes=classes,
    )
