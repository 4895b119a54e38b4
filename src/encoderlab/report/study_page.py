"""Write report.html: one offline page with every number of the study and its uncertainty.

Text from the data (labels, names, paths, warnings, reasons) reaches the page only through jinja2 with autoescape.
The figures are inserted as they are, because matplotlib escapes their text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoderlab.core.files import write_text
from encoderlab.report import (
    cost_figure,
    curves_figure,
    headline,
    ranking_figure,
    search_figure,
    selection,
    style,
    sweep_figure,
    templates,
    text,
)
from encoderlab.results.columns import MEANS
from encoderlab.results.table import Table
from encoderlab.tasks.probability_metrics import OfProbabilities


def write(table: Table) -> Path:
    """Write report.html into the folder of the study and return its path.

    The same table always gives the same page, byte for byte.
    """
    path = table.out / "report.html"
    write_text(path, page(table))
    return path


def page(table: Table) -> str:
    """Return the HTML page of a collected study."""
    return templates.render("study_page.html.j2", _context(table))


def _context(table: Table) -> Mapping[str, Any]:
    study, metric, choice, summary = table.study, table.metric, table.recommendation, table.ranked
    look = style.styles(table.summary, study.reference)
    searches = table.searches
    others = [one for one in table.measures.extra_metrics if one.key != metric.key]
    shown = [one for one in others if any(row.spreads[one.key].mean is not None for row in summary)]
    means = [key for key in dict.fromkeys((*MEANS, *table.task.extra_scores)) if key != metric.key]
    return {
        "name": study.study.get("name") or table.out.name,
        "headline": headline.sentences(table),
        "chosen": choice.variant if choice and choice.is_recommended else None,
        "reference": study.reference,
        "reference_seeds": next((row.seeds for row in summary if row.variant == study.reference), 0),
        "selection": selection.sentences(table),
        "power": selection.power(table),
        "caveats": table.caveats,
        "groups": table.groups,
        "summary": summary,
        "metric": metric,
        "title": text.heading(metric),
        "rule": table.rule,
        "margin": headline.margin(choice, metric) if choice else "",
        "general": bool(choice and choice.general),
        "shares": any(row.comparison and row.comparison.share_better is not None for row in summary),
        "constant_baseline": table.task.constant_baseline_phrase,
        "others": table.others,
        "extra_metrics": [one for one in shown if not isinstance(one, OfProbabilities)],
        "of_probabilities": [one for one in shown if isinstance(one, OfProbabilities)],
        "means": [key for key in means if any(row.means[key] is not None for row in summary)],
        "look": look,
        "figures": _figures(table, look),
        "undrawn": [one.title for one in table.sweeps[sweep_figure.PANELS :]],
        "confusions": [table.confusions[row.variant] for row in summary if row.variant in table.confusions],
        "searches": searches,
        "sampled": any(one.is_sampled for one in searches),
        "pruned": sum(one.pruned for one in searches),
        "failed_trials": sum(one.failed for one in searches),
        "candidates": sorted({len(one.tried) for one in searches}),
        "seeds_of_trials": max((one.trials for search in searches for one in search.tried), default=1),
        "seeds_of_race": max((one.trials for search in searches for one in search.race), default=0),
        "at_edge": [one.variant for one in searches if one.at_edge],
        "by_chance": [one.variant for one in searches if one.by_chance],
        "error_bars": any(one.noise is not None for search in searches for one in search.tried),
        "timed": any(one.seconds is not None for one in searches),
        "data": study.data,
        "truncation": study.truncation,
        "warnings": table.warnings,
        "failed": table.failed,
        "missing": table.missing,
        "precision": study.precision,
        "versions": study.versions,
        "hardware": study.hardware,
        "resolved": json.dumps(study.study, indent=2, ensure_ascii=False),
    }


def _figures(table: Table, look: Mapping[str, style.Style]) -> dict[str, str | None]:
    """Return SVG by name; None for a figure without data."""
    drawn: dict[str, str | None] = dict.fromkeys(("ranking", "parameters", "time", "curves", "sweeps", "search"))
    metric, summary = table.metric, table.ranked
    if any(row.metric.mean is not None for row in summary):
        drawn["ranking"] = ranking_figure.ranking(summary, table.test_scores, look, metric)
    if any(row.is_trained and row.metric.mean is not None for row in summary):
        label = "adapter parameters, without the head (log scale)"
        drawn["parameters"] = cost_figure.cost(
            summary, lambda row: row.parameters.adapter, look, label, "parameters", metric, heads=True
        )
        label = "training time of one run (log scale)"
        drawn["time"] = cost_figure.cost(summary, lambda row: row.train_seconds, look, label, "time", metric, time=True)
    if table.curves:
        ranked = [row.variant for row in summary]
        curves = {name: table.curves[name] for name in ranked if name in table.curves}
        levels = {name: table.levels[name] for name in ranked if name in table.levels}
        drawn["curves"] = curves_figure.curves(curves, levels, look, metric)
    if panels := table.sweeps[: sweep_figure.PANELS]:
        drawn["sweeps"] = sweep_figure.draw(panels, look, metric)
    drawn["search"] = search_figure.draw(table.searches, look, metric)
    return drawn
