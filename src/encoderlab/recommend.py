"""Which variant to use: the cheapest that no test can tell from the best one and that beats the constant answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from encoderlab import stats
from encoderlab.comparison import Comparison, Variant, against, compare
from encoderlab.tasks import Metric, Task

SIGNIFICANT = 0.05


def recommend(
    found: Sequence[Variant], summary: Sequence[Mapping[str, Any]], task: Task, metric: Metric
) -> dict[str, Any] | None:
    """The choice as a dict; None if nothing was trained to its end.

    `variant` is chosen, `best` has the best value of the metric; `equals` cannot be told from the best (which is among
    them), `worse` can, `incomparable` says by name why no test was possible. `unproven`: the equals for which the
    interval of the difference to the constant answer (the majority class) does not lie on the better side of zero; none
    of them is chosen unless the best is `unproven` itself, and then `beats_majority` is False (None: there is nothing
    to test that with). The difference and its test are those of the choice to the best.

    Cheap: fewest adapter parameters, then shortest training. A variant is worse than the best if the bootstrap interval
    of its difference lies on the worse side of zero or Holm's p (family: every trained variant against the best) is
    below 0.05 with a difference on that side: two chances to be found worse, so that a cheap method is not recommended
    on a weak test alone.
    """
    rows = {row["variant"]: row for row in summary}
    trained = [v for v in found if v.kind == "run" and rows[v.name][metric.key] is not None]
    if not trained:
        return None
    best = max(trained, key=lambda v: metric.sign * rows[v.name][metric.key])
    compared = against(trained, best, task)
    p = stats.holm([math.nan if c.p is None else c.p for c in compared.values()])
    adjusted = dict(zip(compared, map(float, p), strict=True))
    worse = [
        name
        for name, c in compared.items()
        if c.difference is not None
        and metric.sign * c.difference < 0
        and (_ends(c, metric)[1] < 0 or adjusted[name] < SIGNIFICANT)
    ]
    incomparable = {name: c.obstacle for name, c in compared.items() if c.obstacle}
    equals = [best.name, *(name for name in compared if name not in worse and name not in incomparable)]
    floor = _above_constant(found, equals, task, metric)
    untested = floor[best.name] is None
    proven = [name for name in equals if floor[name] or (untested and floor[name] is None)]
    chosen = min(proven or [best.name], key=lambda name: _cost(rows[name]))
    to_best = compared.get(chosen) or compare(best, best, task)
    return {
        "variant": chosen,
        "best": best.name,
        "equals": equals,
        "unproven": [name for name in equals if name not in proven],
        "worse": worse,
        "incomparable": incomparable,
        **{key: value for key, value in asdict(to_best).items() if key != "obstacle"},
        "holm_p": adjusted.get(chosen),
        "beats_majority": floor[chosen],
    }


def _above_constant(
    found: Sequence[Variant], names: Sequence[str], task: Task, metric: Metric
) -> dict[str, bool | None]:
    """Whether the interval of the difference to the constant answer lies on the better side of zero; None where there
    is none."""
    constant = next((v for v in found if v.kind == "baseline" and v.name == task.baseline), None)
    compared = against(found, constant, task)
    known = {name for name in names if name in compared and compared[name].difference is not None}
    return {name: _ends(compared[name], metric)[0] > 0 if name in known else None for name in names}


def _ends(c: Comparison, metric: Metric) -> tuple[float, float]:
    """The interval of a difference, turned so that higher is better."""
    assert c.difference_low is not None and c.difference_high is not None
    return tuple(sorted((metric.sign * c.difference_low, metric.sign * c.difference_high)))  # type: ignore[return-value]


def _cost(row: Mapping[str, Any]) -> tuple[float, float]:
    costs = (row["adapter_parameters"], row["train_seconds"])
    return tuple(math.inf if cost is None else cost for cost in costs)  # pyright: ignore[reportReturnType]
