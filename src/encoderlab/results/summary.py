"""One row of summary.csv per variant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from encoderlab.core import statistics
from encoderlab.results.columns import COMPARISON, HEADLINE, METRICS, OF_METRIC, summary_columns
from encoderlab.results.comparison import Comparison, Variant, estimated, over_rows
from encoderlab.results.predictions import Predicted, disagreeing, on_common_rows
from encoderlab.tasks.base import Task
from encoderlab.tasks.metric import Metric, perplexity


def summarise(
    found: Sequence[Variant], compared: Mapping[str, Comparison], task: Task, metric: Metric
) -> list[dict[str, Any]]:
    """One dict with `summary_columns` per variant; what cannot be said is None. `compared`: by name, with the
    reference."""
    summary = []
    for variant in found:
        row = dict.fromkeys(summary_columns(task, metric, list(variant.others))) | own_numbers(variant, task, metric)
        if variant.name in compared:
            numbers = asdict(compared[variant.name])
            row |= {key: numbers[key] for key in COMPARISON}
        summary.append(row)
    family = [row for row in summary if row["kind"] == "run"]
    adjusted = statistics.holm([math.nan if row["p"] is None else row["p"] for row in family])
    for row, p in zip(family, adjusted, strict=True):
        row["holm_p"] = _number(p)
    return summary


def one_seed(found: Sequence[Variant]) -> list[str]:
    trained = [variant for variant in found if variant.kind == "run" and variant.done]
    if len(trained) < 2 or any(len(variant.done) > 1 for variant in trained):
        return []
    return [
        "Every method was trained with one seed: the intervals and p-values of differences hold for these runs on "
        "other test rows, but not for other seeds."
    ]


def own_numbers(variant: Variant, task: Task, metric: Metric) -> dict[str, Any]:
    done = variant.done
    scores = [(run.get("splits") or {}).get("test") or {} for run in done]
    row: dict[str, Any] = {
        "method": variant.method,
        "variant": variant.name,
        "kind": variant.kind,
        "seeds": len(done),
        "failed": len(variant.failed),
        "learning_rate": next((run.get("learning_rate") for run in [*done, *variant.failed]), None),
        "rows": next((score.get("rows") for score in scores), None),
        **_parameters((done or variant.failed)[0]),
        "train_seconds": _over(done, "train_seconds", np.mean),
        "inference_ms_per_example": _over(done, "inference_ms_per_example", np.mean),
        "peak_memory_mb": _over(done, "peak_memory_mb", max),
        "adapter_bytes": _over(done, "adapter_bytes", max),
    }
    if any(score.get("perplexity") is not None for score in scores):  # of the mean loss, as within one run
        row["perplexity"] = perplexity(float(np.mean([score["loss"] for score in scores])))
    for key in dict.fromkeys((*METRICS, metric.key)):
        row |= _spread(key, scores, variant.test, task, metric)
    row |= headline(variant.test, task, metric)
    row |= {key: _mean(scores, key) for key in task.further if key not in METRICS}
    for name, predicted in variant.others.items():
        theirs = [(run.get("splits") or {}).get(name) or {} for run in done]
        own = _spread(metric.key, theirs, predicted, task, metric)
        own |= {key: _mean(theirs, key) for key in task.further}
        row |= {f"{name}_{key}": value for key, value in own.items()}
    return row


def _spread(
    key: str, scores: Sequence[Mapping[str, Any]], predicted: Predicted, task: Task, metric: Metric
) -> dict[str, float | None]:
    """A metric over the seeds and the rows of one test set: {key + part: value} of OF_METRIC."""
    spread = statistics.over_seeds([score[key] for score in scores if score.get(key) is not None])
    bounds = metric.bounds if key == metric.key else (0.0, 1.0)
    over_seeds = np.clip((spread.low, spread.high), *bounds)  # Student's t knows no bounds, a share has them
    there = predicted and any(score.get(key) is not None for score in scores)
    rows = over_the_rows(key, predicted, task, metric) if there else statistics.Interval(low=math.nan, high=math.nan)
    ends = (spread.mean, spread.sd, *over_seeds, rows.low, rows.high)
    return {key + part: _number(value) for part, value in zip(OF_METRIC, ends, strict=True)}


def headline(predicted: Predicted, task: Task, metric: Metric) -> dict[str, float | None]:
    """{key + part: value} of HEADLINE."""
    matched = on_common_rows(list(predicted.values())) if predicted else []
    if not matched or not len(matched[0].index) or disagreeing(matched):
        return dict.fromkeys((metric.key + part for part in HEADLINE), None)
    found = estimated(matched, task, metric.bounds)
    share = found.row / (found.row + found.seed) if found.row + found.seed > 0 else 1.0
    ends = (found.low, found.high, share)
    return {metric.key + part: value for part, value in zip(HEADLINE, ends, strict=True)}


def over_the_rows(key: str, predicted: Predicted, task: Task, metric: Metric) -> statistics.Interval:
    matched = on_common_rows(list(predicted.values()))
    if not len(matched[0].index) or disagreeing(matched):  # the seeds were tested on different data
        return statistics.Interval(low=math.nan, high=math.nan)
    if key == metric.key:
        return over_rows(matched, task)
    if key != "macro_f1":
        return statistics.Interval(low=math.nan, high=math.nan)
    classes = matched[0].logits.shape[1]
    return statistics.bootstrap_macro_f1([p.logits.argmax(axis=1) for p in matched], matched[0].labels, classes)


def _mean(scores: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [score[key] for score in scores if score.get(key) is not None]
    return float(np.mean(values)) if values else None


def _over(runs: Iterable[Mapping[str, Any]], key: str, how: Any) -> Any:
    values = [run[key] for run in runs if run.get(key) is not None]
    if not values:
        return None
    value = how(values)
    return float(value) if isinstance(value, np.floating) else value


def _parameters(run: Mapping[str, Any]) -> dict[str, Any]:
    counts = run.get("parameters") or {}
    return {f"{part}_parameters": counts.get(part) for part in ("adapter", "head", "total")}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
