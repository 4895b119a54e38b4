"""Colours, markers and sizes that all figures share."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from encoderlab.results.summary import VariantSummary
from encoderlab.tasks.metric import MetricInfo

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
    """The style of one variant in every figure."""

    colour: str
    marker: str
    dash: str


def styles(summary: Sequence[VariantSummary], reference: str | None) -> dict[str, Style]:
    """Return a style per variant: colour by method, marker and dash by variant. The reference's method is black."""
    trained = [row for row in summary if row.is_trained]
    black = next((row.method for row in trained if row.variant == reference), None)
    methods = list(dict.fromkeys(row.method for row in trained if row.method != black))
    colour = {method: PALETTE[i % len(PALETTE)] for i, method in enumerate(methods)} | {black: REFERENCE}
    looks: dict[str, Style] = {}
    for row in summary:
        if not row.is_trained:
            looks[row.variant] = Style(BASELINE, "o", "--" if row.variant != "untrained" else ":")
            continue
        nth = sum(other.method == row.method for other in trained[: trained.index(row)])
        looks[row.variant] = Style(colour[row.method], MARKERS[nth % len(MARKERS)], DASHES[nth % len(DASHES)])
    return looks


def legend_size(names: Sequence[str]) -> tuple[int, float]:
    """Return (columns, height in inches) of a `legend` with these names."""
    columns = max(1, min(4, int(72 * WIDTH // (text_width(max(names, key=len), 8.5) + 44))))
    return columns, 0.2 * -(-len(names) // columns) + 0.15


def legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], columns: int) -> None:
    """Add the legend at the bottom left, below everything else."""
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


def plain(axes: Axes, grid: str) -> None:
    """Keep of the frame only the bottom line, and draw a light grid. grid: "x", "y" or "both"."""
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#bbbbbb")
    axes.grid(axis=grid, color=GRID, lw=0.8)  # pyright: ignore[reportArgumentType]
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)


def readable(colour: str) -> tuple[float, ...]:
    """Darken the colour so that text in it is readable on white."""
    return tuple(0.68 * part for part in to_rgb(colour))


def text_width(words: str, size: float) -> float:
    """Estimate the width of a text in points for a wide sans serif font; most fonts are narrower."""
    return 0.56 * size * len(words)


def drawn(value: float, metric: MetricInfo) -> float:
    """Return a value of the metric in the unit of the axis."""
    return 100 * value if metric.percent else value


def axis_label(split: str, metric: MetricInfo) -> str:
    """Return the label of an axis that shows the metric on a split."""
    return f"{split} {metric.label}" + (" (%)" if metric.percent else "")


def drawn_all(values: Sequence[float], metric: MetricInfo) -> list[float]:
    """Return values of the metric in the unit of the axis."""
    return [drawn(value, metric) for value in values]


def interval_ends(row: VariantSummary, metric: MetricInfo) -> tuple[float, float]:
    """Return the interval over seeds and rows, or the mean twice if there is no interval."""
    if row.interval is not None:
        return drawn(row.interval.low, metric), drawn(row.interval.high, metric)
    assert row.metric.mean is not None
    return drawn(row.metric.mean, metric), drawn(row.metric.mean, metric)


def svg(figure: Figure, name: str) -> str:
    """Return the figure as SVG for HTML: no declaration, no metadata, sized by the page, with unique ids."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', svg, count=1)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg).strip()
