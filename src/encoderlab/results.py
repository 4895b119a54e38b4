"""Run folders -> results.csv (one row per run and split), summary.csv and summary.json (one row per method variant).

Every variant is compared with the reference: the difference in the task's metric with one interval and one p value over
seeds and test rows (`variation`), and Holm's adjustment over the family of trained variants. A task whose metric is not
the accuracy has columns of its own behind the others, and so has each further test set. A failed run
keeps its rows, without metrics, and counts. What a reader must know before comparing is listed as `caveats`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab import stats
from encoderlab.comparison import (
    Comparison,
    Predicted,
    Variant,
    against,
    disagreeing,
    estimated,
    on_common_rows,
    over_rows,
    variants,
)
from encoderlab.files import build, read_json, write_text
from encoderlab.recommend import recommend
from encoderlab.reporting import Report
from encoderlab.tasks import TASKS, Metric, Task
from encoderlab.tasks.metric import perplexity

SPLITS = ("validation", "test")
SPLIT_METRICS = ("rows", "loss", "accuracy", "macro_f1", "macro_precision", "macro_recall", "perplexity")
PARAMETERS = ("adapter_parameters", "head_parameters", "total_parameters")
COLUMNS = (
    *("method", "variant", "seed", "split", *SPLIT_METRICS, *PARAMETERS),
    *("train_seconds", "epochs", "peak_memory_mb", "inference_ms_per_example", "adapter_bytes", "run"),
)
METRICS = ("accuracy", "macro_f1")
OF_METRIC = ("", "_sd", "_seeds_low", "_seeds_high", "_rows_low", "_rows_high")
HEADLINE = ("_low", "_high", "_row_share")  # one interval over seeds and rows, and the rows' share of its variance
COMPARISON = ("difference", "difference_low", "difference_high", "p", "pairs")
SUMMARY_COLUMNS = (
    *("method", "variant", "kind", "seeds", "learning_rate", "rows"),
    *(metric + part for metric in METRICS for part in OF_METRIC),
    "perplexity",
    *(*COMPARISON, "holm_p"),
    *(*PARAMETERS, "train_seconds", "inference_ms_per_example", "peak_memory_mb", "adapter_bytes", "failed"),
)
FROM_STUDY = ("reference", "warnings", "search", "data", "truncation", "versions", "hardware")


@dataclass(frozen=True, kw_only=True)
class Table:
    """The collected study. `study` is study.json; `runs` every result.json but the trials', in the study's order;
    `missing` the runs without one; `metric` what variants are compared by; `others` the names of further test sets;
    `summary` dicts with `summary_columns` (None: does not apply; `pairs`: the pairs of runs with equal seeds that a
    difference is over); `recommendation` as `recommend` returns it; `caveats`: sentences."""

    out: Path
    study: dict[str, Any]
    runs: list[dict[str, Any]]
    missing: list[str]
    task: Task
    metric: Metric
    others: list[str]
    summary: list[dict[str, Any]]
    recommendation: dict[str, Any] | None
    rule: Report
    caveats: list[str]


def collect(out: Path) -> Table:
    """Read study.json and its runs, write results.csv, summary.csv and summary.json into `out`, return them as a table.

    Raises InputError where a file of the study is not readable or `out` is not writable.
    """
    out = Path(out)
    study = read_json(out / "study.json")
    ids = list(dict.fromkeys(study["runs"]))
    missing = [i for i in ids if not (out / "runs" / i / "result.json").is_file()]
    labels = study.get("labels") or {}  # a run taken from an earlier study may carry another label in its result
    results = [read_json(out / "runs" / i / "result.json") | labels.get(i, {}) for i in ids if i not in missing]
    runs = [r for r in results if r["kind"] != "trial"]
    others = [name for name in study.get("data") or {} if name not in ("train", *SPLITS)]
    task = build(TASKS, "kind", study["study"]["task"])
    metric = task.metric(next((run["class_names"] for run in results), []))
    found = variants(out, runs, task, others)
    reference = next((v for v in found if v.name == study.get("reference")), None)
    compared = against(found, reference, task)
    summary = summarise(found, compared, task, metric)
    rule = Report.read(study["study"].get("report"))
    table = Table(
        out=out,
        study=study,
        runs=runs,
        missing=missing,
        task=task,
        metric=metric,
        others=others,
        summary=summary,
        recommendation=recommend(found, summary, task, metric, rule),
        rule=rule,
        caveats=[*_one_seed(found), *_uncompared(found, study.get("reference"), compared), *_mixed(runs)],
    )
    write_text(out / "results.csv", _csv(result_columns(task, metric), result_rows(runs, task, metric, others)))
    write_text(out / "summary.csv", _csv(summary_columns(task, metric, others), summary))
    write_text(out / "summary.json", json.dumps(_structured(table), indent=1, ensure_ascii=False) + "\n")
    return table


def result_columns(task: Task, metric: Metric) -> tuple[str, ...]:
    return (*COLUMNS, *_new((metric.key, *task.further), COLUMNS))


def summary_columns(task: Task, metric: Metric, others: Sequence[str] = ()) -> tuple[str, ...]:
    own = [metric.key + part for part in (*OF_METRIC, *HEADLINE)]
    elsewhere = [f"{name}_{metric.key}{part}" for name in others for part in OF_METRIC]
    further = [key for name in ("", *(f"{name}_" for name in others)) for key in (f"{name}{m}" for m in task.further)]
    return (*SUMMARY_COLUMNS, *_new((*own, *elsewhere, *further), SUMMARY_COLUMNS))


def _new(names: Iterable[str], known: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in known]


def result_rows(
    runs: Iterable[Mapping[str, Any]], task: Task, metric: Metric, others: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rows of results.csv, as dicts with `result_columns`; `others`: names of further test sets. A failed run has
    its rows without metrics: none enters a mean."""
    rows, columns = [], result_columns(task, metric)
    of_split = (*SPLIT_METRICS, *_new(columns, COLUMNS))
    for run in runs:
        for split in (*SPLITS, *others):
            metrics = (run.get("splits") or {}).get(split) if run["status"] == "done" else None
            row = {key: run.get(key) for key in columns} | {key: (metrics or {}).get(key) for key in of_split}
            rows.append(row | _parameters(run) | {"split": split, "run": run["id"]})
    return rows


