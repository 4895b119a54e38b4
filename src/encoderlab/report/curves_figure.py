"""Draw the figures of the report as SVG text with matplotlib's object interface: no window, no global state.

A method has one colour and a variant one marker in every figure. The colours are from Okabe & Ito: people with a common
colour vision deficiency can distinguish them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
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
from encoderlab.tasks.metric import Metric


@matplotlib.rc_context(SETTINGS)
def curves(
    found: Mapping[str, Curve],
    lines: Mapping[str, float],
    look: Mapping[str, Style],
    metric: Metric,
) -> str:
    """Draw the validation metric and the training loss over epochs per variant; `lines` are horizontal lines."""
    columns, legend_height = legend_size((*found, *(f"{v} (level)" for v in lines)))
    height = 3.7 + legend_height
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    bottom, tall = (legend_height + 0.5) / height, (3.7 - 0.85) / height
    left, right = figure.add_axes((0.045, bottom, 0.44, tall)), figure.add_axes((0.545, bottom, 0.44, tall))
    handles, names = [], []
    for variant, curve in found.items():
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


BINS_PER_CURVE = 30


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The validation metric after each epoch and the training loss: means over the seeds that reached that epoch."""

    epochs: list[float]
    scores: list[float]
    loss_epochs: list[float]
    loss: list[float]


def read_curve(folders: Sequence[Path], key: str) -> Curve | None:
    """Return the curve of the metric `key` over the runs in `folders`; None if no run has finished an epoch."""
    found: dict[float, list[float]] = {}
    times, losses = [], []
    for folder in folders:
        events = _events(folder / "metrics.jsonl")
        epochs = [e for e in events if e.get("event") == "epoch"]
        if not epochs:
            continue
        for event in epochs:
            score = (event.get("validation") or {}).get(key)
            if score is not None:
                found.setdefault(float(event["epoch"]), []).append(score)
        steps_per_epoch = epochs[-1]["step"] / epochs[-1]["epoch"]
        for event in events:
            if event.get("event") == "step" and event.get("loss") is not None:
                times.append(event["step"] / steps_per_epoch)
                losses.append(event["loss"])
    if not found:
        return None
    at = sorted(found)
    loss_epochs, loss = _binned(np.array(times), np.array(losses))
    return Curve(epochs=at, scores=[float(np.mean(found[epoch])) for epoch in at], loss_epochs=loss_epochs, loss=loss)


def _binned(times: np.ndarray, values: np.ndarray) -> tuple[list[float], list[float]]:
    """Average over equal time bins, so that the curve of a long run is smooth and small."""
    if not times.size:
        return [], []
    width = times.max() / BINS_PER_CURVE
    bins = np.minimum((times / width).astype(int), BINS_PER_CURVE - 1)
    filled = np.unique(bins)
    return (
        [float(times[bins == b].mean()) for b in filled],
        [float(values[bins == b].mean()) for b in filled],
    )


def _events(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:  # a line cut off by a kill
            continue
    return events
