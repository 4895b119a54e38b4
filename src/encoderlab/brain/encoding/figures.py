"""Draw the figures of an encoding study as SVG text. A feature space has the same colour in every figure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from encoderlab.brain.encoding.summary_row import SummaryRow
from encoderlab.report.style import INK, PALETTE, SETTINGS, SOFT, WIDTH, plain, svg

Arrays = Mapping[str, np.ndarray]
DASHES = ("-", "--", ":", "-.")
PANELS = 8  # at most in the scatter figure


def colours(features: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the (colour, dash) of every feature space."""
    count = len(PALETTE)
    return {f: (PALETTE[i % count], DASHES[i // count % len(DASHES)]) for i, f in enumerate(features)}


@matplotlib.rc_context(SETTINGS)
def ranking(rows: Sequence[SummaryRow], look: Mapping[str, tuple[str, str]]) -> str:
    """Draw the mean r over stories and voxels with its interval, best first."""
    means = sorted(((row, row.mean) for row in rows if row.mean is not None), key=lambda pair: pair[1])
    figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * len(means)), dpi=72)
    axes = figure.add_axes((0.28, 0.5 / figure.get_figheight(), 0.68, 1 - 0.62 / figure.get_figheight()))
    for y, (row, mean) in enumerate(means):
        colour = look[row.feature][0]
        if row.mean_low is not None and row.mean_high is not None:
            axes.plot([row.mean_low, row.mean_high], [y, y], color=colour, lw=3.2, alpha=0.35)
        axes.plot([mean], [y], "o", color=colour, ms=7)
    axes.axvline(0, color="#999999", lw=0.8)
    axes.set_yticks(range(len(means)))
    for label in axes.set_yticklabels([row.feature for row, _ in means]):
        label.set_parse_math(False)
    axes.set_ylim(-0.6, len(means) - 0.4)
    axes.set_xlabel("mean r over stories and voxels, 95 % interval over stories", color=SOFT)
    plain(axes, "x")
    return svg(figure, "ranking")


@matplotlib.rc_context(SETTINGS)
def distributions(means: Arrays, look: Mapping[str, tuple[str, str]]) -> str:
    """Draw the histogram of r over voxels (left) and the voxels from best to worst (right)."""
    figure = Figure(figsize=(WIDTH, 4.2 + 0.22 * math.ceil(len(means) / 3)), dpi=72)
    bottom = (0.62 + 0.22 * math.ceil(len(means) / 3)) / figure.get_figheight()
    left = figure.add_axes((0.065, bottom, 0.42, 0.92 - bottom))
    right = figure.add_axes((0.56, bottom, 0.42, 0.92 - bottom))
    kept = {name: values[~np.isnan(values)] for name, values in means.items()}
    low = min((v.min() for v in kept.values() if v.size), default=0.0)
    high = max((v.max() for v in kept.values() if v.size), default=1.0)
    bins = np.linspace(low, high + 1e-9, 41)
    handles = []
    for name, values in kept.items():
        colour, dash = look[name]
        counts = np.histogram(values, bins)[0]
        left.stairs(counts, bins, color=colour, ls=dash, lw=1.4)
        share = (np.arange(values.size) + 0.5) / max(values.size, 1) * 100
        handles += right.plot(share, np.sort(values)[::-1], color=colour, ls=dash, lw=1.4)
    left.set_xlabel("mean r of a voxel", color=SOFT)
    left.set_title("number of voxels", loc="left", fontsize=9.5, color=INK)
    right.set_xlabel("voxels from best to worst (%)", color=SOFT)
    right.set_title("mean r of a voxel", loc="left", fontsize=9.5, color=INK)
    for axes in (left, right):
        plain(axes, "both")
    _legend(figure, handles, list(kept))
    return svg(figure, "distributions")


@matplotlib.rc_context(SETTINGS)
def scatter(means: Arrays, reference: str, look: Mapping[str, tuple[str, str]]) -> str:
    """Draw the best `PANELS` feature spaces against the reference, one point per voxel."""
    others = sorted((n for n in means if n != reference), key=lambda n: -_mean(means[n]))[:PANELS]
    columns = min(4, max(1, len(others)))
    lines = math.ceil(len(others) / columns)
    figure = Figure(figsize=(WIDTH, 0.35 + 2.75 * lines), dpi=72)
    shown = np.concatenate([means[n] for n in [reference, *others]])
    shown = shown[~np.isnan(shown)]
    low, high = (shown.min(), shown.max()) if shown.size else (0.0, 1.0)
    pad = 0.05 * (high - low)
    for i, name in enumerate(others):
        axes = figure.add_subplot(lines, columns, i + 1)
        colour = look[name][0]
        axes.plot([low, high], [low, high], color="#999999", lw=0.8)
        axes.plot(
            means[reference],
            means[name],
            ".",
            ms=3.5,
            color=colour,
            alpha=0.6,
            mew=0,
            rasterized=means[name].size > 5000,
        )
        both = ~np.isnan(means[name] - means[reference])
        above = _mean((means[name] > means[reference])[both].astype(float))
        axes.set_title(
            f"{name}\nbetter in {100 * above:.0f} % of voxels", loc="left", fontsize=8.5, color=INK, parse_math=False
        )
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(low - pad, high + pad)
        plain(axes, "both")
        axes.tick_params(labelsize=7.5)
    figure.supxlabel(f"mean r of {reference}", color=SOFT, fontsize=9, parse_math=False)
    figure.subplots_adjust(
        left=0.06,
        right=0.985,
        top=1 - 0.5 / figure.get_figheight(),
        bottom=0.6 / figure.get_figheight(),
        hspace=0.55,
        wspace=0.28,
    )
    return svg(figure, "scatter")


Entry = tuple[str, int, int, float, float, float]


def ranks(rows: Sequence[SummaryRow]) -> list[Entry]:
    """Return (label without rank and seed, seed, rank, mean r, low, high) of the rows whose label has a rank."""
    found = []
    for row in rows:
        match = re.search(r" \+ .*\brank=(\d+)", row.feature)
        if match and row.mean is not None:
            seed = re.search(r" seed (\d+)$", row.feature)
            name = re.sub(r" rank=\d+| seed \d+$", "", row.feature)
            low, high = (row.mean if end is None else end for end in (row.mean_low, row.mean_high))
            found.append((name, int(seed[1]) if seed else 0, int(match[1]), float(row.mean), float(low), float(high)))
    return found


@matplotlib.rc_context(SETTINGS)
def sweep(rows: Sequence[SummaryRow], look: Mapping[str, tuple[str, str]]) -> str:
    """Draw the mean r against the rank.

    Thin lines are seeds, the thick line is their mean, bars are intervals over stories, and the dashed line is the
    encoder without adapter.
    """
    found = ranks(rows)
    figure = Figure(figsize=(WIDTH, 3.6), dpi=72)
    axes = figure.add_axes((0.09, 0.16, 0.66, 0.76))
    handles, names = [], []
    for encoder in dict.fromkeys(entry[0] for entry in found):
        colour = look[next(row.feature for row in rows if row.feature.startswith(f"{encoder} rank="))][0]
        mine = [entry for entry in found if entry[0] == encoder]
        values = sorted({entry[2] for entry in mine})
        for seed in sorted({entry[1] for entry in mine}):
            line = sorted((entry[2], entry[3]) for entry in mine if entry[1] == seed)
            axes.plot(*zip(*line, strict=True), color=colour, lw=0.9, alpha=0.6, marker=".")
        means = [np.mean([entry[3] for entry in mine if entry[2] == value]) for value in values]
        handles += axes.plot(values, means, color=colour, lw=2, marker="o")
        at, lows, highs = zip(*((rank, low, high) for _, _, rank, _, low, high in mine), strict=True)
        # intervals over stories, so that differences between ranks are not overread
        axes.vlines(at, lows, highs, color=colour, lw=6, alpha=0.2)
        names.append(encoder)
        alone = encoder.rpartition(" + ")[0]
        base = next((row.mean for row in rows if row.feature == alone), None)
        if base is not None and alone not in names:
            handles.append(axes.axhline(base, color=colour, lw=1.2, ls="--"))
            names.append(alone)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({e[2] for e in found}), [str(rank) for rank in sorted({e[2] for e in found})])
    axes.minorticks_off()
    axes.set_xlabel("rank", color=SOFT)
    axes.set_title("mean r over stories and voxels", loc="left", fontsize=9.5, color=INK)
    plain(axes, "both")
    legend = figure.legend(handles, names, loc="center left", bbox_to_anchor=(0.76, 0.5), frameon=False, fontsize=8.5)
    for entry in legend.get_texts():
        entry.set_parse_math(False)
    return svg(figure, "sweep")


