"""Write report.html: one offline page with every number of the study and its uncertainty.

Text from the data (labels, names, paths, warnings, reasons) reaches the page only through jinja2 with autoescape.
The figures are inserted as they are, because matplotlib escapes their text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab.core.files import write_text
from encoderlab.report import (
    confusion,
    cost_figure,
    curves_figure,
    headline,
    ranking_figure,
    search_figure,
    style,
    sweep_figure,
    templates,
    text,
)
from encoderlab.results import collect, columns
from encoderlab.results.collect import Table
from encoderlab.tasks.metric import Metric


def write(out: Path) -> Path:
    """Collect the study in `out` (results.csv, summary.csv, summary.json), write `out`/report.html and return its path.

    The same folder always gives the same page, byte for byte.

    Raises:
        InputError: as `results.collect` does.
    """
    path = Path(out) / "report.html"
    write_text(path, page(collect.collect(Path(out))))
    return path


def page(table: Table) -> str:
    """Return the HTML page of a collected study."""
    return templates.render("study_page.html.j2", _context(table))


def _context(table: Table) -> dict[str, Any]:
    study, metric = table.study, table.metric
    summary = sorted(table.summary, key=lambda row: _rank(row[metric.key], metric))
    look = style.styles(table.summary, study.get("reference"))
    done = {row["variant"]: [] for row in summary}
    for run in table.runs:
        if run["status"] == "done":
            done[run["variant"]].append(run)
    trained = [row["variant"] for row in summary if row["kind"] == "run"]
    matrices = [confusion.read(variant, done[variant]) for variant in trained]
    best = table.recommendation["variant"] if table.recommendation else None
    swept = sweep_figure.find([row["variant"] for row in table.summary if row["kind"] == "run"])  # in the study's order
    panels = sweep_figure.read(swept, done, look, metric)
    return {
        "name": (study.get("study") or {}).get("name") or table.out.name,
        "headline": headline.sentences(table),
        "chosen": best,
        "reference": study.get("reference"),
        "reference_seeds": next((row["seeds"] for row in summary if row["variant"] == study.get("reference")), 0),
        "caveats": table.caveats,
        "summary": summary,
        "metric": metric,
        "title": text.heading(metric),
        "rule": table.rule,
        "margin": headline.margin(table.recommendation, metric) if table.recommendation else "",
        "general": bool(table.recommendation and table.recommendation["general"]),
        "always": table.task.always,
        "others": table.others,
        "further": [
            key
            for key in table.task.further
            if key not in (*columns.METRICS, metric.key) and any(row[key] is not None for row in summary)
        ],
        "perplexity": any(row["perplexity"] is not None for row in summary),
        "macro_f1": any(row["macro_f1"] is not None for row in summary),
        "look": look,
        "figures": _figures(table, summary, done, look, panels[: sweep_figure.PANELS]),
        "undrawn": [panel.title for panel in panels[sweep_figure.PANELS :]],
        "matrices": [m for m in matrices if m],
        "search": study.get("search") or [],
        "sampled": _sampled(study.get("search") or []),
        "candidates": sorted({len(entry["candidates"]) for entry in study.get("search") or []}),
        "raced": any(entry.get("race") for entry in study.get("search") or []),
        "at_edge": [entry["variant"] for entry in study.get("search") or [] if entry.get("edge")],
        "by_chance": [entry["variant"] for entry in study.get("search") or [] if entry.get("chance")],
        "data": study.get("data") or {},
        "truncation": study.get("truncation") or {},
        "warnings": _warnings(table),
        "failed": [run for run in table.runs if run["status"] != "done"],
        "missing": table.missing,
        "precision": study.get("precision"),
        "versions": study.get("versions") or {},
        "hardware": study.get("hardware") or {},
        "resolved": json.dumps(study.get("study") or {}, indent=2, ensure_ascii=False),
    }


def _sampled(search: list[dict[str, Any]]) -> dict[str, int] | None:
    """Count the pruned and the failed trials of all variants; None if no settings were sampled."""
    if not any("trials" in entry for entry in search):
        return None
    return {status: sum(entry.get(status, 0) for entry in search) for status in ("pruned", "failed")}


def _figures(
    table: Table,
    summary: list[dict[str, Any]],
    done: Mapping[str, list[dict[str, Any]]],
    look: Mapping[str, style.Style],
    panels: list[sweep_figure.Panel],
) -> dict[str, str | None]:
    """Return the figures as SVG by name; None for a figure without data."""
    drawn: dict[str, str] = {}
    metric = table.metric
    if any(row[metric.key] is not None for row in summary):
        seeds = {variant: _scores(runs, "test", metric) for variant, runs in done.items()}
        drawn["ranking"] = ranking_figure.ranking(summary, seeds, look, metric)
    if any(row["kind"] == "run" and row[metric.key] is not None for row in summary):
        label = "adapter parameters, without the head (log scale)"
        drawn["parameters"] = cost_figure.cost(
            summary, look, "adapter_parameters", label, "parameters", metric, heads=True
        )
        label = "training time of one run (log scale)"
        drawn["time"] = cost_figure.cost(summary, look, "train_seconds", label, "time", metric, heads=False)
    found, lines = {}, {}
    for row in summary:
        runs = done[row["variant"]]
        if row["kind"] == "run":
            curve = curves_figure.read_curve([table.out / "runs" / run["id"] for run in runs], metric.key)
            if curve:
                found[row["variant"]] = curve
        if row["kind"] == "baseline" or row["method"] == "head":
            scores = _scores(runs, "validation", metric)
            if scores:
                lines[row["variant"]] = float(np.mean(scores))
    if found:
        drawn["curves"] = curves_figure.curves(found, lines, look, metric)
    if panels:
        drawn["sweeps"] = sweep_figure.draw(panels, metric)
    if figure := search_figure.draw(
        table.study.get("search") or [],
        look,
        metric,
        ((table.study.get("data") or {}).get("validation") or {}).get("rows"),
    ):
        drawn["search"] = figure
    return dict.fromkeys(("ranking", "parameters", "time", "curves", "sweeps", "search")) | drawn


def _rank(value: float | None, metric: Metric) -> tuple[bool, float]:
    """Return a sort key: best value first, missing values last."""
    return value is None, -metric.sign * (value or 0.0)


def _scores(runs: list[dict[str, Any]], split: str, metric: Metric) -> list[float]:
    scores = [((run.get("splits") or {}).get(split) or {}).get(metric.key) for run in runs]
    return [score for score in scores if score is not None]


def _warnings(table: Table) -> list[str]:
    """List the warnings of the study, then each distinct warning of the runs with its number of runs."""
    own = [str(warning) for warning in table.study.get("warnings") or []]
    runs: dict[str, int] = {}
    for run in table.runs:
        for warning in run.get("warnings") or []:
            if str(warning) not in own:
                runs[str(warning)] = runs.get(str(warning), 0) + 1
    return own + [f"{warning} ({n} run{'s' * (n > 1)})" for warning, n in runs.items()]
