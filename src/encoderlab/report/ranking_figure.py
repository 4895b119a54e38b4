"""The figure of scores with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

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
    drawn_all,
    interval_ends,
    plain,
    svg,
    text_width,
)
from encoderlab.results.summary import VariantSummary
from encoderlab.tasks.metric import MetricInfo


@matplotlib.rc_context(SETTINGS)
def ranking(
    summary: Sequence[VariantSummary],
    seeds: Mapping[str, Sequence[float]],
    look: Mapping[str, Style],
    metric: MetricInfo,
) -> str:
    """Draw the mean, interval and seeds of every variant.

    Args:
        summary: the rows of the summary, best first.
        seeds: the test metric of every seed, by variant.
        look: the style of every variant.
        metric: the metric of the study.
    """
    means = {row.variant: row.metric.mean for row in summary if row.metric.mean is not None}
    rows = [row for row in summary if row.variant in means]
    height = 0.62 + 0.31 * len(rows)
    left = min(0.42, 0.02 + text_width(max((row.variant for row in rows), key=len), 9.0) / (72 * WIDTH))
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    long = any(len(text.score(means[row.variant], metric)) > 4 for row in rows)  # plain numbers, and 100.0
    right = 0.82 if long else 0.845
    axes = figure.add_axes((left, 0.52 / height, right - left, 1 - 0.56 / height))
    trained = [row for row in rows if row.is_trained] or rows
    ends = [e for row in trained for e in (*interval_ends(row, metric), *drawn_all(seeds.get(row.variant, ()), metric))]
    margin = 0.04 * (max(ends) - min(ends) or drawn(0.1, metric))
    low, high = min(ends) - 3 * margin, max(ends) + margin
    if metric.lower_is_better:  # leave room for the arrows of the baselines on the worse side
        low, high = min(ends) - margin, max(ends) + 3 * margin
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    beside = partial(axes.annotate, xycoords=axes.get_yaxis_transform(), textcoords="offset points", va="center")
    for y, row in enumerate(rows):
        style, mean = look[row.variant], drawn(means[row.variant], metric)
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#f7f7f7", zorder=0, lw=0)
        if not low <= mean <= high:  # mark a distant baseline with an arrow, so that the others are not squeezed
            at, side, way = (low, "left", 1) if mean < low else (high, "right", -1)
            axes.plot([at + way * 0.4 * margin], [y], marker=f"{'<' if way > 0 else '>'}", color=style.colour, ms=6)
            axes.text(at + way * 0.9 * margin, y, "off the scale", color=SOFT, va="center", ha=side, fontsize=8)
        else:
            axes.plot(interval_ends(row, metric), [y, y], color=style.colour, lw=2, alpha=0.45, zorder=2)
            each = drawn_all(seeds.get(row.variant, ()), metric)
            axes.plot(each, [y] * len(each), "|", color=style.colour, ms=9, mew=1.2, zorder=3)
            axes.plot([mean], [y], marker=style.marker, color=style.colour, ms=7, mec="white", mew=0.8, zorder=4)
        beside(text.score(means[row.variant], metric), (1, y), (7, 0), weight="bold", color=INK)
        if row.interval is not None:
            interval = " to ".join(text.score(end, metric) for end in (row.interval.low, row.interval.high))
            beside(interval, (1, y), (44 if long else 36, 0), color=SOFT)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([row.variant for row in rows], parse_math=False)
    plain(axes, "x")
    axes.set_xlabel(axis_label("test", metric), color=SOFT)
    return svg(figure, "ranking")
