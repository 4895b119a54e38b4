"""The figures of the report as SVG text, drawn with matplotlib's object interface: no window, no global state.

One colour per method and one marker per variant, the same in every figure; the colours are those of Okabe & Ito, which
people with any common colour blindness can tell apart.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from encoderlab.report import text
from encoderlab.report.curves import Curve
from encoderlab.report.labels import Box, place
from encoderlab.tasks import Metric

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#7A7A00", "#332288")
REFERENCE = "#222222"
BASELINE = "#7a7a7a"
MARKERS = "osD^vPX*"
DASHES = ("-", "--", "-.", ":")
WIDTH = 10.4  # inches; at the page's full width one point of type is about 1.5 CSS pixels
INK, SOFT, GRID = "#2b2b2b", "#6b6b6b", "#e6e6e6"
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "encoderlab",
    "font.size": 9.0,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Style:
    """How one variant looks in every figure."""

    colour: str
    marker: str
    dash: str


def styles(summary: Sequence[Mapping[str, Any]], reference: str | None) -> dict[str, Style]:
    """Colour by method, marker and dash by variant within the method; the reference's method is black."""
    trained = [row for row in summary if row["kind"] == "run"]
    black = next((row["method"] for row in trained if row["variant"] == reference), None)
    methods = list(dict.fromkeys(row["method"] for row in trained if row["method"] != black))
    colour = {method: PALETTE[i % len(PALETTE)] for i, method in enumerate(methods)} | {black: REFERENCE}
    found: dict[str, Style] = {}
    for row in summary:
        if row["kind"] != "run":
            found[row["variant"]] = Style(BASELINE, "o", "--" if row["variant"] != "untrained" else ":")
            continue
        nth = sum(other["method"] == row["method"] for other in trained[: trained.index(row)])
        found[row["variant"]] = Style(colour[row["method"]], MARKERS[nth % len(MARKERS)], DASHES[nth % len(DASHES)])
    return found


@matplotlib.rc_context(SETTINGS)
def ranking(
    summary: Sequence[Mapping[str, Any]],
    seeds: Mapping[str, Sequence[float]],
    look: Mapping[str, Style],
    metric: Metric,
) -> str:
    """Dot, interval and seeds per variant; `summary` best first, `seeds`: the metric on test by variant."""
    rows = [row for row in summary if row[metric.key] is not None]
    height = 0.62 + 0.31 * len(rows)
    left = min(0.42, 0.02 + _text_width(max((row["variant"] for row in rows), key=len), 9.0) / (72 * WIDTH))
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    long = any(len(text.score(row[metric.key], metric)) > 4 for row in rows)  # plain numbers, and 100.0
    right = 0.82 if long else 0.845
    axes = figure.add_axes((left, 0.52 / height, right - left, 1 - 0.56 / height))
    trained = [row for row in rows if row["kind"] == "run"] or rows
    ends = [e for row in trained for e in (*_ends(row, metric), *_drawn_all(seeds.get(row["variant"], ()), metric))]
    margin = 0.04 * (max(ends) - min(ends) or drawn(0.1, metric))
    low, high = min(ends) - 3 * margin, max(ends) + margin
    if metric.lower_is_better:  # room for the baselines' arrows is on the side of the worse
        low, high = min(ends) - margin, max(ends) + 3 * margin
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    beside: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
    for y, row in enumerate(rows):
        style, mean = look[row["variant"]], drawn(row[metric.key], metric)
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#f7f7f7", zorder=0, lw=0)
        if not low <= mean <= high:  # a baseline far off: say where it is instead of squeezing the others
            at, side, way = (low, "left", 1) if mean < low else (high, "right", -1)
            axes.plot([at + way * 0.4 * margin], [y], marker=f"{'<' if way > 0 else '>'}", color=style.colour, ms=6)
            axes.text(at + way * 0.9 * margin, y, "off the scale", color=SOFT, va="center", ha=side, fontsize=8)
        else:
            axes.plot(_ends(row, metric), [y, y], color=style.colour, lw=2, alpha=0.45, zorder=2)
            each = _drawn_all(seeds.get(row["variant"], ()), metric)
            axes.plot(each, [y] * len(each), "|", color=style.colour, ms=9, mew=1.2, zorder=3)
            axes.plot([mean], [y], marker=style.marker, color=style.colour, ms=7, mec="white", mew=0.8, zorder=4)
        axes.annotate(text.score(row[metric.key], metric), (1, y), (7, 0), weight="bold", color=INK, **beside)
        if row[f"{metric.key}_low"] is not None:
            interval = " to ".join(text.score(row[f"{metric.key}_{end}"], metric) for end in ("low", "high"))
            axes.annotate(interval, (1, y), (44 if long else 36, 0), color=SOFT, **beside)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([row["variant"] for row in rows], parse_math=False)
    plain(axes, "x")
    axes.set_xlabel(axis_label("test", metric), color=SOFT)
    return svg(figure, "ranking")


