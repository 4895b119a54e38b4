"""Which variant to use: the cheapest that is shown to be within a margin of the best one; else the best one.

Every method enters with one variant, picked on the validation rows, so that a method with many variants has no more
chances on the test rows than one with a single variant. "Not distinguishable from the best" is no reason to choose a
cheap method: a small test set cannot tell anything apart. The choice therefore needs evidence for it: the one-sided
95 % bound of (it - the best) lies above -margin (a test of non-inferiority; Walker & Nowacki 2011).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from encoderlab.core.report_settings import Report
from encoderlab.core.variation import Estimate, against_best
from encoderlab.results.comparison import Comparison, Variant, against, over_seeds
from encoderlab.tasks.base import Task
from encoderlab.tasks.metric import Metric

COSTS = {"parameters": "adapter_parameters", "time": "train_seconds", "latency": "inference_ms_per_example"}


def recommend(
    found: Sequence[Variant], summary: Sequence[Mapping[str, Any]], task: Task, metric: Metric, rule: Report
) -> dict[str, Any] | None:
    """The choice as a dict; None if nothing was trained to its end.

    finalists: one variant a method, picked on validation; `best` has the best test value of them. `variant` is chosen.
    `within`: those shown to be within the margin of the best, which is among them. `worse`: those that the studentized
    range tells from the best; `incomparable` says by name why no test was possible. `unproven`: finalists for which the
    interval of the difference to the constant answer (the majority class) does not lie on the better side of zero; none
    of them is chosen unless the best is `unproven` itself, and then `beats_majority` is False (None: there is nothing
    to test that with). `cheaper`: {name: (difference, low, high)} to the best of cheaper finalists that are neither
    worse nor within the margin. general: False where no seed was repeated, so that nothing is said of the methods.
    The difference and its interval are those of the choice to the best.
    """
    rows = {row["variant"]: row for row in summary}
    trained = [v for v in found if v.kind == "run" and rows[v.name][metric.key] is not None]
    if not trained:
        return None
    finalists = _finalists(trained, rows, task, rule)
    best = max(finalists, key=lambda v: metric.sign * rows[v.name][metric.key])
    compared = _to_best(found, finalists, best, task)
    margin = _margin(rule, rows, task, metric)
    incomparable = {name: c.obstacle for name, c in compared.items() if c.obstacle}
    estimates = {name: c.estimate for name, c in compared.items() if c.estimate is not None}
    general = over_seeds(found, task).df > 0
    worse = [name for name, one in estimates.items() if general and _oriented(one, metric)[1] < 0]
    within = [best.name, *(n for n, one in estimates.items() if general and _least(one, metric) > -margin)]
    floor = _above_constant(found, [v.name for v in finalists], task, metric)
    untested = floor[best.name] is None
    proven = [name for name in within if floor[name] or (untested and floor[name] is None)]
    chosen = min(proven or [best.name], key=lambda name: _cost(rows[name], rule))
    own = estimates.get(chosen)
    return {
        "variant": chosen,
        "best": best.name,
        "finalists": [v.name for v in finalists],
        "within": within,
        "worse": worse,
        "incomparable": incomparable,
        "unproven": [v.name for v in finalists if floor[v.name] is False],
        "cheaper": {
            name: (one.value, one.low, one.high)
            for name, one in estimates.items()
            if name not in (*worse, *within) and _cost(rows[name], rule) < _cost(rows[chosen], rule)
        },
        "margin": margin,
        "rule": asdict(rule),
        "general": general,
        "difference": None if own is None else own.value,
        "difference_low": None if own is None else own.low,
        "difference_high": None if own is None else own.high,
        "pairs": 0 if own is None else own.seeds,
        "beats_majority": floor[chosen],
    }


def _finalists(
    trained: Sequence[Variant], rows: Mapping[str, Mapping[str, Any]], task: Task, rule: Report
) -> list[Variant]:
    """One variant of each method: the best on validation, of equal ones the cheapest."""

    def place(variant: Variant) -> tuple[float, tuple[float, ...]]:
        scores = [(run.get("splits") or {}).get("validation") for run in variant.done]
        values = [task.value(score) for score in scores if score]
        return -math.fsum(values) / len(values) if values else math.inf, _cost(rows[variant.name], rule)

    methods = dict.fromkeys(variant.method for variant in trained)
    return [min((v for v in trained if v.method == method), key=place) for method in methods]


def _to_best(
    found: Sequence[Variant], finalists: Sequence[Variant], best: Variant, task: Task
) -> dict[str, Comparison]:
    """The finalists against the best of them, each by the studentized range of as many as could be compared."""
    names = {variant.name for variant in finalists}
    compared = {name: c for name, c in against(found, best, task).items() if name in names}
    count = 1 + sum(c.estimate is not None for c in compared.values())
    return {
        name: c if c.estimate is None else Comparison.of(against_best(c.estimate, count))
        for name, c in compared.items()
    }


def _margin(rule: Report, rows: Mapping[str, Mapping[str, Any]], task: Task, metric: Metric) -> float:
    """In the unit of the metric."""
    unit = 0.01
    if metric.lower_is_better:
        unit *= next((row[metric.key] for name, row in rows.items() if name == task.baseline), None) or 1.0
    return rule.margin * unit


def _above_constant(
    found: Sequence[Variant], names: Sequence[str], task: Task, metric: Metric
) -> dict[str, bool | None]:
    """Whether the interval of the difference to the constant answer lies on the better side of zero; None where there
    is none."""
    constant = next((v for v in found if v.kind == "baseline" and v.name == task.baseline), None)
    compared = against(found, constant, task)
    known = {name: one for name in names if name in compared and (one := compared[name].estimate) is not None}
    return {name: _oriented(known[name], metric)[0] > 0 if name in known else None for name in names}


def _oriented(one: Estimate, metric: Metric) -> tuple[float, float]:
    """The interval of a difference, turned so that higher is better."""
    return (one.low, one.high) if metric.sign > 0 else (-one.high, -one.low)


def _least(one: Estimate, metric: Metric) -> float:
    """The one-sided bound of how much better it is, at the least."""
    return one.above() if metric.sign > 0 else -one.below()


def _cost(row: Mapping[str, Any], rule: Report) -> tuple[float, ...]:
    """The cost that the rule names, the training time deciding between equal ones."""
    costs = (row[COSTS[rule.cost]], row["train_seconds"])
    return tuple(math.inf if cost is None else cost for cost in costs)
