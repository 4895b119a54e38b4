"""Draw a grid of settings: the validation metric against the swept value, a thin line per seed, a thick one the mean.

The figure uses the validation rows, because settings are chosen on them; the test rows are kept for the final choice.

Variants of one method whose labels differ in one setting form a sweep: "lora rank=4", "lora rank=8". Numbers are placed
to scale on the axis. Other values (targets, layers, booleans) are placed side by side in the order of the study.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from encoderlab.report.style import INK, SETTINGS, SOFT, WIDTH, Style, axis_label, drawn, drawn_all, plain, svg
from encoderlab.results.sweeps import Sweep
from encoderlab.tasks.metric import MetricInfo

PANELS = 12  # at most in the figure; the page names the ones left out
TALL, TITLE_LINE, TICK_LINE = 2.0, 0.17, 0.16  # inches of a panel, and of a line of text above and below it


@matplotlib.rc_context(SETTINGS)
def draw(panels: Sequence[Sweep], look: Mapping[str, Style], metric: MetricInfo) -> str:
    """Draw a panel for each sweep."""
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    titles = [_wrapped(panel.title, 112 // columns) for panel in panels]
    names = [_names(panel, 120 // columns) for panel in panels]
    above = 0.15 + TITLE_LINE * max(title.count("\n") + 1 for title in titles)
    below = 0.15 + TICK_LINE * max(name.count("\n") + 1 for one in names for name in one)
    height = lines * (above + TALL + below)
    figure = Figure(figsize=(WIDTH, height), dpi=72)
    for i, (panel, title, ticks) in enumerate(zip(panels, titles, names, strict=True)):
        colour = look[panel.variant].colour
        axes = figure.add_subplot(lines, columns, i + 1)
        numbers = [value for value in panel.scores if isinstance(value, float)]
        at = dict(zip(panel.scores, numbers or range(len(panel.scores)), strict=True))
        for seed in sorted({seed for one in panel.scores.values() for seed in one}):
            line = [(at[value], drawn(one[seed], metric)) for value, one in panel.scores.items() if seed in one]
            axes.plot(*zip(*line, strict=True), color=colour, lw=0.9, alpha=0.5, marker=".", ms=4)
        axes.plot(list(at.values()), drawn_all(list(panel.means.values()), metric), color=colour, lw=2.2, marker="o")
        if not numbers:
            axes.set_xlim(-0.5, len(at) - 0.5)
        elif min(numbers) > 0 and max(numbers) / min(numbers) >= 4:
            axes.set_xscale("log")
        axes.set_xticks(list(at.values()), ticks, parse_math=False)
        axes.minorticks_off()
        axes.set_title(title, loc="left", fontsize=9.5, color=INK, parse_math=False)
        axes.set_ylabel(axis_label("validation", metric) if i % columns == 0 else "", color=SOFT)
        plain(axes, "both")
    figure.subplots_adjust(
        left=0.07,
        right=0.985,
        top=1 - above / height,
        bottom=below / height,
        hspace=(above + below) / TALL,
        wspace=0.25,
    )
    return svg(figure, "sweeps")


def _names(panel: Sweep, width: int) -> list[str]:
    """Return the tick labels, wrapped so that they fit side by side in `width` characters."""
    values = [value if isinstance(value, str) else f"{value:g}" for value in panel.scores]
    return [_wrapped(value, max(6, width // len(values) - 1)) for value in values]


def _wrapped(words: str, width: int) -> str:
    """Wrap to lines of at most `width` characters, at a space or a plus sign if possible."""
    return "\n".join(line.replace("+ ", "+") for line in textwrap.wrap(words.replace("+", "+ "), width))
