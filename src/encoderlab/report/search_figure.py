"""Draw the search: the validation score of every learning rate tried, one line per variant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
from encoderlab.results.searches import Search
from encoderlab.tasks.metric import MetricInfo

TALL = 2.9  # inches, without the legend


@matplotlib.rc_context(SETTINGS)
def draw(searches: Sequence[Search], look: Mapping[str, Style], metric: MetricInfo) -> str | None:
    """Draw the candidates of every variant; return None if no variant has two candidates with a score.

    A ring marks the chosen candidate, and a square the best one of a search that ended at an edge. Bars are the spread
    over the trials of a rate, or the standard error over rows if there is one trial. If other settings were sampled as
    well, the points are not joined by a line.

    Args:
        searches: the search of each variant.
        look: the style of each variant.
        metric: the metric of the study.
    """
    drawable = {}
    for search in searches:
        scored = [(one, one.score) for one in search.tried if one.score is not None]
        if len(scored) > 1 and search.variant in look:
            drawable[search.variant] = search, sorted(scored, key=lambda pair: pair[0].learning_rate)
    if not drawable:
        return None
    columns, legend_height = legend_size(list(drawable))
    height = TALL + legend_height
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    axes = figure.add_axes((0.065, (legend_height + 0.5) / height, 0.915, (TALL - 0.85) / height))
    handles = []
    for variant, (search, scored) in drawable.items():
        style = look[variant]
        rates, values = [one.learning_rate for one, _ in scored], [drawn(score, metric) for _, score in scored]
        (line,) = axes.plot(
            rates,
            values,
            color=style.colour,
            ls="" if search.is_sampled else style.dash,
            lw=1.4,
            marker=style.marker,
            ms=5,
            mec="white",
            mew=0.6,
        )
        handles.append(line)
        errors = [drawn(one.noise, metric) for one, _ in scored if one.noise is not None]
        if len(errors) == len(scored):
            axes.errorbar(rates, values, errors, fmt="none", ecolor=style.colour, alpha=0.4, lw=1)
        for (one, _), value in zip(scored, values, strict=True):
            if one.is_chosen:
                axes.plot([one.learning_rate], [value], "o", mfc="none", mec=style.colour, ms=11, mew=1.2)
        if search.at_edge:
            # As the search ranks them: of equal scores, the lower loss is better.
            end = max((0, -1), key=lambda i: (metric.sign * values[i], -(scored[i][0].loss or 0.0)))
            axes.plot([rates[end]], [values[end]], "s", mfc="none", mec=style.colour, ms=13, mew=0.8)
    axes.set_xscale("log")
    ticks = _ticks([one.learning_rate for _, scored in drawable.values() for one, _ in scored])
    axes.set_xticks(ticks, [text.rate(tick) for tick in ticks])
    axes.minorticks_off()
    plain(axes, "both")
    axes.set_title(f"{axis_label('validation', metric)} of the search trials", loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel("learning rate (log scale)", color=SOFT)
    legend(figure, handles, list(drawable), columns)
    return svg(figure, "candidates")


def _ticks(rates: Sequence[float]) -> list[float]:
    """Return powers of ten, or 1-2-5 steps if the range is short."""
    low, high = math.log10(min(rates)), math.log10(max(rates))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    every = [float(f"{n}e{power}") for power in range(math.floor(low), math.ceil(high) + 1) for n in steps]
    return [one for one in every if low - 0.05 <= math.log10(one) <= high + 0.05]
