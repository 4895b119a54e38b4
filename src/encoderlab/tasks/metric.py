"""The number by which the variants of a study are ranked and compared, with its statistics.

A metric turns the answers of a run into statistics of its rows, (rows, k), and computes everything from them:

    value                 the metric of all rows
    metric_from_weights   the metric of a sample of rows, where a weight counts how often a row was drawn
    interval_over_rows    percentile bootstrap over the rows, for the given runs; with groups, a t interval
    estimate              interval for other rows and other seeds
    difference            paired difference of two variants: interval and p-value

The last three take the group of each row, (n,), where rows belong together (texts of one author). They then draw whole
groups.

Derive from the class that fits: the others need two methods or one.

    ShareMetric    a row is right, wrong or in part (accuracy)  row_statistics
    MeanMetric     mean of one score per row (squared error)    row_statistics
    RatioMetric    sum of one column / sum of another           row_statistics
    CountedMetric  of rows of few kinds (label and prediction)  row_statistics, metric_from_weights
    Metric         any function of weighted rows (correlation)  row_statistics, metric_from_weights
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoderlab.core import clusters, statistics, variation
from encoderlab.core.statistics import LEVEL, RESAMPLES, Interval
from encoderlab.core.variation import Estimate, SeedVariance

Array = NDArray[Any]
Floats = NDArray[np.float64]
FEW = 10  # right or wrong answers; with fewer, the t interval of a share is too narrow


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """The name of a metric and how its values are printed. summary.json keeps it.

    Attributes:
        key: The name in the metrics of a split, and the start of its columns in summary.csv.
        label: The name in figures and headings.
        said: The words of the verdict on a value, with {value} and {rows}.
        best: How the variant with the best value is called.
        percent: Whether values are printed in per cent and differences in points.
        bounds: The lowest and the highest possible value.
    """

    key: str
    label: str
    said: str
    best: str = "the best"
    percent: bool = True
    lower_is_better: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def sign(self) -> int:
        """1, or -1 if lower values are better."""
        return -1 if self.lower_is_better else 1

    def to_json(self) -> Mapping[str, Any]:
        """Return the fields of this class alone, without those that a metric adds."""
        return {one.name: getattr(self, one.name) for one in fields(MetricInfo)}


@dataclass(frozen=True, kw_only=True)
class Metric(MetricInfo, ABC):
    """A function of weighted rows. Its variance over rows is that of 2,000 bootstrap samples."""

    @abstractmethod
    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return what each row contributes, (rows, k), from logits and labels as the task has them."""

    @abstractmethod
    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        """Return the metric of weighted rows.

        Args:
            rows: The row statistics, (n, k).
            weights: How often each row counts, (m, n).

        Returns:
            One value per weighting, (m,).
        """

    def value(self, rows: Array) -> float:
        """Return the metric of row statistics (n, k), each row counted once."""
        return float(self.metric_from_weights(rows, np.ones((1, len(rows))))[0])

    def interval_over_rows(self, runs: Array, groups: Array | None = None) -> Interval:
        """Return the 95 % interval over rows of the mean over seeds.

        Args:
            runs: The row statistics, (seeds, n, k).
            groups: The group of each row, (n,). None: rows are independent. A percentile bootstrap of few groups is too
                narrow, so their interval is that of a t distribution.
        """
        if groups is not None:
            return self.t_interval(runs, *self._covariance(runs, groups))
        return statistics.bootstrap(
            lambda weights: np.mean([self.metric_from_weights(rows, weights) for rows in runs], axis=0), runs.shape[1]
        )

    def t_interval(self, runs: Array, covariance: Floats, units: float) -> Interval:
        """Return the t interval of the mean over the given seeds.

        Args:
            runs: The row statistics, (seeds, n, k).
            covariance: The covariance of the seeds' metrics over samples of rows, (seeds, seeds).
            units: The number of rows, or the effective number of groups.
        """
        mean, row = np.mean([self.value(rows) for rows in runs]), covariance.mean(keepdims=True)
        estimate = variation.clipped(variation.estimate_mean([mean], row, units), *self.bounds)
        return Interval(low=estimate.low, high=estimate.high)

    def estimate(self, runs: Array, groups: Array | None = None, *, seeds: SeedVariance | None = None) -> Estimate:
        """Estimate the metric for other rows and other seeds.

        Args:
            runs: The row statistics, (seeds, n, k).
            groups: The group of each row, (n,). None: rows are independent.
            seeds: The variance over seeds of the study's trained variants. None if the runs are of none of them.
        """
        estimate = variation.estimate_mean([self.value(rows) for rows in runs], *self._covariance(runs, groups), seeds)
        return variation.clipped(estimate, *self.bounds)

    def difference(
        self,
        left: Array,
        right: Array,
        seeds: SeedVariance,
        *,
        constant: bool = False,
        groups: Array | None = None,
    ) -> Estimate:
        """Estimate and test the difference of two variants, left minus right.

        Args:
            left: The row statistics of one run of each pair, (pairs, n, k).
            right: Those of the other run on the same rows, (pairs, n, k).
            seeds: The variance over seeds of the study's trained variants.
            constant: Whether one of the two gives the same answers for every seed.
            groups: The group of each row, (n,). None: rows are independent.
        """
        covariance, floor = self._covariance_of_gaps(left, right, groups), self._least_variance(left, right, groups)
        ours, theirs = ([self.value(rows) for rows in side] for side in (left, right))
        return variation.difference(ours, theirs, *covariance, seeds, constant=constant, floor=floor)

    def standard_error(self, value: float, rows: int) -> float | None:
        """Return the standard error over rows of a value that is known without its rows. None if there is none."""
        return None

    def chance_bound(self, labels: Array) -> float | None:
        """Return the value that a constant answer exceeds by luck in 1 of 40 samples. None if it is unknown."""
        return None

    def _covariance(self, runs: Array, groups: Array | None) -> tuple[Floats, float]:
        """Return the covariance (seeds, seeds) over samples of rows or groups, and their effective number."""
        return clusters.bootstrap_covariance(
            lambda w: np.array([self.metric_from_weights(rows, w) for rows in runs]), runs.shape[1], groups
        )

    def _covariance_of_gaps(self, left: Array, right: Array, groups: Array | None) -> tuple[Floats, float]:
        """Return what `_covariance` does, of the differences of pairs of runs."""

        def gap(weights: Floats) -> Floats:
            from_weights = self.metric_from_weights
            return np.array(
                [from_weights(x, weights) - from_weights(y, weights) for x, y in zip(left, right, strict=True)]
            )

        return clusters.bootstrap_covariance(gap, left.shape[1], groups)

    def _least_variance(self, left: Array, right: Array, groups: Array | None) -> float:
        """Return the least variance of a difference over samples of rows or groups."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class MeanMetric(Metric):
    """The mean over rows of one score per row, statistics (n, 1). Its covariance is exact."""

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        return weights @ rows[:, 0] / weights.sum(axis=1)

    def interval_over_rows(self, runs: Array, groups: Array | None = None) -> Interval:
        return statistics.bootstrap_mean(runs[..., 0]) if groups is None else super().interval_over_rows(runs, groups)

    def _covariance(self, runs: Array, groups: Array | None) -> tuple[Floats, float]:
        return clusters.mean_covariance(runs[..., 0], groups)

    def _covariance_of_gaps(self, left: Array, right: Array, groups: Array | None) -> tuple[Floats, float]:
        return clusters.mean_covariance(_gaps(left, right), groups)


@dataclass(frozen=True, kw_only=True)
class ShareMetric(MeanMetric):
    """The share of rows that are right, statistics (n, 1): bool, or a part in [0, 1] where answers tie.

    A t interval is too narrow near 0 and 1, and has no width where all answers agree. Wilson's interval and the
    variance of Agresti and Min are lower limits there, and a single pair of runs is tested by McNemar's test. With
    groups, the number of rows is divided by the design effect. McNemar's test counts the signs of independent rows, so
    with groups, or with a part of a row, a single pair is tested by t.
    """

    def estimate(self, runs: Array, groups: Array | None = None, *, seeds: SeedVariance | None = None) -> Estimate:
        estimate, rows = super().estimate(runs, groups, seeds=seeds), float(runs.shape[1])
        if groups is not None:
            rows = clusters.effective_rows(runs[..., 0].mean(axis=0), groups)
        if len(runs) == 1 or rows * min(estimate.value, 1 - estimate.value) < FEW:
            estimate = variation.clipped(
                variation.widened(estimate, *variation.wilson(estimate.value, rows)), *self.bounds
            )
        return estimate

    def difference(
        self,
        left: Array,
        right: Array,
        seeds: SeedVariance,
        *,
        constant: bool = False,
        groups: Array | None = None,
    ) -> Estimate:
        estimate = super().difference(left, right, seeds, constant=constant, groups=groups)
        gaps = _gaps(left, right)
        if not estimate.general and groups is None and np.isin(gaps, (-1, 0, 1)).all():
            estimate = replace(estimate, p=variation.mid_p_mcnemar(int((gaps > 0).sum()), int((gaps < 0).sum())))
        return estimate

    def _least_variance(self, left: Array, right: Array, groups: Array | None) -> float:
        gaps = _gaps(left, right).mean(axis=0)
        return variation.agresti_min(gaps) * (1.0 if groups is None else clusters.design_effect(gaps, groups))

    def standard_error(self, value: float, rows: int) -> float | None:
        return math.sqrt(max(value * (1 - value), 0.0) / rows)


@dataclass(frozen=True, kw_only=True)
class RatioMetric(Metric):
    """The sum of one number of each row by the sum of another, statistics (n, 2): right words by words, an F1."""

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        part, whole = weights @ rows[:, 0], weights @ rows[:, 1]
        return part / np.maximum(whole, 1e-12)


@dataclass(frozen=True, kw_only=True)
class CountedMetric(Metric):
    """A function of weighted rows whose statistics take few values, such as a label and a prediction.

    Equal rows are interchangeable, so a bootstrap sample is a count of each kind of row, which is much faster.
    """

    def interval_over_rows(self, runs: Array, groups: Array | None = None, *, resamples: int = RESAMPLES) -> Interval:
        if groups is not None:
            return super().interval_over_rows(runs, groups)
        seeds, rows, width = runs.shape
        of_all_seeds = runs.swapaxes(0, 1).reshape(rows, seeds * width)
        kinds, counts = np.unique(of_all_seeds, axis=0, return_counts=True)
        draws = statistics.draws_of_kinds(counts, 0, resamples).astype(np.float64)
        of_each_seed = kinds.reshape(len(kinds), seeds, width).swapaxes(0, 1)
        values = [self.metric_from_weights(one, draws) for one in of_each_seed]
        return statistics.percentile_interval(np.mean(values, axis=0), LEVEL)


def _gaps(left: Array, right: Array) -> Floats:
    """Return the differences of the rows' scores, (pairs, n)."""
    return left[..., 0].astype(np.float64) - right[..., 0]


def plain(value: float) -> str:
    """Format a value with four decimals, or with four significant digits if it is small."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.01 else f"{value:#.4g}"