def summarise(
    found: Sequence[Variant], compared: Mapping[str, Comparison], task: Task, metric: Metric
) -> list[dict[str, Any]]:
    """One dict with `summary_columns` per variant; what cannot be said is None. `compared`: by name, with the
    reference."""
    summary = []
    for variant in found:
        row = dict.fromkeys(summary_columns(task, metric, list(variant.others))) | _own_numbers(variant, task, metric)
        if variant.name in compared:
            numbers = asdict(compared[variant.name])
            row |= {key: numbers[key] for key in COMPARISON}
        summary.append(row)
    family = [row for row in summary if row["kind"] == "run"]
    adjusted = stats.holm([math.nan if row["p"] is None else row["p"] for row in family])
    for row, p in zip(family, adjusted, strict=True):
        row["holm_p"] = _number(p)
    return summary


def _one_seed(found: Sequence[Variant]) -> list[str]:
    trained = [variant for variant in found if variant.kind == "run" and variant.done]
    if len(trained) < 2 or any(len(variant.done) > 1 for variant in trained):
        return []
    return [
        "Every method was trained with one seed: intervals and p values of differences are about these runs on other "
        "test rows, and say nothing of how another seed would do."
    ]


def _uncompared(found: Sequence[Variant], reference: str | None, compared: Mapping[str, Comparison]) -> list[str]:
    """Sentences on differences to the reference that are missing, or over other seeds than the means."""
    finished = {v.name: len(v.done) for v in found if v.done}
    if not reference or not finished:
        return []
    if reference not in finished:
        known = ", ".join(finished)
        return [f"Nothing is compared with the reference, {reference}: no run of it was finished (finished: {known})."]
    told = [f"{name} is not compared with {reference}: {c.obstacle}." for name, c in compared.items() if c.obstacle]
    fewer = [
        f"{name} ({c.pairs}; means over {finished[name]} and {finished[reference]})"
        for name, c in compared.items()
        if 0 < c.pairs < max(finished[name], finished[reference])
    ]
    if fewer:
        told.append(
            f"Some differences to {reference} are over fewer pairs of seeds than the means, because a run failed "
            f"or its predictions are missing: {', '.join(fewer)}."
        )
    return told