@matplotlib.rc_context(SETTINGS)
def alphas(chosen: Arrays, grid: np.ndarray, look: Mapping[str, tuple[str, str]]) -> str:
    """Draw the share of (fold, voxel) pairs that chose each alpha of the grid."""
    rows = math.ceil(len(chosen) / 3)
    figure = Figure(figsize=(WIDTH, 3.2 + 0.22 * rows), dpi=72)
    bottom = (0.62 + 0.22 * rows) / figure.get_figheight()
    axes = figure.add_axes((0.065, bottom, 0.915, 0.9 - bottom))
    handles = []
    for name, values in chosen.items():
        kept = values[~np.isnan(values)]
        shares = [100 * np.isclose(kept, alpha).mean() if kept.size else 0 for alpha in grid]
        handles += axes.plot(grid, shares, color=look[name][0], ls=look[name][1], lw=1.4, marker="o", ms=3.5)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("alpha", color=SOFT)
    axes.set_title("(fold, voxel) pairs that chose this alpha (%)", loc="left", fontsize=9.5, color=INK)
    plain(axes, "both")
    _legend(figure, handles, list(chosen))
    return svg(figure, "alphas")


@matplotlib.rc_context(SETTINGS)
def alignment(found: Mapping[str, Any]) -> str:
    """Draw the correlation of the responses with the number of words per TR at every lag."""
    figure = Figure(figsize=(WIDTH, 2.9), dpi=72)
    axes = figure.add_axes((0.065, 0.19, 0.915, 0.7))
    lags, tr = np.array(found["lags"]), found["tr"]
    axes.axvspan(3.9 / tr, 6.1 / tr, color="#e8f1e8", lw=0)
    axes.plot(lags, found["curve"], color=PALETTE[0], lw=1.5, marker="o", ms=4)
    axes.axhline(found["level"], color="#999999", lw=1, ls="--")
    at = list(lags).index(found["peak"])
    axes.plot([found["peak"]], [found["curve"][at]], "o", color=PALETTE[1], ms=8)
    axes.set_xticks(lags)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("lag from words to response in TRs (shaded: 4 to 6 s; dashed: 99 % of chance peaks)", color=SOFT)
    axes.set_title("root mean square r over voxels", loc="left", fontsize=9.5, color=INK)
    plain(axes, "both")
    return svg(figure, "doctor")


def _mean(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else 0.0


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    legend = figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.05, 0),
        ncols=3,
        frameon=False,
        fontsize=8.5,
        handlelength=2.6,
    )
    for entry in legend.get_texts():
        entry.set_parse_math(False)
        entry.set_color(INK)
