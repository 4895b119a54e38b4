"""Metrics of rows with one class each: accuracy, macro F1 and balanced accuracy, and the F1 of a single class.

Macro values average the classes that occur among the labels of the whole split. A bootstrap sample keeps these classes,
also if it lacks their rows. A class that occurs only among the predictions lowers the precision of others, but does
not enter the mean.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from encoderlab.core import clusters, variation
from encoderlab.core.statistics import RESAMPLES, Interval
from encoderlab.core.variation import Estimate, SeedVariance
from encoderlab.tasks.metric import FEW, Array, CountedMetric, Floats, Metric, ShareMetric


@dataclass(frozen=True, kw_only=True)
class Accuracy(ShareMetric):
    """The share of rows whose largest logit is that of the label."""

    key: str = "accuracy"
    label: str = "accuracy"
    said: str = "{value} % of {rows} test rows correct"
    best: str = "the most accurate"

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return whether each row is right: bool (n, 1) from logits (n, c) and labels (n,)."""
        return (logits.argmax(axis=1) == labels)[:, None]

    def chance_bound(self, labels: Array) -> float:
        """Return the share of the most frequent label plus two standard errors."""
        rows = len(labels)
        share = float(np.bincount(labels).max()) / rows
        return share + 2 * math.sqrt(share * (1 - share) / rows)


ACCURACY = Accuracy()


@final
@dataclass(frozen=True, kw_only=True)
class ChoiceAccuracy(Accuracy):
    """The share of rows whose best choice is right. Each of k best choices with equal logits counts 1/k.

    An untrained head may give all choices the same logit. The position of the answer then decides nothing.
    """

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return how right each row is: float (n, 1) in [0, 1] from logits (n, c) and labels (n,)."""
        best = logits == logits.max(axis=1, keepdims=True)
        return (best[np.arange(len(labels)), labels] / best.sum(axis=1))[:, None]


CHOICE_ACCURACY = ChoiceAccuracy()


@dataclass(frozen=True, kw_only=True)
class OfClasses(Metric):
    """A metric whose row statistics also give the F1 of each class."""

    @abstractmethod
    def by_class(self, rows: Array) -> Iterator[Floats]:
        """Yield (n, 2) for each class, in the order of `per_class`: 2 x right, and predicted + gold, of each row.

        Args:
            rows: The row statistics of the metric, (n, k).
        """


@final
@dataclass(frozen=True, kw_only=True)
class MacroF1(CountedMetric, OfClasses):
    """The mean of the F1 scores of the classes that occur among the labels.

    It is scikit-learn's with `labels` the classes that occur, and `zero_division=0`. classes: how many there are.
    """

    key: str = "macro_f1"
    label: str = "macro F1"
    said: str = "macro F1 {value} % on {rows} test rows"
    classes: int

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the label and the prediction of each row: int (n, 2) from logits (n, c) and labels (n,)."""
        return np.stack([labels, logits.argmax(axis=1)], axis=1)

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        one_hot, present = np.eye(self.classes), np.unique(rows[:, 0])
        gold, guess = (one_hot[column][:, present] for column in rows.T)  # (n, classes that occur)
        f1 = 2 * (weights @ (gold * guess)) / np.maximum(weights @ (gold + guess), 1)
        return f1.mean(axis=1)

    def by_class(self, rows: Array) -> Iterator[Floats]:
        for one in range(self.classes):
            gold, guess = (rows == one).T
            yield np.stack([2.0 * (gold & guess), 1.0 * gold + guess], axis=1)


@final
@dataclass(frozen=True, kw_only=True)
class BalancedAccuracy(CountedMetric):
    """The mean of the classes' recalls, over the classes that have a label (as in scikit-learn).

    A bootstrap of a class of few rows has no width if all of them are right. The interval is therefore at least the one
    that combines Wilson's intervals of the recalls (MOVER, Zou & Donner 2008). classes: how many there are.
    """

    key: str = "balanced_accuracy"
    label: str = "balanced accuracy"
    said: str = "balanced accuracy {value} % on {rows} test rows"
    classes: int

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the label of each row and whether the row is right: int (n, 2) from logits (n, c) and labels (n,)."""
        return np.stack([labels, logits.argmax(axis=1) == labels], axis=1)

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        gold = np.eye(self.classes)[rows[:, 0]]
        support = weights @ gold
        recall = weights @ (gold * rows[:, 1:]) / np.maximum(support, 1)
        return recall.sum(axis=1) / (support > 0).sum(axis=1)

    def interval_over_rows(self, runs: Array, groups: Array | None = None, *, resamples: int = RESAMPLES) -> Interval:
        drawn = super().interval_over_rows(runs, groups, resamples=resamples)
        low, high = self._of_recalls(runs, groups)
        return Interval(low=min(drawn.low, low), high=max(drawn.high, high))

    def estimate(self, runs: Array, groups: Array | None = None, *, seeds: SeedVariance | None = None) -> Estimate:
        estimate = super().estimate(runs, groups, seeds=seeds)
        return variation.clipped(variation.widened(estimate, *self._of_recalls(runs, groups)), *self.bounds)

    def _of_recalls(self, runs: Array, groups: Array | None) -> tuple[float, float]:
        """Return the interval of the mean over seeds that follows from Wilson's intervals of the recalls.

        Without a class of few right or few wrong rows, it is (inf, -inf), which widens nothing.
        """
        labels, right = runs[0, :, 0], runs[:, :, 1].mean(axis=0)
        supports = np.unique(labels, return_counts=True)[1]
        recalls = np.bincount(labels, weights=right)[np.unique(labels)] / supports
        if groups is not None:
            found = (clusters.effective_rows(right[labels == one], groups[labels == one]) for one in np.unique(labels))
            supports = np.fromiter(found, np.float64)
        if (supports * np.minimum(recalls, 1 - recalls)).min() >= FEW:
            return math.inf, -math.inf
        ends = np.array([variation.wilson(share, rows) for share, rows in zip(recalls, supports, strict=True)])
        below, above = np.linalg.norm(ends - recalls[:, None], axis=0) / len(recalls)
        return float(recalls.mean() - below), float(recalls.mean() + above)


def f1_of_class(runs: Floats, groups: Array | None = None, *, seeds: SeedVariance | None = None) -> Estimate:
    """Estimate the F1 of one class for other rows and other seeds.

    The variance over rows is that of a ratio of two sums. F1 = 2 J / (1 + J), where J is the share of right rows among
    the rows that have or get the class. With one seed or few such rows, the interval is at least that of Wilson for J.

    Args:
        runs: What `OfClasses.by_class` yields, of each seed on the same rows, (seeds, n, 2). Some rows have the class.
        groups: The group of each row, (n,). None: rows are independent.
        seeds: The variance of this F1 over seeds of the study's trained variants. None if the runs are of none of them.
    """
    twice, whole = runs.sum(axis=1).T
    estimate = variation.estimate_mean(twice / whole, *clusters.ratio_covariance(runs, groups), seeds)
    right, either = float(twice.mean() / 2), float((whole - twice / 2).mean())
    if len(runs) == 1 or min(right, either - right) < FEW:
        share = 1.0  # of the rows that would tell as much if they were independent
        if groups is not None:
            influence = (runs[..., 0] - (twice / whole)[:, None] * runs[..., 1]).mean(axis=0)
            share = clusters.effective_rows(influence, groups) / runs.shape[1]
        low, high = (2 * end / (1 + end) for end in variation.wilson(right / either, either * share))
        estimate = variation.widened(estimate, low, high)
    return variation.clipped(estimate, 0.0, 1.0)
