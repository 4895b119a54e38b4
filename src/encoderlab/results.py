"""Run folders -> results.csv (one row per run and split), summary.csv and summary.json (one row per method variant).

Test rows are matched by their `index` in the source, seeds by their number. Every variant is compared with the
reference: difference in accuracy with a bootstrap interval over rows, exact McNemar per seed combined by Rueger's rule,
and Holm's adjustment over the family of trained variants. A failed run keeps its rows, without metrics, and counts.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from encoderlab import stats
from encoderlab.errors import InputError
from encoderlab.files import read_json, write_text

SPLITS = ("validation", "test")
SPLIT_METRICS = ("rows", "loss", "accuracy", "macro_f1", "macro_precision", "macro_recall")
PARAMETERS = ("adapter_parameters", "head_parameters", "total_parameters")
COLUMNS = (
    *("method", "variant", "seed", "split", *SPLIT_METRICS, *PARAMETERS),
    *("train_seconds", "epochs", "peak_memory_mb", "inference_ms_per_example", "adapter_bytes", "run"),
)
METRICS = ("accuracy", "macro_f1")
OF_METRIC = ("", "_sd", "_seeds_low", "_seeds_high", "_rows_low", "_rows_high")
COMPARISON = ("difference", "difference_low", "difference_high", "mcnemar_p")
SUMMARY_COLUMNS = (
    *("method", "variant", "kind", "seeds", "learning_rate", "rows"),
    *(metric + part for metric in METRICS for part in OF_METRIC),
    *(*COMPARISON, "holm_p"),
    *(*PARAMETERS, "train_seconds", "inference_ms_per_example", "peak_memory_mb", "adapter_bytes", "failed"),
)
FROM_STUDY = ("reference", "warnings", "search", "data", "truncation", "versions", "hardware")
SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run answered on one split, sorted by row: index, predicted and labels are int64 (n,)."""

    index: NDArray[np.int64]
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]

    def right(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the answer is right, for source rows that are all in `index`."""
        at = np.searchsorted(self.index, rows)
        return self.predicted[at] == self.labels[at]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One method with one choice of settings: its finished runs, their test predictions by seed, its failed runs."""

    name: str
    method: str
    kind: str
    done: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    test: dict[int | None, Predictions]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The collected study. `study` is study.json; `runs` every result.json but the trials', in the study's order;
    `missing` the runs without one; `summary` dicts with SUMMARY_COLUMNS (None: does not apply); `recommendation` as
    `recommend` returns it."""

    out: Path
    study: dict[str, Any]
    runs: list[dict[str, Any]]
    missing: list[str]
    summary: list[dict[str, Any]]
    recommendation: dict[str, Any] | None


def collect(out: Path) -> Table:
    """Read study.json and its runs, write results.csv, summary.csv and summary.json into `out`, return them as a table.

    Raises InputError where a file of the study is not readable or `out` is not writable.
    """
    out = Path(out)
    study = read_json(out / "study.json")
    ids = list(dict.fromkeys(study["runs"]))
    missing = [i for i in ids if not (out / "runs" / i / "result.json").is_file()]
    results = [read_json(out / "runs" / i / "result.json") for i in ids if i not in missing]
    runs = [r for r in results if r["kind"] != "trial"]
    found = variants(out, runs)
    summary = summarise(found, study.get("reference"))
    table = Table(
        out=out, study=study, runs=runs, missing=missing, summary=summary, recommendation=recommend(found, summary)
    )
    write_text(out / "results.csv", _csv(COLUMNS, result_rows(runs)))
    write_text(out / "summary.csv", _csv(SUMMARY_COLUMNS, summary))
    write_text(out / "summary.json", json.dumps(_structured(table), indent=1, ensure_ascii=False) + "\n")
    return table


def result_rows(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of results.csv, as dicts with COLUMNS. A failed run has its rows without metrics: none enters a mean."""
    rows = []
    for run in runs:
        for split in SPLITS:
            metrics = (run.get("splits") or {}).get(split) if run["status"] == "done" else None
            row = {key: run.get(key) for key in COLUMNS} | {key: (metrics or {}).get(key) for key in SPLIT_METRICS}
            rows.append(row | _parameters(run) | {"split": split, "run": run["id"]})
    return rows


def variants(out: Path, runs: Iterable[dict[str, Any]]) -> list[Variant]:
    """Runs grouped by variant, in the order of their first run."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["variant"], []).append(run)
    found = []
    for name, group in groups.items():
        done = [run for run in group if run["status"] == "done"]
        failed = [run for run in group if run["status"] != "done"]
        read = {run.get("seed"): read_predictions(out / "runs" / run["id"], "test") for run in done}
        test = {seed: predictions for seed, predictions in read.items() if predictions is not None}
        first = group[0]
        found.append(
            Variant(name=name, method=first["method"], kind=first["kind"], done=done, failed=failed, test=test)
        )
    return found


def summarise(found: Sequence[Variant], reference: str | None) -> list[dict[str, Any]]:
    """One dict with SUMMARY_COLUMNS per variant; what cannot be said is None."""
    against = next((v for v in found if v.name == reference), None)
    summary = []
    for variant in found:
        row = _own_numbers(variant)
        if against is not None and variant is not against:
            row |= compare(variant, against)
        summary.append(dict.fromkeys(SUMMARY_COLUMNS) | row)
    family = [row for row in summary if row["kind"] == "run"]
    adjusted = stats.holm([math.nan if row["mcnemar_p"] is None else row["mcnemar_p"] for row in family])
    for row, p in zip(family, adjusted, strict=True):
        row["holm_p"] = _number(p)
    return summary


def compare(a: Variant, b: Variant) -> dict[str, float | None]:
    """Accuracy of `a` minus that of `b` over the seeds and test rows that both have: difference, its bootstrap interval
    over rows and McNemar's p, combined over the seeds; all None without a common seed or row.

    A baseline with a single run answers the same whatever the seed, so it is paired with every seed of the other.
    """
    if any(v.kind == "baseline" and len(v.test) == 1 for v in (a, b)):
        pairs = [(p, q) for p in a.test.values() for q in b.test.values()]
    else:
        pairs = [(a.test[seed], b.test[seed]) for seed in a.test if seed in b.test]
    nothing: dict[str, float | None] = dict.fromkeys(COMPARISON)
    if not pairs:
        return nothing
    rows = reduce(np.intersect1d, [p.index for pair in pairs for p in pair])
    if not rows.size:
        return nothing
    left = np.array([p.right(rows) for p, _ in pairs])
    right = np.array([q.right(rows) for _, q in pairs])
    difference = left.astype(np.float64) - right
    interval = stats.bootstrap_mean(difference)
    return {
        "difference": float(difference.mean()),
        "difference_low": interval.low,
        "difference_high": interval.high,
        "mcnemar_p": stats.rueger([stats.mcnemar(x, y) for x, y in zip(left, right, strict=True)]),
    }


def recommend(found: Sequence[Variant], summary: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The cheapest trained variant that no test can tell from the most accurate one; None if nothing was trained.

    Cheap: fewest adapter parameters, then shortest training. A variant is worse than the best if the bootstrap interval
    of its difference lies below zero or Holm's p (family: every trained variant against the best) is below 0.05 with a
    negative difference: two chances to be found worse, so that a cheap method is not recommended on a weak test alone.
    """
    rows = {row["variant"]: row for row in summary}
    trained = [v for v in found if v.kind == "run" and rows[v.name]["accuracy"] is not None]
    if not trained:
        return None
    best = max(trained, key=lambda v: rows[v.name]["accuracy"])
    others = [v for v in trained if v is not best]
    against = {v.name: compare(v, best) for v in others}
    p = stats.holm([math.nan if c["mcnemar_p"] is None else c["mcnemar_p"] for c in against.values()])
    adjusted = dict(zip(against, map(float, p), strict=True))

    def worse(v: Variant) -> bool:
        c = against[v.name]
        if c["difference"] is None or c["difference_high"] is None:
            return True  # not comparable: no claim
        return c["difference"] < 0 and (c["difference_high"] < 0 or adjusted[v.name] < SIGNIFICANT)

    equals = [best, *(v for v in others if not worse(v))]
    chosen = min(
        equals, key=lambda v: (_or_inf(rows[v.name]["adapter_parameters"]), _or_inf(rows[v.name]["train_seconds"]))
    )
    majority = next((v for v in found if v.kind == "baseline" and v.name == "majority"), None)
    floor = compare(chosen, majority)["difference_low"] if majority else None
    return {
        "variant": chosen.name,
        "best": best.name,
        "equals": [v.name for v in equals],
        "worse": [v.name for v in others if worse(v)],
        **(against.get(chosen.name) or compare(best, best)),
        "holm_p": _number(adjusted.get(chosen.name, math.nan)),
        "beats_majority": None if floor is None else floor > 0,
    }


def read_predictions(folder: Path, split: str) -> Predictions | None:
    """predictions/<split>.safetensors of one run folder; None if the run has none. InputError if it is damaged."""
    path = folder / "predictions" / f"{split}.safetensors"
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
        order = np.argsort(tensors["index"], kind="stable")
        return Predictions(
            index=tensors["index"][order],
            predicted=tensors["logits"].argmax(axis=1)[order],
            labels=tensors["labels"][order],
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path}: not readable as predictions ({error}); delete the run's folder and run the study again"
        ) from None


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
    for metric in METRICS:
        spread = stats.over_seeds([score[metric] for score in scores if score.get(metric) is not None])
        ends = (spread.mean, spread.sd, spread.low, spread.high, *_over_rows(metric, variant, test))
        row |= {metric + part: _number(value) for part, value in zip(OF_METRIC, ends, strict=True)}
    return row


def _over_rows(metric: str, variant: Variant, test: Sequence[Predictions]) -> tuple[float, float]:
    if not test:
        return math.nan, math.nan
    rows = reduce(np.intersect1d, [p.index for p in test])
    if metric == "accuracy":
        interval = stats.bootstrap_mean([p.right(rows) for p in test])
    else:
        at = [np.searchsorted(p.index, rows) for p in test]
        predicted = [p.predicted[i] for p, i in zip(test, at, strict=True)]
        classes = len(variant.done[0]["class_names"])
        interval = stats.bootstrap_macro_f1(predicted, test[0].labels[at[0]], classes)
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


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


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
        "summary": table.summary,
        "failed": failed,
        "missing": table.missing,
        **{key: table.study.get(key) for key in FROM_STUDY},
    }
