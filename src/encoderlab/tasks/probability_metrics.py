"""Scores of predicted probabilities: the loss, the Brier score, and the expected calibration error.

They say how good the probabilities of a method are, not which one to use. A report shows them in a table of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from encoderlab.core import clusters
from encoderlab.core.statistics import Interval
from encoderlab.tasks.metric import Array, Floats, MeanMetric, Metric, RatioMetric

BINS = 15  # Guo et al. 2017


class OfProbabilities:
    """A metric of probabilities, which the ranking table leaves to a table of its own."""


@dataclass(frozen=True, kw_only=True)
class RowScore(MeanMetric, OfProbabilities):
    """The mean of one score per row that takes another value in nearly every row.

    Its interval over rows is that of a t distribution. A bootstrap would draw each row by itself.
    """

    said: str = "{value} on {rows} test rows"
    percent: bool = False
    lower_is_better: bool = True

    def interval_over_rows(self, runs: Array, groups: Array | None = None) -> Interval:
        return self.t_interval(runs, *self._covariance(runs, groups))


@final
@dataclass(frozen=True, kw_only=True)
class LogLoss(RowScore):
    """The mean cross-entropy of the label, in nats."""

    key: str = "loss"
    label: str = "loss"
    bounds: tuple[float, float] = (0.0, math.inf)

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the loss of each row: (n, 1) from logits (n, c) and labels (n,)."""
        return -log_softmax(logits)[np.arange(len(labels)), labels, None]


@final
@dataclass(frozen=True, kw_only=True)
class Brier(RowScore):
    """The mean squared distance of the probabilities from the label, summed over the classes: 0 to 2 (Brier 1950)."""

    key: str = "brier"
    label: str = "Brier score"
    bounds: tuple[float, float] = (0.0, 2.0)

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the squared distance of each row: (n, 1) from logits (n, c) and labels (n,)."""
        distance = np.exp(log_softmax(logits))
        distance[np.arange(len(labels)), labels] -= 1
        return (distance**2).sum(axis=1, keepdims=True)


@final
@dataclass(frozen=True, kw_only=True)
class CalibrationError(Metric, OfProbabilities):
    """The mean distance of confidence and accuracy in 15 bins of equal width of the confidence (Guo et al. 2017).

    The confidence is the largest probability of a row. It has no interval: the error of a sample is larger than that of
    all rows, so the bootstrap is biased.
    """

    key: str = "ece"
    label: str = "calibration error (ECE)"
    said: str = "calibration error {value} on {rows} test rows"
    percent: bool = False
    lower_is_better: bool = True

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the bin of each row and its confidence minus 1 if it is right: (n, 2) from logits (n, c)."""
        confidence = np.exp(log_softmax(logits).max(axis=1))
        bins = np.searchsorted(np.arange(1, BINS) / BINS, confidence)  # bin b: b/15 < confidence <= (b + 1)/15
        return np.stack([bins, confidence - (logits.argmax(axis=1) == labels)], axis=1)

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        gaps = np.eye(BINS)[rows[:, 0].astype(np.int64)] * rows[:, 1:]
        return np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)

    def interval_over_rows(self, runs: Array, groups: Array | None = None) -> Interval:
        return Interval(low=math.nan, high=math.nan)


@dataclass(frozen=True, kw_only=True)
class TokenLoss(RatioMetric, OfProbabilities):
    """The summed loss of the words or masked tokens of all rows by their number, in nats."""

    key: str = "loss"
    label: str = "loss"
    said: str = "{value} on {rows} test rows"
    percent: bool = False
    lower_is_better: bool = True
    bounds: tuple[float, float] = (0.0, math.inf)

    def interval_over_rows(self, runs: Array, groups: Array | None = None) -> Interval:
        return self.t_interval(runs, *clusters.ratio_covariance(runs, groups))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log softmax(logits), (n, c) -> (n, c), in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
