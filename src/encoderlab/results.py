"""Run folders -> results.csv (one row per run and split), summary.csv and summary.json (one row per method variant).

Every variant is compared with the reference: difference in accuracy with a bootstrap interval over rows, exact McNemar
per seed combined by Rueger's rule, and Holm's adjustment over the family of trained variants. A failed run keeps its
rows, without metrics, and counts. What a reader must know before comparing the numbers is listed as `caveats`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab import stats
from encoderlab.comparison import Comparison, Predictions, Variant, against, variants
from encoderlab.files import read_json, write_text
from encoderlab.recommend import recommend

SPLITS = ("validation", "test")
SPLIT_METRICS = ("rows", "loss", "accuracy", "macro_f1", "macro_precision", "macro_recall", "perplexity")
PARAMETERS = ("adapter_parameters", "head_parameters", "total_parameters")
COLUMNS = (
    *("method", "variant", "seed", "split", *SPLIT_METRICS, *PARAMETERS),
    *("train_seconds", "epochs", "peak_memory_mb", "inference_ms_per_example", "adapter_bytes", "run"),
)
METRICS = ("accuracy", "macro_f1")
OF_METRIC = ("", "_sd", "_seeds_low", "_seeds_high", "_rows_low", "_rows_high")
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
    `missing` the runs without one; `summary` dicts with SUMMARY_COLUMNS (None: does not apply; `pairs`: the pairs of
    runs with equal seeds that a difference is over); `recommendation` as `recommend` returns it; `caveats`:
    sentences."""

    out: Path
    study: dict[str, Any]
    runs: list[dict[str, Any]]
    missing: list[str]
    summary: list[dict[str, Any]]
    recommendation: dict[str, Any] | None
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
    found = variants(out, runs)
    reference = next((v for v in found if v.name == study.get("reference")), None)
    compared = against(found, reference)
    summary = summarise(found, compared)
    table = Table(
        out=out,
        study=study,
        runs=runs,
        missing=missing,
        summary=summary,
        recommendation=recommend(found, summary),
        caveats=[*_uncompared(found, study.get("reference"), compared), *_mixed(runs)],
    )
    write_text(out / "results.csv", _csv(COLUMNS, result_rows(runs, others)))
    write_text(out / "summary.csv", _csv(SUMMARY_COLUMNS, summary))
    write_text(out / "summary.json", json.dumps(_structured(table), indent=1, ensure_ascii=False) + "\n")
    return table


def result_rows(runs: Iterable[Mapping[str, Any]], others: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of results.csv, as dicts with COLUMNS; `others`: names of further test sets. A failed run has its rows
    without metrics: none enters a mean."""
    rows = []
    for run in runs:
        for split in (*SPLITS, *others):
            metrics = (run.get("splits") or {}).get(split) if run["status"] == "done" else None
            row = {key: run.get(key) for key in COLUMNS} | {key: (metrics or {}).get(key) for key in SPLIT_METRICS}
            rows.append(row | _parameters(run) | {"split": split, "run": run["id"]})
    return rows


def summarise(found: Sequence[Variant], compared: Mapping[str, Comparison]) -> list[dict[str, Any]]:
    """One dict with SUMMARY_COLUMNS per variant; what cannot be said is None. `compared`: by name, with the
    reference."""
    summary = []
    for variant in found:
        row = dict.fromkeys(SUMMARY_COLUMNS) | _own_numbers(variant)
        if variant.name in compared:
            numbers = asdict(compared[variant.name])
            row |= {key: numbers[key] for key in COMPARISON}
        summary.append(row)
    family = [row for row in summary if row["kind"] == "run"]
    adjusted = stats.holm([math.nan if row["p"] is None else row["p"] for row in family])
    for row, p in zip(family, adjusted, strict=True):
        row["holm_p"] = _number(p)
    return summary


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


def _own_numbers(variant: Variant) -> dict[str, Any]:
    done, test = variant.done, list(variant.test.values())
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
    if perplexities := [score["perplexity"] for score in scores if score.get("perplexity") is not None]:
        row["perplexity"] = float(np.mean(perplexities))
    for metric in METRICS:
        spread = stats.over_seeds([score[metric] for score in scores if score.get(metric) is not None])
        over_seeds = np.clip((spread.low, spread.high), 0, 1)  # Student's t knows no bounds, a share has them
        ends = (spread.mean, spread.sd, *over_seeds, *_over_rows(metric, variant, test))
        row |= {metric + part: _number(value) for part, value in zip(OF_METRIC, ends, strict=True)}
    return row


def _over_rows(metric: str, variant: Variant, test: Sequence[Predictions]) -> tuple[float, float]:
    if not test:
        return math.nan, math.nan
    rows = reduce(np.intersect1d, [p.index for p in test])
    matched = [p.at(rows) for p in test]
    if not rows.size or any((p.labels != matched[0].labels).any() for p in matched):
        return math.nan, math.nan  # the seeds were tested on different data
    if not any(((run.get("splits") or {}).get("test") or {}).get(metric) is not None for run in variant.done):
        return math.nan, math.nan  # the task has no such metric
    if metric == "accuracy":
        interval = stats.bootstrap_mean([p.right for p in matched])
    else:
        classes = len(variant.done[0]["class_names"])
        interval = stats.bootstrap_macro_f1([p.predicted for p in matched], matched[0].labels, classes)
    return interval.low, interval.high


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
        "recommendation": table.recommendation,
        "caveats": table.caveats,
        "summary": table.summary,
        "failed": failed,
        "missing": table.missing,
        **{key: table.study.get(key) for key in FROM_STUDY},
    }
