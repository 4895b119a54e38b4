"""Metrics of rows with one class each: accuracy, macro F1 and balanced accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from encoderlab.core import statistics
from encoderlab.core.statistics import LEVEL, RESAMPLES, Interval
from encoderlab.tasks.metric import Array, Floats, Metric, ShareMetric


@final
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
class MacroF1(Metric):
    """The mean of the classes' F1 scores, over the classes that have a label or a prediction (as in scikit-learn).

    classes: how many there are.
    """

    key: str = "macro_f1"
    label: str = "macro F1"
    said: str = "macro F1 {value} % on {rows} test rows"
    classes: int

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the label and the prediction of each row: int (n, 2) from logits (n, c) and labels (n,)."""
        return np.stack([labels, logits.argmax(axis=1)], axis=1)

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        one_hot = np.eye(self.classes)
        return macro_f1(one_hot[rows[:, 0]], one_hot[rows[:, 1]], weights)

    def interval_over_rows(self, runs: Array) -> Interval:
        return bootstrap_macro_f1(runs[..., 1], runs[0, :, 0], self.classes)


@final
@dataclass(frozen=True, kw_only=True)
class BalancedAccuracy(Metric):
    """The mean of the classes' recalls, over the classes that have a label (as in scikit-learn).

    classes: how many there are.
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

    def interval_over_rows(self, runs: Array) -> Interval:
        """Return the interval of `Metric`, from counts of equal rows: faster, as in `bootstrap_macro_f1`."""
        kinds, counts = np.unique(np.vstack([runs[0, :, 0], runs[..., 1]]), axis=1, return_counts=True)
        draws = statistics.draws_of_kinds(counts, 0, RESAMPLES).astype(np.float64)
        label, *right = kinds
        values = [self.metric_from_weights(np.stack([label, one], axis=1), draws) for one in right]
        return statistics.percentile_interval(np.mean(values, axis=0), LEVEL)


def macro_f1(gold: Floats, guess: Floats, weights: Floats) -> Floats:
    """Return the macro F1 of weighted rows, (m,). gold, guess: one-hot (n, classes); weights: (m, n)."""
    support = weights @ (gold + guess)
    f1 = 2 * (weights @ (gold * guess)) / np.maximum(support, 1)
    return f1.sum(axis=1) / (support > 0).sum(axis=1)


def bootstrap_macro_f1(
    predicted: ArrayLike,
    labels: ArrayLike,
    classes: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the percentile bootstrap interval over rows of the macro F1, averaged over seeds.

    Rows with the same label and predictions are interchangeable, so that a sample is a count of each kind of row.

    Args:
        predicted: Class numbers, (seeds, rows).
        labels: Class numbers, (rows,).
        classes: Number of classes.
        seed: Seed of the samples.
        resamples: Number of samples.
        level: Coverage of the interval.
    """
    models = np.atleast_2d(np.asarray(predicted, dtype=np.int64))
    kinds, counts = np.unique(np.vstack([np.asarray(labels, dtype=np.int64), models]), axis=1, return_counts=True)
    draws = statistics.draws_of_kinds(counts, seed, resamples).astype(np.float64)
    one_hot = np.eye(classes)
    total = np.zeros(resamples)
    for model in kinds[1:]:
        total += macro_f1(one_hot[kinds[0]], one_hot[model], draws)
    return statistics.percentile_interval(total / len(models), level)