@matplotlib.rc_context(SETTINGS)
def cost(
    summary: Sequence[Mapping[str, Any]],
    look: Mapping[str, Style],
    key: str,
    label: str,
    name: str,
    metric: Metric,
    *,
    heads: bool,
) -> str:
    """The metric against a cost on a log axis; 0 sits left of a break. `heads` marks the head's parameters apart."""
    rows = [row for row in summary if row["kind"] == "run" and None not in (row[metric.key], row[key])]
    positive = [row[key] for row in rows if row[key] > 0]
    sizes = {row["head_parameters"] for row in rows if row["head_parameters"]} if heads else set()
    span = [math.log10(v) for v in [*positive, *sizes]] or [0.0]
    left, right = min(span) - 0.25, max(span) + 0.35
    zero = left - 0.5
    any_zero = len(positive) < len(rows)

    def where(value: float) -> float:
        return math.log10(value) if value > 0 else zero

    figure = Figure(figsize=(WIDTH, 4.5), dpi=72)
    axes = figure.add_axes((0.065, 0.125, 0.915, 0.845))
    axes.set_xlim(zero - 0.25 if any_zero else left, right)
    lows, highs = zip(*(_ends(row, metric) for row in rows), strict=True)
    pad = 0.06 * (max(highs) - min(lows) or 1.0)
    axes.set_ylim(min(lows) - 2.2 * pad, max(highs) + pad)
    for row in rows:
        style, x, y = look[row["variant"]], where(row[key]), drawn(row[metric.key], metric)
        axes.plot([x, x], _ends(row, metric), color=style.colour, lw=1.6, alpha=0.3, zorder=2)
        axes.plot([x], [y], marker=style.marker, color=style.colour, ms=8, mec="white", mew=0.9, zorder=4)
        if len(sizes) > 1 and row["head_parameters"]:
            head = where(row["head_parameters"])
            axes.plot([head], [y], marker=style.marker, mfc="white", mec=style.colour, ms=6, mew=1.2, zorder=3)
    if len(sizes) == 1:
        at = where(next(iter(sizes)))
        axes.axvline(at, color=SOFT, lw=0.9, ls=(0, (2, 3)), zorder=1)
        note = f"head: {text.count(next(iter(sizes)))}, trained by every variant on top"
        side = "right" if at > (left + right) / 2 else "left"
        axes.text(
            at + (-0.03 if side == "right" else 0.03),
            axes.get_ylim()[0] + 0.5 * pad,
            note,
            ha=side,
            color=SOFT,
            fontsize=8,
        )
    _log_ticks(axes, left, right, zero if any_zero else None, time=key.endswith("seconds"))
    plain(axes, "both")
    axes.set_xlabel(label, color=SOFT)
    axes.set_ylabel(axis_label("test", metric), color=SOFT)
    at = [(where(row[key]), drawn(row[metric.key], metric)) for row in rows]
    _label_points(axes, [(row["variant"], _ends(row, metric)) for row in rows], at, look)
    return svg(figure, name)


