"""Summarize each variant over its seeds: one row of summary.csv."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from encoderlab.core import statistics
from encoderlab.core.variation import SeedVariance
from encoderlab.results.columns import DIFFERENCE, INTERVAL, MEANS, METRICS, SHARE_BETTER, SPREAD, summary_columns
from encoderlab.results.comparison import Comparison, Variant, pooled_seed_variance
from encoderlab.results.current_scores import current_scores
from encoderlab.results.measures import Measures
from encoderlab.results.predictions import Predictions, answers_to_same_rows, groups_of, stacked
from encoderlab.tasks.metric import Metric
from encoderlab.training.run_record import Kind, ParameterCounts

Cell = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class MetricSpread:
    """One metric of one variant on one test set. None where it is unknown.

    Attributes:
        mean: The mean over seeds.
        sd: The standard deviation over seeds.
        seeds_low, seeds_high: Student's t interval of the mean over seeds.
        rows_low, rows_high: The bootstrap interval of the mean over the test rows.
    """

    mean: float | None = None
    sd: float | None = None
    seeds_low: float | None = None
    seeds_high: float | None = None
    rows_low: float | None = None
    rows_high: float | None = None

    def cells(self, key: str) -> dict[str, Cell]:
        """Return the cells of the columns that begin with `key`."""
        values = (self.mean, self.sd, self.seeds_low, self.seeds_high, self.rows_low, self.rows_high)
        return {key + part: value for part, value in zip(SPREAD, values, strict=True)}


@dataclass(frozen=True, kw_only=True)
class MetricInterval:
    """The interval of the metric for other seeds and other rows. row_share: the part of its variance due to rows."""

    low: float
    high: float
    row_share: float


@dataclass(frozen=True, kw_only=True)
class OtherTest:
    """A variant on a further test set: the metric, and the means of what is shown beside it."""

    metric: MetricSpread
    means: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class VariantSummary:
    """One variant over its seeds.

    Attributes:
        seeds: The number of finished runs.
        failed: The number of the others.
        rows: The number of test rows.
        groups: The number of groups that they are in. None if they are independent.
        metric: The metric on `test`.
        test_scores: The metric of each finished run on `test`.
        interval: Its interval for other seeds and rows. None if predictions are missing.
        spreads: {key: spread} of the metric and of the metrics beside it.
        means: {key: mean over seeds} of scores without an interval.
        other_tests: {name: numbers} of the further test sets.
        comparison: The comparison with the reference. None for the reference itself.
        holm_p: The p-value of the comparison, adjusted for the number of trained variants.
    """

    method: str
    variant: str
    kind: Kind
    seeds: int
    failed: int
    learning_rate: float | None
    rows: int | None
    metric: MetricSpread
    test_scores: tuple[float, ...]
    interval: MetricInterval | None
    spreads: Mapping[str, MetricSpread]
    means: Mapping[str, float | None]
    other_tests: Mapping[str, OtherTest] = field(default_factory=dict[str, OtherTest])
    comparison: Comparison | None = None
    holm_p: float | None = None
    groups: int | None = None
    parameters: ParameterCounts
    train_seconds: float | None
    inference_ms_per_example: float | None
    peak_memory_mb: float | None
    adapter_bytes: int | None

    @property
    def is_trained(self) -> bool:
        """Whether it is a method, not a baseline."""
        return self.kind is Kind.RUN

    def cells(self, measures: Measures, *, grouped: bool = False) -> dict[str, Cell]:
        """Return the row of summary.csv and summary.json: {column: value}.

        Args:
            measures: The metrics of the study.
            grouped: Whether the test rows have groups.
        """
        cells: dict[str, Cell] = {
            **{key: getattr(self, key) for key in _COLUMNS},
            **{f"{part}_parameters": getattr(self.parameters, part) for part in ("adapter", "head", "total")},
        }
        for key, spread in self.spreads.items():
            cells |= spread.cells(key)
        cells |= self.means
        cells[SHARE_BETTER] = None if self.comparison is None else self.comparison.share_better
        if self.interval is not None:
            ends = (self.interval.low, self.interval.high, self.interval.row_share)
            cells |= {measures.metric.key + part: value for part, value in zip(INTERVAL, ends, strict=True)}
        for name, other in self.other_tests.items():
            cells |= other.metric.cells(f"{name}_{measures.metric.key}")
            cells |= {f"{name}_{key}": value for key, value in other.means.items()}
        if self.comparison is not None:
            cells |= {key: getattr(self.comparison, key) for key in DIFFERENCE}
        return {column: cells.get(column) for column in summary_columns(measures, list(self.other_tests), grouped)}


_COLUMNS = (
    *("method", "variant", "kind", "seeds", "learning_rate", "rows", "holm_p", "failed", "groups"),
    *("train_seconds", "inference_ms_per_example", "peak_memory_mb", "adapter_bytes"),
)


def summarize(
    variants: Sequence[Variant], compared: Mapping[str, Comparison], measures: Measures
) -> tuple[VariantSummary, ...]:
    """Summarize the variants, in their order. compared: {name: its comparison with the reference}."""
    seeds = pooled_seed_variance(variants, measures.metric)
    summary = [summarize_one(variant, measures, compared.get(variant.name), seeds) for variant in variants]
    p_values = [_p(row) if row.is_trained else math.nan for row in summary]  # baselines are not part of the family
    return tuple(replace(row, holm_p=_number(p)) for row, p in zip(summary, statistics.holm(p_values), strict=True))


def summarize_one(
    variant: Variant, measures: Measures, comparison: Comparison | None, seeds: SeedVariance
) -> VariantSummary:
    """Summarize one variant over its seeds. seeds: the variance over seeds of the study's trained variants."""
    done, task, metric = variant.done, measures.task, measures.metric
    matched = answers_to_same_rows(variant.test)
    scores = [current_scores(run, "test", variant.test, measures) for run in done]
    keys = dict.fromkeys((*METRICS, *(one.key for one in measures.extra_metrics), metric.key))
    spreads = {key: _spread(key, scores, matched, measures) for key in keys}
    others: dict[str, OtherTest] = {}
    for name, predicted in variant.others.items():
        theirs = [current_scores(run, name, predicted, measures) for run in done]
        means = {key: task.mean_score(key, theirs) for key in measures.extra_keys}
        others[name] = OtherTest(
            metric=_spread(metric.key, theirs, answers_to_same_rows(predicted), measures), means=means
        )
    groups = groups_of(matched)
    tested = [run.splits["test"].rows for run in done if "test" in run.splits]
    return VariantSummary(
        method=variant.method,
        variant=variant.name,
        kind=variant.kind,
        seeds=len(done),
        failed=len(variant.failed),
        learning_rate=next((run.learning_rate for run in (*done, *variant.failed)), None),
        rows=next(iter(tested), None),
        groups=None if groups is None else len(np.unique(groups)),
        metric=spreads[metric.key],
        test_scores=tuple(run[metric.key] for run in scores if metric.key in run),
        interval=_interval(matched, metric, seeds if variant.is_trained else None),
        spreads=spreads,
        means={key: task.mean_score(key, scores) for key in (*MEANS, *task.extra_scores) if key not in METRICS},
        other_tests=others,
        comparison=comparison,
        parameters=(done or variant.failed)[0].parameters,
        train_seconds=_over((run.train_seconds for run in done), np.mean),
        inference_ms_per_example=_over((run.inference_ms_per_example for run in done), np.mean),
        peak_memory_mb=_over((run.peak_memory_mb for run in done), max),
        adapter_bytes=max((run.adapter_bytes for run in done if run.adapter_bytes is not None), default=None),
    )


