"""A grid as a figure: the metric on test against the swept value; a thin line a seed, a thick one the mean.

Variants of one method whose labels differ in one number belong together: "lora rank=4", "lora rank=8".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from encoderlab.report.figures import INK, SETTINGS, SOFT, WIDTH, Style, axis_label, drawn, plain, svg
from encoderlab.tasks import Metric

PANELS = 6
Sweep = dict[float, str]  # swept value -> label of the variant


def find(labels: Sequence[str]) -> dict[str, Sweep]:
    """{title: the variants by the value that differs}, of at least two each; a title names the method and the key."""
    found: dict[str, Sweep] = {}
    for label in labels:
        name, *settings = label.split(" ")
        pairs = dict(part.split("=", 1) for part in settings if "=" in part)
        for key, value in pairs.items():
            try:
                number = float(value)
            except ValueError:
                continue
            rest = " ".join([name, *(part for part in settings if not part.startswith(f"{key}="))])
            found.setdefault(f"{rest}: {key}", {})[number] = label
    return {title: sweep for title, sweep in found.items() if len(sweep) > 1}


@matplotlib.rc_context(SETTINGS)
def draw(
    sweeps: Mapping[str, Sweep],
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    look: Mapping[str, Style],
    metric: Metric,
) -> str | None:
    """`runs`: the finished ones of every variant. None where no sweep has two values with a score."""
    panels = []
    for title, sweep in sweeps.items():
        scores: dict[float, dict[int, float]] = {}
        for value, label in sorted(sweep.items()):
            for run in runs.get(label, ()):
                score = ((run.get("splits") or {}).get("test") or {}).get(metric.key)
                if score is not None:
                    scores.setdefault(value, {})[run.get("seed") or 0] = drawn(score, metric)
        if len(scores) > 1:
            panels.append((title, scores, look[next(iter(sweep.values()))].colour))
    if not panels:
        return None
    panels = panels[:PANELS]
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH, 0.3 + 2.7 * lines), dpi=72)
    for i, (title, scores, colour) in enumerate(panels):
        axes = figure.add_subplot(lines, columns, i + 1)
        for seed in sorted({seed for one in scores.values() for seed in one}):
            line = [(value, one[seed]) for value, one in scores.items() if seed in one]
            axes.plot(*zip(*line, strict=True), color=colour, lw=0.9, alpha=0.5, marker=".", ms=4)
        axes.plot(
            list(scores), [np.mean(list(one.values())) for one in scores.values()], color=colour, lw=2.2, marker="o"
        )
        if min(scores) > 0 and max(scores) / min(scores) >= 4:
            axes.set_xscale("log")
        axes.set_xticks(list(scores), [f"{value:g}" for value in scores])
        axes.minorticks_off()
        axes.set_title(title, loc="left", fontsize=9.5, color=INK, parse_math=False)
        axes.set_ylabel(axis_label("test", metric) if i % columns == 0 else "", color=SOFT)
        plain(axes, "both")
    figure.subplots_adjust(
        left=0.07,
        right=0.985,
        top=1 - 0.42 / figure.get_figheight(),
        bottom=0.35 / figure.get_figheight(),
        hspace=0.5,
        wspace=0.25,
    )
    return svg(figure, "sweeps")
