"""Draw the search: the validation score of every learning rate tried, one line per variant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from encoderlab.report import text
from encoderlab.report.style import (
    INK,
    SETTINGS,
    SOFT,
    WIDTH,
    Style,
    axis_label,
    drawn,
    legend,
    legend_size,
    plain,
    svg,
)
from encoderlab.tasks.metric import Metric

TALL = 2.9  # inches, without the legend


@matplotlib.rc_context(SETTINGS)
def draw(
    search: Sequence[Mapping[str, Any]], look: Mapping[str, Style], metric: Metric, rows: int | None = None
) -> str | None:
    """Draw the candidates of every variant; return None if no variant has two candidates with a score.

    A ring marks the chosen candidate. If other settings were sampled as well, the points are not joined by a line.

    Args:
        search: the entries of `search` in study.json.
        look: the style of each variant.
        metric: the metric of the study.
        rows: number of validation rows, for the standard error of an accuracy.
    """
    found = {}
    for entry in search:
        scored = [c for c in entry["candidates"] if c.get(metric.key) is not None]
        if len(scored) > 1 and entry["variant"] in look:
            found[entry["variant"]] = entry, sorted(scored, key=lambda c: c["learning_rate"])
    if not found:
        return None
    columns, legend_height = legend_size(list(found))
    height = TALL + legend_height
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    axes = figure.add_axes((0.065, (legend_height + 0.5) / height, 0.915, (TALL - 0.85) / height))
    handles = []
    for variant, (entry, scored) in found.items():
        style = look[variant]
        values = [drawn(c[metric.key], metric) for c in scored]
        (line,) = axes.plot(
            [c["learning_rate"] for c in scored],
            values,
            color=style.colour,
            ls="" if "trials" in entry else style.dash,
            lw=1.4,
            marker=style.marker,
            ms=5,
            mec="white",
            mew=0.6,
        )
        handles.append(line)
        if metric.key == "accuracy" and rows:
            noise = [100 * math.sqrt(max(v * (100 - v), 0.0) / 1e4 / rows) for v in values]
            axes.errorbar(
                [c["learning_rate"] for c in scored], values, noise, fmt="none", ecolor=style.colour, alpha=0.4, lw=1
            )
        for c, value in zip(scored, values, strict=True):
            if c["learning_rate"] == entry["chosen"] and c.get("settings") == entry.get("chosen_settings"):
                axes.plot([c["learning_rate"]], [value], "o", mfc="none", mec=style.colour, ms=11, mew=1.2)
    axes.set_xscale("log")
    ticks = _ticks([c["learning_rate"] for _, scored in found.values() for c in scored])
    axes.set_xticks(ticks, [text.rate(tick) for tick in ticks])
    axes.minorticks_off()
    plain(axes, "both")
    axes.set_title(f"{axis_label('validation', metric)} of the search trials", loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel("learning rate (log scale)", color=SOFT)
    legend(figure, handles, list(found), columns)
    return svg(figure, "candidates")


def _ticks(rates: Sequence[float]) -> list[float]:
    """Return powers of ten, or 1-2-5 steps if the range is short."""
    low, high = math.log10(min(rates)), math.log10(max(rates))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    every = [float(f"{n}e{power}") for power in range(math.floor(low), math.ceil(high) + 1) for n in steps]
    return [one for one in every if low - 0.05 <= math.log10(one) <= high + 0.05]
