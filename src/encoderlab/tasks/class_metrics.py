"""Metrics of rows with one class each: accuracy, macro F1 and balanced accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from encoderlab.tasks.metric import Array, CountedMetric, Floats, ShareMetric


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
class MacroF1(CountedMetric):
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
        gold, guess = one_hot[rows[:, 0]], one_hot[rows[:, 1]]  # (n, classes)
        support = weights @ (gold + guess)
        f1 = 2 * (weights @ (gold * guess)) / np.maximum(support, 1)
        return f1.sum(axis=1) / (support > 0).sum(axis=1)


@final
@dataclass(frozen=True, kw_only=True)
class BalancedAccuracy(CountedMetric):
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
