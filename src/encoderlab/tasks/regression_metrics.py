"""Metrics of numbers: Pearson's and Spearman's correlation, and the mean squared error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from encoderlab.tasks import weighted_correlation
from encoderlab.tasks.metric import Array, Floats, MeanMetric, Metric


@dataclass(frozen=True, kw_only=True)
class Correlation(Metric):
    """A correlation of answers and labels.

    The row statistics hold the standardized answers, because a correlation does not depend on their unit.
    """

    percent: bool = False
    bounds: tuple[float, float] = (-1.0, 1.0)

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the standard score of each answer and its label: (n, 2) from logits (n, 1) and labels (n,)."""
        answers, once = self._scale(logits[:, 0].astype(np.float64)), np.ones((1, len(labels)))
        standard, _ = weighted_correlation.standard(answers, once)
        return np.stack([standard[0] * math.sqrt(len(answers)), labels], axis=1)

    def _scale(self, answers: Floats) -> Floats:
        return answers

    def chance_bound(self, labels: Array) -> float:
        """Return two standard errors of the correlation of unrelated numbers."""
        return 2 / math.sqrt(len(labels))


@final
@dataclass(frozen=True, kw_only=True)
class Pearson(Correlation):
    """Pearson's correlation of answers and labels."""

    key: str = "pearson"
    label: str = "Pearson's r"
    said: str = "Pearson's r {value} on {rows} test rows"

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        return weighted_correlation.pearson(rows[:, 0], rows[:, 1], weights)


@final
@dataclass(frozen=True, kw_only=True)
class Spearman(Correlation):
    """Spearman's rank correlation of answers and labels."""

    key: str = "spearman"
    label: str = "Spearman's rho"
    said: str = "Spearman's rho {value} on {rows} test rows"

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        return weighted_correlation.spearman(rows[:, 0], rows[:, 1], weights)

    def _scale(self, answers: Floats) -> Floats:
        return weighted_correlation.ranks(answers, np.ones((1, len(answers))))[0]


@final
@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(MeanMetric):
    """The mean squared difference of answers and labels, in the squared unit of the labels."""

    key: str = "mse"
    label: str = "mean squared error"
    said: str = "mean squared error {value} on {rows} test rows"
    percent: bool = False
    lower_is_better: bool = True
    bounds: tuple[float, float] = (0.0, math.inf)

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the squared error of each row: (n, 1) from logits (n, 1) and labels (n,)."""
        return ((logits[:, 0].astype(np.float64) - labels) ** 2)[:, None]


METRICS = {metric.key: metric for metric in (Pearson(), Spearman(), MeanSquaredError())}
