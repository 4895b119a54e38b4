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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoderlab.core.files import build, read_json, write_text
from encoderlab.core.report_settings import Report
from encoderlab.results.caveats import mixed, uncompared
from encoderlab.results.columns import (
    COLUMNS,
    FROM_STUDY,
    SPLIT_METRICS,
    SPLITS,
    new_columns,
    result_columns,
    summary_columns,
)
from encoderlab.results.comparison import against, variants
from encoderlab.results.recommend import recommend
from encoderlab.results.summary import _parameters, one_seed, summarise
from encoderlab.tasks.base import Task
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.registry import TASKS


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
        caveats=[*one_seed(found), *uncompared(found, study.get("reference"), compared), *mixed(runs)],
    )
    write_text(out / "results.csv", _csv(result_columns(task, metric), result_rows(runs, task, metric, others)))
    write_text(out / "summary.csv", _csv(summary_columns(task, metric, others), summary))
    write_text(out / "summary.json", json.dumps(_structured(table), indent=1, ensure_ascii=False) + "\n")
    return table


def result_rows(
    runs: Iterable[Mapping[str, Any]], task: Task, metric: Metric, others: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rows of results.csv, as dicts with `result_columns`; `others`: names of further test sets. A failed run has
    its rows without metrics: none enters a mean."""
    rows, columns = [], result_columns(task, metric)
    of_split = (*SPLIT_METRICS, *new_columns(columns, COLUMNS))
    for run in runs:
        for split in (*SPLITS, *others):
            metrics = (run.get("splits") or {}).get(split) if run["status"] == "done" else None
            row = {key: run.get(key) for key in columns} | {key: (metrics or {}).get(key) for key in of_split}
            rows.append(row | _parameters(run) | {"split": split, "run": run["id"]})
    return rows


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
