"""The figure of score against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from encoderlab.report import text
from encoderlab.report.label_placement import Box, place
from encoderlab.report.style import (
    SETTINGS,
    SOFT,
    WIDTH,
    Style,
    axis_label,
    drawn,
    interval_ends,
    plain,
    readable,
    svg,
    text_width,
)
from encoderlab.results.summary import VariantSummary
from encoderlab.tasks.metric import MetricInfo


@matplotlib.rc_context(SETTINGS)
def cost(
    summary: Sequence[VariantSummary],
    cost_of: Callable[[VariantSummary], float | None],
    look: Mapping[str, Style],
    label: str,
    name: str,
    metric: MetricInfo,
    *,
    heads: bool = False,
    time: bool = False,
) -> str:
    """Draw the metric of the trained variants against a cost on a log axis; 0 is drawn left of a break.

    Args:
        summary: the rows of the summary.
        cost_of: the cost of a variant; a variant without one is left out.
        look: the style of every variant.
        label: the label of the cost axis.
        name: the start of the ids in the SVG.
        metric: the metric of the study.
        heads: whether to mark the parameters of the heads.
        time: whether the cost is in seconds.
    """
    costs = {row.variant: cost for row in summary if row.is_trained and (cost := cost_of(row)) is not None}
    means = {row.variant: drawn(row.metric.mean, metric) for row in summary if row.metric.mean is not None}
    rows = [row for row in summary if row.variant in costs and row.variant in means]
    positive = [costs[row.variant] for row in rows if costs[row.variant] > 0]
    sizes = {row.parameters.head for row in rows if row.parameters.head} if heads else set()
    span = [math.log10(v) for v in [*positive, *sizes]] or [0.0]
    left, right = min(span) - 0.25, max(span) + 0.35
    zero = left - 0.5
    any_zero = len(positive) < len(rows)

    def where(value: float) -> float:
        return math.log10(value) if value > 0 else zero

    figure = Figure(figsize=(WIDTH, 4.5), dpi=72)
    axes = figure.add_axes((0.065, 0.125, 0.915, 0.845))
    axes.set_xlim(zero - 0.25 if any_zero else left, right)
    lows, highs = zip(*(interval_ends(row, metric) for row in rows), strict=True)
    pad = 0.06 * (max(highs) - min(lows) or 1.0)
    axes.set_ylim(min(lows) - 2.2 * pad, max(highs) + pad)
    for row in rows:
        style, x, y = look[row.variant], where(costs[row.variant]), means[row.variant]
        axes.plot([x, x], interval_ends(row, metric), color=style.colour, lw=1.6, alpha=0.3, zorder=2)
        axes.plot([x], [y], marker=style.marker, color=style.colour, ms=8, mec="white", mew=0.9, zorder=4)
        if len(sizes) > 1 and row.parameters.head:
            head = where(row.parameters.head)
            axes.plot([head], [y], marker=style.marker, mfc="white", mec=style.colour, ms=6, mew=1.2, zorder=3)
    if len(sizes) == 1:
        at = where(next(iter(sizes)))
        axes.axvline(at, color=SOFT, lw=0.9, ls=(0, (2, 3)), zorder=1)
        note = f"head: {text.count(next(iter(sizes)))} parameters, also trained by every variant"
        side = "right" if at > (left + right) / 2 else "left"
        axes.text(
            at + (-0.03 if side == "right" else 0.03),
            axes.get_ylim()[0] + 0.5 * pad,
            note,
            ha=side,
            color=SOFT,
            fontsize=8,
        )
    _log_ticks(axes, left, right, zero if any_zero else None, time=time)
    plain(axes, "both")
    axes.set_xlabel(label, color=SOFT)
    axes.set_ylabel(axis_label("test", metric), color=SOFT)
    at = [(where(costs[row.variant]), means[row.variant]) for row in rows]
    _label_points(axes, [(row.variant, interval_ends(row, metric)) for row in rows], at, look)
    return svg(figure, name)


def _label_points(
    axes: Axes,
    rows: Sequence[tuple[str, tuple[float, float]]],
    at: Sequence[tuple[float, float]],
    look: Mapping[str, Style],
) -> None:
    """Label every point, with a thin line to a label that had to move away. rows: (variant, ends of its bar)."""
    points = [tuple(map(float, axes.transData.transform(xy))) for xy in at]
    bars = []
    for (_, ends), (x, _) in zip(rows, points, strict=True):
        low, high = (axes.transData.transform((0, end))[1] for end in ends)
        bars.append(Box(x - 1, float(low), x + 1, float(high)))
    size = 8.5
    boxes = place(
        [(x, y) for x, y in points],
        [(text_width(variant, size), 1.25 * size) for variant, _ in rows],
        bars,
        _frame(axes),
    )
    back = axes.transData.inverted()
    for (variant, _), (x, y), box in zip(rows, points, boxes, strict=True):
        colour = look[variant].colour
        side = "left" if box.x0 > x else "right" if box.x1 < x else "center"
        edge = {"left": box.x0, "right": box.x1, "center": (box.x0 + box.x1) / 2}[side]
        middle = (box.y0 + box.y1) / 2
        (at_x, at_y), (text_x, text_y) = back.transform([(x, y), (edge, middle)]).tolist()
        if abs(middle - y) > size / 2:
            axes.plot([at_x, text_x], [at_y, text_y], color=colour, lw=0.7, alpha=0.8)
        axes.text(
            text_x,
            text_y,
            variant,
            ha=side,
            va="center_baseline",
            color=readable(colour),
            fontsize=size,
            parse_math=False,
            zorder=5,
        )


def _frame(axes: Axes) -> Box:
    x0, y0, x1, y1 = axes.bbox.extents
    return Box(float(x0), float(y0), float(x1), float(y1))


def _log_ticks(axes: Axes, left: float, right: float, zero: float | None, *, time: bool) -> None:
    """Set ticks at decades, or at 1-2-5 steps if the range is short; durations get ticks in s, min and h."""
    if time:
        steps = [
            n * unit
            for unit, ns in ((1, (1, 2, 5, 10, 30)), (60, (1, 2, 5, 10, 30)), (3600, (1, 2, 5, 10, 30)))
            for n in ns
        ]
    else:
        few = right - left < 2
        steps = [n * 10**d for d in range(10) for n in ((1, 2, 5) if few else (1,))]
    ticks = [step for step in steps if left <= math.log10(step) <= right]
    at, names = [math.log10(t) for t in ticks], [_clock(t) if time else text.short_count(t) for t in ticks]
    if zero is not None:
        at, names = [zero, *at], ["0", *names]
        axes.axvspan(left - 0.11, left - 0.09, color="#d6d6d6", lw=0, zorder=1)
    axes.set_xticks(at)
    axes.set_xticklabels(names)


def _clock(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"
