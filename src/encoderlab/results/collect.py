"""Collect the run folders of a study into results.csv, summary.csv and summary.json.

results.csv has a row per run and split, summary.csv and summary.json a row per variant. Every variant is compared with
the reference: the difference in the task's metric with one interval and one p-value over seeds and test rows
(`core.variation`), and Holm's adjustment over the trained variants. A failed run keeps its rows, without scores.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab.core.files import build, write_text
from encoderlab.core.report_settings import Report
from encoderlab.results import row_groups
from encoderlab.results.caveats import mixed, one_seed, single_runs, uncompared
from encoderlab.results.columns import COLUMNS, SPLIT_SCORES, SPLITS, new_columns, result_columns, summary_columns
from encoderlab.results.comparison import compare_all, pooled_seed_variance, read_variants
from encoderlab.results.confirmed import read_confirmed
from encoderlab.results.confusion import confusions
from encoderlab.results.curves import read_curve
from encoderlab.results.measures import Measures
from encoderlab.results.power import power
from encoderlab.results.recommend import recommend
from encoderlab.results.searches import runs_of, searches
from encoderlab.results.study_record import StudyRecord
from encoderlab.results.summary import Cell, summarize
from encoderlab.results.sweeps import sweeps
from encoderlab.results.table import Table
from encoderlab.tasks.registry import TASKS
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import Kind, RunRecord

FROM_STUDY = ("reference", "warnings", "search", "data", "truncation", "versions", "hardware")


def collect(out: Path) -> Table:
    """Read study.json and its runs, and write results.csv, summary.csv and summary.json into `out`.

    Raises:
        InputError: A file of the study is not readable, or `out` is not writable.
    """
    table = read_table(Path(out))
    measures, others = table.measures, table.others
    rows = result_rows(table.runs, measures, others)
    grouped = table.groups is not None
    summary = [row.cells(measures, grouped=grouped) for row in table.summary]
    write_text(table.out / "results.csv", _csv(result_columns(measures), rows))
    write_text(table.out / "summary.csv", _csv(summary_columns(measures, others, grouped), summary))
    write_text(table.out / "summary.json", json.dumps(_structured(table, summary), indent=1, ensure_ascii=False) + "\n")
    return table


def read_table(out: Path) -> Table:
    """Read study.json and its runs, and compute everything that a report shows. Write nothing."""
    study = StudyRecord.read(out)
    ids = list(dict.fromkeys(study.runs))
    folders = {number: RunFolder(out / "runs" / number) for number in ids}
    missing = tuple(number for number, folder in folders.items() if not folder.is_recorded)
    records = [study.labelled(folder.record()) for number, folder in folders.items() if number not in missing]
    runs = tuple(record for record in records if record.kind is not Kind.TRIAL)
    rule = Report.read(study.study.get("report"))
    others = tuple(name for name in study.data if name not in ("train", *SPLITS, rule.confirm))
    task = build(TASKS, "kind", study.study["task"])
    measures = Measures.of(task, next((record.class_names for record in records), ()))
    key = measures.metric.key
    variants = read_variants(out, runs, measures.metrics.values(), others)
    reference = next((v for v in variants if v.name == study.reference), None)
    compared = compare_all(variants, reference, measures.metric)
    summary = summarize(variants, compared, measures)
    choice = recommend(variants, summary, measures, rule)
    done = {variant.name: variant.done for variant in variants}
    validation = {name: _recorded(done[name], "validation", key) for name in done}
    trained = [row.variant for row in summary if row.is_trained]
    curves = {name: read_curve([folders[run.id] for run in done[name]], key) for name in trained}
    validation_rows = study.data["validation"].rows if "validation" in study.data else None
    return Table(
        out=out,
        study=study,
        runs=runs,
        missing=missing,
        measures=measures,
        others=others,
        summary=summary,
        recommendation=choice,
        confirmed=read_confirmed(out, study, choice, runs, measures, pooled_seed_variance(variants, measures.metric)),
        power=power(variants, compared, measures.metric),
        rule=rule,
        caveats=(
            *one_seed(variants),
            *single_runs(variants),
            *uncompared(variants, study.reference, compared),
            *mixed(runs),
        ),
        warnings=_warnings(study, runs),
        groups=row_groups.read(out).get("test"),
        test_scores={row.variant: row.test_scores for row in summary},
        levels={
            row.variant: float(np.mean(validation[row.variant]))
            for row in summary
            if validation[row.variant] and (not row.is_trained or row.method == "head")
        },
        curves={name: curve for name, curve in curves.items() if curve is not None},
        confusions=confusions(variants, measures.metrics.values()),
        sweeps=sweeps(trained, done, key),
        searches=searches(study.search, measures.metric, validation_rows, _seconds(study, out)),
    )


def _seconds(study: StudyRecord, out: Path) -> Mapping[str, float]:
    """Return {id: seconds of training} of the runs of the searches, as far as their folders are there."""
    folders = {run: RunFolder(out / "runs" / run) for record in study.search for run in runs_of(record)}
    return {run: folder.record().train_seconds for run, folder in folders.items() if folder.is_recorded}


def _recorded(runs: Iterable[RunRecord], split: str, key: str) -> tuple[float, ...]:
    """Return a metric as the runs recorded it."""
    return tuple(score for run in runs if (score := run.metric(split, key)) is not None)


def _warnings(study: StudyRecord, runs: Iterable[RunRecord]) -> tuple[str, ...]:
    """Return the warnings of the study, then those of runs, each once with the number of runs that have it."""
    counts: dict[str, int] = {}
    for run in runs:
        for warning in run.warnings:
            if warning not in study.warnings:
                counts[warning] = counts.get(warning, 0) + 1
    return (*study.warnings, *(f"{warning} ({n} run{'s' * (n > 1)})" for warning, n in counts.items()))


def result_rows(runs: Iterable[RunRecord], measures: Measures, others: Sequence[str] = ()) -> list[dict[str, Cell]]:
    """Return the rows of results.csv: {column: value}. A failed run has its rows without scores.

    Args:
        runs: The runs of the study.
        measures: The metrics of the study.
        others: The names of further test sets.
    """
    columns = result_columns(measures)
    of_split = (*SPLIT_SCORES, *new_columns(columns, COLUMNS))
    rows: list[dict[str, Cell]] = []
    for run in runs:
        about: dict[str, Cell] = {key: getattr(run, key, None) for key in columns}
        about |= {f"{part}_parameters": getattr(run.parameters, part) for part in ("adapter", "head", "total")}
        for split in (*SPLITS, *others):
            scores = run.splits.get(split) if run.is_done else None
            scored = {} if scores is None else {**scores.metrics, "rows": scores.rows}
            rows.append(about | {key: scored.get(key) for key in of_split} | {"split": split, "run": run.id})
    return rows


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if row[c] is None or row[c] != row[c] else row[c] for c in columns] for row in rows])
    return text.getvalue()


def _structured(table: Table, summary: Sequence[Mapping[str, Cell]]) -> Mapping[str, Any]:
    """Return the content of summary.json."""
    choice, study = table.recommendation, table.study.to_json()
    failed = [{"run": run.id, "variant": run.variant, "seed": run.seed, "reason": run.reason} for run in table.failed]
    return {
        "metric": table.metric.to_json(),
        "other_tests": table.others,
        "recommendation": None if choice is None else choice.to_json(),
        "confirmed": None if table.confirmed is None else table.confirmed.to_json(),
        "caveats": table.caveats,
        "summary": summary,
        "failed": failed,
        "missing": table.missing,
        **{key: study[key] for key in FROM_STUDY},
        "classes": {name: [asdict(one) for one in found.classes] for name, found in table.confusions.items()},
    }
