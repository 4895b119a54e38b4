"""Draw the figures of the report as SVG text with matplotlib's object interface: no window, no global state.

A method has one colour and a variant one marker in every figure. The colours are from Okabe & Ito: people with a common
colour vision deficiency can distinguish them.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
from matplotlib.figure import Figure

from encoderlab.report.style import (
    INK,
    SETTINGS,
    SOFT,
    WIDTH,
    Style,
    axis_label,
    drawn,
    drawn_all,
    legend,
    legend_size,
    plain,
    svg,
)
from encoderlab.results.curves import Curve
from encoderlab.tasks.metric import MetricInfo


@matplotlib.rc_context(SETTINGS)
def curves(
    by_variant: Mapping[str, Curve],
    levels: Mapping[str, float],
    look: Mapping[str, Style],
    metric: MetricInfo,
) -> str:
    """Draw the validation metric and the training loss over epochs per variant; `levels` are horizontal lines."""
    columns, legend_height = legend_size((*by_variant, *(f"{v} (level)" for v in levels)))
    height = 3.7 + legend_height
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    bottom, tall = (legend_height + 0.5) / height, (3.7 - 0.85) / height
    left, right = figure.add_axes((0.045, bottom, 0.44, tall)), figure.add_axes((0.545, bottom, 0.44, tall))
    handles, names = [], []
    for variant, curve in by_variant.items():
        style = look[variant]
        scores = drawn_all(curve.scores, metric)
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
    for variant, level in levels.items():
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
    whole = sorted({e for curve in by_variant.values() for e in curve.epochs if e == int(e)})
    if 0 < len(whole) <= 12:
        left.set_xticks(whole)
    right.set_xlim(left=0)
    legend(figure, handles, names, columns)
    return svg(figure, "curves")