def _spread(
    key: str, scores: Sequence[Mapping[str, float]], matched: Sequence[Predictions], measures: Measures
) -> MetricSpread:
    """Return one metric over the seeds and the rows of one test set.

    Args:
        key: The metric.
        scores: The numbers of each run.
        matched: The answers of the runs to the same rows.
        measures: The metrics of the study.
    """
    values = [run[key] for run in scores if key in run]
    metric = measures.metrics.get(key)
    spread = statistics.seed_spread(values)
    # Student's t knows no bounds; a share has them.
    low, high = np.clip((spread.low, spread.high), *((0.0, 1.0) if metric is None else metric.bounds))
    known = metric is not None and values and matched
    rows = metric.interval_over_rows(stacked(matched, metric), groups_of(matched)) if metric and known else None
    return MetricSpread(
        mean=_number(spread.mean),
        sd=_number(spread.sd),
        seeds_low=_number(low),
        seeds_high=_number(high),
        rows_low=None if rows is None else _number(rows.low),
        rows_high=None if rows is None else _number(rows.high),
    )


def _interval(matched: Sequence[Predictions], metric: Metric, seeds: SeedVariance | None) -> MetricInterval | None:
    """Return the interval for other seeds and rows. None without answers to the same rows."""
    if not matched:
        return None
    estimate = metric.estimate(stacked(matched, metric), groups_of(matched), seeds=seeds)
    share = estimate.row / (estimate.row + estimate.seed) if estimate.row + estimate.seed > 0 else 1.0
    return MetricInterval(low=estimate.low, high=estimate.high, row_share=share)


def _over(values: Iterable[float | None], combine: Callable[[Sequence[float]], float]) -> float | None:
    """Combine the values that are known. None if there are none."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    value = combine(there)
    return float(value) if isinstance(value, np.floating) else value


def _p(row: VariantSummary) -> float:
    p = None if row.comparison is None else row.comparison.p
    return math.nan if p is None else p


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
