"""Recommend a variant: the cheapest that is shown to be within a margin of the best one; else the best one.

Every method enters with one variant, picked on the validation rows, so that a method with many variants has no more
chances on the test rows than a method with one. "Not distinguishable from the best" is no reason to choose a cheap
method, because a small test set cannot tell anything apart. The choice therefore needs evidence: the one-sided 95 %
bound of (variant - best) lies above -margin, a test of non-inferiority (Walker & Nowacki 2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from encoderlab.core.report_settings import Report
from encoderlab.core.variation import Estimate, against_best
from encoderlab.results.comparison import Comparison, Variant, compare_all, pooled_seed_variance
from encoderlab.results.measures import Measures
from encoderlab.results.summary import VariantSummary
from encoderlab.tasks.base import Task
from encoderlab.tasks.metric import MetricInfo

Ends = tuple[float, float, float]  # a difference, and the ends of its interval


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Which variant to use, and what is known of the others.

    Attributes:
        variant: The recommended variant.
        best: The finalist with the best test value.
        finalists: One variant of each method, picked on validation.
        within: The variants that are shown to be within the margin of the best, the best itself included.
        worse: The variants that the studentized range tells from the best.
        incomparable: {name: why it could not be compared with the best}.
        unproven: Finalists that are not shown to be better than the constant baseline. None of them is chosen unless
            the best is one of them.
        cheaper: {name: (difference to the best, low, high)} of cheaper finalists that are neither worse nor within.
        margin: How far below the best a variant may lie, in the unit of the metric.
        general: False if no seed was repeated, so that the result does not hold for the methods.
        difference, difference_low, difference_high: The variant minus the best. None if the variant is the best.
        pairs: The number of pairs of runs behind the difference.
        beats_majority: Whether the variant is shown to be better than the constant baseline. None if not tested.
    """

    variant: str
    best: str
    finalists: tuple[str, ...]
    within: tuple[str, ...]
    worse: tuple[str, ...]
    incomparable: Mapping[str, str]
    unproven: tuple[str, ...]
    cheaper: Mapping[str, Ends]
    margin: float
    rule: Report
    general: bool
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    pairs: int
    beats_majority: bool | None

    @property
    def is_recommended(self) -> bool:
        """Whether to use the variant: not if it is not shown to be better than the constant baseline."""
        return self.beats_majority is not False

    def to_json(self) -> Mapping[str, Any]:
        """Return the block of summary.json."""
        return asdict(self)


def recommend(
    variants: Sequence[Variant], summary: Sequence[VariantSummary], measures: Measures, rule: Report
) -> Recommendation | None:
    """Recommend a variant. None if no run was trained to its end."""
    rows = {row.variant: row for row in summary}
    metric = measures.metric
    means = {name: row.metric.mean for name, row in rows.items() if row.metric.mean is not None}
    trained = [v for v in variants if v.is_trained and v.name in means]
    if not trained:
        return None
    finalists = _finalists(trained, rows, measures.task, rule)
    best = max(finalists, key=lambda v: metric.sign * means[v.name])
    compared = _to_best(variants, finalists, best, measures)
    margin = _margin(rule, means, measures)
    estimates = {name: one.estimate for name, one in compared.items() if one.estimate is not None}
    general = pooled_seed_variance(variants, metric).df > 0
    worse = [name for name, one in estimates.items() if general and _oriented(one, metric)[1] < 0]
    within = [best.name, *(n for n, one in estimates.items() if general and _least(one, metric) > -margin)]
    floor = _above_constant(variants, [v.name for v in finalists], measures)
    untested = floor[best.name] is None
    proven = [name for name in within if floor[name] or (untested and floor[name] is None)]
    chosen = min(proven or [best.name], key=lambda name: _cost(rows[name], rule))
    to_best = compared.get(chosen, Comparison())
    return Recommendation(
        variant=chosen,
        best=best.name,
        finalists=tuple(v.name for v in finalists),
        within=tuple(within),
        worse=tuple(worse),
        incomparable={name: one.obstacle for name, one in compared.items() if one.obstacle is not None},
        unproven=tuple(v.name for v in finalists if floor[v.name] is False),
        cheaper={
            name: (one.value, one.low, one.high)
            for name, one in estimates.items()
            if name not in (*worse, *within) and _cost(rows[name], rule) < _cost(rows[chosen], rule)
        },
        margin=margin,
        rule=rule,
        general=general,
        difference=to_best.difference,
        difference_low=to_best.difference_low,
        difference_high=to_best.difference_high,
        pairs=to_best.pairs,
        beats_majority=floor[chosen],
    )