def _mixed(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sentences on finished runs that were made with different versions or on different hardware."""
    told = []
    for what in ("versions", "hardware"):
        seen: dict[str, dict[str, int]] = {}
        for run in runs:
            for key, value in (run.get(what) or {}).items() if run["status"] == "done" else ():
                shown = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
                counts = seen.setdefault(key, {})
                counts[shown] = counts.get(shown, 0) + 1
        different = [
            f"{key} " + ", ".join(f"{value} ({n} run{'s' * (n > 1)})" for value, n in counts.items())
            for key, counts in seen.items()
            if len(counts) > 1
        ]
        if different:
            told.append(f"The runs differ in {what}, and their times are compared: {'; '.join(different)}.")
    return told


def _own_numbers(variant: Variant, task: Task, metric: Metric) -> dict[str, Any]:
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
    row |= _headline(variant.test, task, metric)
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
    spread = stats.over_seeds([score[key] for score in scores if score.get(key) is not None])
    bounds = metric.bounds if key == metric.key else (0.0, 1.0)
    over_seeds = np.clip((spread.low, spread.high), *bounds)  # Student's t knows no bounds, a share has them
    there = predicted and any(score.get(key) is not None for score in scores)
    rows = _over_rows(key, predicted, task, metric) if there else stats.Interval(low=math.nan, high=math.nan)
    ends = (spread.mean, spread.sd, *over_seeds, rows.low, rows.high)
    return {key + part: _number(value) for part, value in zip(OF_METRIC, ends, strict=True)}


def _headline(predicted: Predicted, task: Task, metric: Metric) -> dict[str, float | None]:
    """{key + part: value} of HEADLINE."""
    matched = on_common_rows(list(predicted.values())) if predicted else []
    if not matched or not len(matched[0].index) or disagreeing(matched):
        return dict.fromkeys((metric.key + part for part in HEADLINE), None)
    found = estimated(matched, task, metric.bounds)
    share = found.row / (found.row + found.seed) if found.row + found.seed > 0 else 1.0
    ends = (found.low, found.high, share)
    return {metric.key + part: value for part, value in zip(HEADLINE, ends, strict=True)}


def _over_rows(key: str, predicted: Predicted, task: Task, metric: Metric) -> stats.Interval:
    matched = on_common_rows(list(predicted.values()))
    if not len(matched[0].index) or disagreeing(matched):  # the seeds were tested on different data
        return stats.Interval(low=math.nan, high=math.nan)
    if key == metric.key:
        return over_rows(matched, task)
    if key != "macro_f1":
        return stats.Interval(low=math.nan, high=math.nan)
    classes = matched[0].logits.shape[1]
    return stats.bootstrap_macro_f1([p.logits.argmax(axis=1) for p in matched], matched[0].labels, classes)


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


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if row[c] is None or row[c] != row[c] else row[c] for c in columns] for row in rows])
    return text.getvalue()


def _structured(table: Table) -> dict[str, Any]:
    failed = [
        {"run": run["id"], "variant": run["variant"], "seed": run.get("seed"), "reason": run.get("reason")}
        for run in table.runs
        if run["status"] != "done"
    ]
    return {
        "metric": asdict(table.metric),
        "other_tests": table.others,
        "recommendation": table.recommendation,
        "caveats": table.caveats,
        "summary": table.summary,
        "failed": failed,
        "missing": table.missing,
        **{key: table.study.get(key) for key in FROM_STUDY},
    }