@matplotlib.rc_context(SETTINGS)
def curves(
    found: Mapping[str, Curve],
    lines: Mapping[str, float],
    look: Mapping[str, Style],
    metric: Metric,
) -> str:
    """The metric on validation and the training loss over epochs per variant; `lines` are levels of the metric drawn
    from side to side."""
    columns, legend_height = legend_size((*found, *(f"{v} (level)" for v in lines)))
    height = 3.7 + legend_height
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    bottom, tall = (legend_height + 0.5) / height, (3.7 - 0.85) / height
    left, right = figure.add_axes((0.045, bottom, 0.44, tall)), figure.add_axes((0.545, bottom, 0.44, tall))
    handles, names = [], []
    for variant, curve in found.items():
        style = look[variant]
        scores = _drawn_all(curve.scores, metric)
        (line,) = left.plot(
            curve.epochs,
            scores,
            color=style.colour,
            ls=style.dash,
            lw=1.5,
            marker=style.marker,
            ms=5,
            mec="white",
            mew=0.6,
        )
        right.plot(curve.loss_epochs, curve.loss, color=style.colour, ls=style.dash, lw=1.3)
        handles.append(line)
        names.append(variant)
    for variant, level in lines.items():
        style = look[variant]
        handles.append(
            left.axhline(
                drawn(level, metric),
                color=style.colour,
                ls=(0, (6, 2)) if style.dash == "-" else style.dash,
                lw=1.1,
            )
        )
        names.append(f"{variant} (level)")
    for axes, title in ((left, axis_label("validation", metric)), (right, "training loss")):
        plain(axes, "both")
        axes.set_title(title, loc="left", fontsize=9.5, color=INK)
        axes.set_xlabel("epoch", color=SOFT)
    whole = sorted({e for curve in found.values() for e in curve.epochs if e == int(e)})
    if 0 < len(whole) <= 12:
        left.set_xticks(whole)
    right.set_xlim(left=0)
    legend(figure, handles, names, columns)
    return svg(figure, "curves")


def legend_size(names: Sequence[str]) -> tuple[int, float]:
    """(columns, inches of height) of a `legend` with these names."""
    columns = max(1, min(4, int(72 * WIDTH // (_text_width(max(names, key=len), 8.5) + 44))))
    return columns, 0.2 * -(-len(names) // columns) + 0.15


def legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], columns: int) -> None:
    """Below everything else, at the left."""
    made = figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.03, 0),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        handlelength=2.8,
    )
    for entry in made.get_texts():
        entry.set_parse_math(False)
        entry.set_color(INK)


def _label_points(
    axes: Axes,
    rows: Sequence[tuple[str, tuple[float, float]]],
    at: Sequence[tuple[float, float]],
    look: Mapping[str, Style],
) -> None:
    """Name every point next to it, with a hair line where the name had to move away. rows: (variant, ends of its
    bar)."""
    points = [tuple(map(float, axes.transData.transform(xy))) for xy in at]
    bars = []
    for (_, ends), (x, _) in zip(rows, points, strict=True):
        low, high = (axes.transData.transform((0, end))[1] for end in ends)
        bars.append(Box(x - 1, float(low), x + 1, float(high)))
    size = 8.5
    boxes = place(
        [(x, y) for x, y in points],
        [(_text_width(variant, size), 1.25 * size) for variant, _ in rows],
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
            color=_readable(colour),
            fontsize=size,
            parse_math=False,
            zorder=5,
        )


def _frame(axes: Axes) -> Box:
    x0, y0, x1, y1 = axes.bbox.extents
    return Box(float(x0), float(y0), float(x1), float(y1))


def _log_ticks(axes: Axes, left: float, right: float, zero: float | None, *, time: bool) -> None:
    """Decades, or 1-2-5 steps where there are few of them; durations at the values clocks have."""
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


def plain(axes: Axes, grid: str) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#bbbbbb")
    axes.grid(axis=grid, color=GRID, lw=0.8)  # pyright: ignore[reportArgumentType]
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)


def _readable(colour: str) -> tuple[float, ...]:
    """The colour darkened enough to be read as text on white."""
    return tuple(0.68 * part for part in to_rgb(colour))


def _text_width(words: str, size: float) -> float:
    """About the width of a text in points, for a wide sans serif; the reader's own font is mostly narrower."""
    return 0.56 * size * len(words)


def drawn(value: float, metric: Metric) -> float:
    """A value of the metric as an axis has it."""
    return 100 * value if metric.percent else value


def axis_label(split: str, metric: Metric) -> str:
    return f"{split} {metric.label}" + (" (%)" if metric.percent else "")


def _drawn_all(values: Sequence[float], metric: Metric) -> list[float]:
    return [drawn(value, metric) for value in values]


def _ends(row: Mapping[str, Any], metric: Metric) -> tuple[float, float]:
    """The interval over seeds and rows, or the mean twice where there is none."""
    ends = (row[f"{metric.key}_low"], row[f"{metric.key}_high"])
    low, high = (row[metric.key] if end is None else end for end in ends)
    return drawn(low, metric), drawn(high, metric)


def svg(figure: Figure, name: str) -> str:
    """SVG to put into HTML: no declaration, no metadata, sized by the page, ids of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', svg, count=1)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg).strip()