def _finalists(
    trained: Sequence[Variant], rows: Mapping[str, VariantSummary], task: Task, rule: Report
) -> list[Variant]:
    """Return one variant of each method: the best on validation; of equal ones the cheapest."""

    def place(variant: Variant) -> tuple[float, tuple[float, ...]]:
        scores = [run.splits["validation"].metrics for run in variant.done if "validation" in run.splits]
        values = [task.value(score) for score in scores if score]
        return -math.fsum(values) / len(values) if values else math.inf, _cost(rows[variant.name], rule)

    methods = dict.fromkeys(variant.method for variant in trained)
    return [min((v for v in trained if v.method == method), key=place) for method in methods]


def _to_best(
    variants: Sequence[Variant], finalists: Sequence[Variant], best: Variant, measures: Measures
) -> dict[str, Comparison]:
    """Compare the finalists with the best of them, by the studentized range of as many as can be compared."""
    names = {variant.name for variant in finalists}
    compared = {name: one for name, one in compare_all(variants, best, measures.metric).items() if name in names}
    count = 1 + sum(one.estimate is not None for one in compared.values())
    return {
        name: one if one.estimate is None else Comparison(estimate=against_best(one.estimate, count))
        for name, one in compared.items()
    }


def _margin(rule: Report, means: Mapping[str, float], measures: Measures) -> float:
    """Return the margin in the unit of the metric: points, or hundredths of the constant baseline's error."""
    unit = 0.01
    if measures.metric.lower_is_better:
        unit *= means.get(measures.task.baseline or "") or 1.0
    return rule.margin * unit


def _above_constant(variants: Sequence[Variant], names: Sequence[str], measures: Measures) -> dict[str, bool | None]:
    """Return whether each variant is shown to be better than the constant baseline; None if it could not be tested.

    It is, if the interval of the difference lies on the better side of zero.
    """
    constant = next((v for v in variants if not v.is_trained and v.name == measures.task.baseline), None)
    compared = compare_all(variants, constant, measures.metric)
    differences = {name: one for name in names if name in compared and (one := compared[name].estimate) is not None}
    return {
        name: _oriented(differences[name], measures.metric)[0] > 0 if name in differences else None for name in names
    }


def _oriented(difference: Estimate, metric: MetricInfo) -> tuple[float, float]:
    """Return the interval of a difference, turned so that higher is better."""
    return (difference.low, difference.high) if metric.sign > 0 else (-difference.high, -difference.low)


def _least(difference: Estimate, metric: MetricInfo) -> float:
    """Return the one-sided bound of how much better a variant is at the least."""
    return difference.above() if metric.sign > 0 else -difference.below()


COSTS: Mapping[str, Callable[[VariantSummary], float | None]] = {
    "parameters": lambda row: row.parameters.adapter,
    "time": lambda row: row.train_seconds,
    "latency": lambda row: row.inference_ms_per_example,
}


def _cost(row: VariantSummary, rule: Report) -> tuple[float, ...]:
    """Return the cost that the rule names. The training time decides between equal ones."""
    costs = (COSTS[rule.cost](row), row.train_seconds)
    return tuple(math.inf if cost is None else cost for cost in costs)
