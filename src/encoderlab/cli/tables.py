"""Print tables of a study, a check, an estimate, an evaluation or an inspected model in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from encoderlab.core import durations
from encoderlab.report import headline
from encoderlab.report.text import gain, score
from encoderlab.results.confirmed import Confirmed
from encoderlab.results.summary import MetricInterval, VariantSummary
from encoderlab.results.table import Table as Collected
from encoderlab.study.check import CheckReport
from encoderlab.study.estimate import Estimate
from encoderlab.study.inspect import Inspection
from encoderlab.tasks.metric import MetricInfo
from encoderlab.tasks.score_names import SCORE_NAMES


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> None:
    """Print a table to stdout with the first `text` columns left-aligned. Cells lose markup and control characters."""
    grid = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        grid.add_column(name, justify="left" if i < text else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*("".join(c if c.isprintable() else " " for c in cell) for cell in row))
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 500  # a file or a pipe has no width
    console.print(grid)


def summary(found: Collected) -> None:
    """Print the summary of a study, best variant first, the verdict of the report, and what a reader must know."""
    metric, reference = found.metric, found.study.reference
    sign = " %" if metric.percent else ""

    def shown(value: float | None) -> str:
        return "" if value is None else f"{score(value, metric)}{sign}"

    def between(interval: MetricInterval | None) -> str:
        known = interval is not None and not math.isnan(interval.low) and not math.isnan(interval.high)
        return f"{score(interval.low, metric)}-{score(interval.high, metric)}" if interval and known else ""

    def gained(row: VariantSummary) -> str:
        value = None if row.comparison is None else row.comparison.difference
        return "" if value is None or math.isnan(value) else gain(value, metric)

    def place(row: VariantSummary) -> tuple[bool, float]:
        return row.metric.mean is None, -metric.sign * (row.metric.mean or 0.0)

    table(
        "",
        (
            *("method", metric.label, "95 % interval", "seeds", *found.others),
            *(f"vs {reference}", "p (Holm)", "adapter", "head", "train"),
        ),
        [
            (
                row.variant,
                shown(row.metric.mean) or "failed",
                between(row.interval),
                str(row.seeds),
                *(shown(row.other_tests[name].metric.mean) for name in found.others),
                gained(row),
                "" if row.holm_p is None else "<0.001" if row.holm_p < 0.001 else f"{row.holm_p:.3f}",
                _count(row.parameters.adapter),
                _count(row.parameters.head),
                durations.rough(row.train_seconds) if row.train_seconds else "",
            )
            for row in sorted(found.summary, key=place)
        ],
    )
    print(headline.sentences(found)[0])
    for line in found.caveats:
        print(f"warning: {line}")
    if found.confirmed is not None:
        _confirmed(found.confirmed, metric)


def _confirmed(found: Confirmed, metric: MetricInfo) -> None:
    """Print what a set that chose nothing says of the recommended variant."""
    if found.variant is None:
        print(f"confirmed on {found.set}: nothing, because no method is recommended")
        return
    if found.value is None:
        print(f"confirmed on {found.set}: {found.variant} is not scored there yet")
        return
    sign = " %" if metric.percent else ""
    ends = [score(end, metric) for end in (found.low, found.high) if end is not None]
    about = [*(["-".join(ends)] if ends else []), f"{found.rows:,} rows, {found.seeds} seed{'s' * (found.seeds > 1)}"]
    winners = len(found.winners)
    used = f"; it has scored {winners} recommended variants by now" if winners > 1 else ""
    value = f"{score(found.value, metric)}{sign}"
    print(f"confirmed on {found.set}: {found.variant} {value} ({'; '.join(about)}){used}")


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def checked(report: CheckReport) -> None:
    """Print the data and the methods of a study."""
    print(f"{report.name}: {report.model}, at most {report.max_length} tokens, {report.device}, {report.precision}\n")
    labels = list(report.splits["train"].labels)
    shown = labels if len(labels) <= 6 else []
    table(
        "data",
        ("split", "source", "rows", *(f"label {name}" for name in shown), "rows truncated", "tokens lost"),
        [
            (
                name,
                split.origin,
                f"{split.rows:,}",
                *(f"{split.labels[label]:,}" for label in shown),
                f"{split.rows_cut:,} ({split.rows_cut / split.rows:.0%})",
                f"{split.tokens_lost:,} ({split.tokens_lost / (split.tokens_lost + split.tokens):.0%})",
            )
            for name, split in report.splits.items()
        ],
        text=2,
    )
    print()
    table("examples", ("label", "text"), report.examples, text=2)
    print()
    table(
        "methods",
        ("variant", "learning rates", "adapter", "head", "trainable"),
        [
            (
                one.label,
                ", ".join(f"{rate:g}" for rate in one.learning_rates),
                f"{one.adapter:,}",
                f"{one.head:,}",
                f"{(one.adapter + one.head) / one.total:.2%} of {one.total:,}",
            )
            for one in report.variants
        ],
        text=2,
    )
    number = report.runs
    print(f"\n{number['trials']} trials, {number['runs']} runs, {number['baselines']} baselines; ", end="")
    print(f"reference: {report.reference}; metric: {report.metric}")
    if report.visible:
        print(report.visible)
    for line in report.warnings:
        print(f"warning: {line}")


def estimated(estimate: Estimate) -> None:
    """Print the expected time and memory of a study, per variant and in total."""
    print()
    table(
        "estimate for this machine",
        ("variant", "runs", "time", "peak memory"),
        [(one.label, str(one.runs), durations.rough(one.seconds), _memory(one.memory_mb)) for one in estimate.costs]
        + [
            (
                "whole study",
                str(sum(one.runs for one in estimate.costs)),
                durations.rough(estimate.seconds),
                _memory(estimate.memory_mb),
            )
        ],
    )


def _memory(megabytes: float | None) -> str:
    return "unknown" if megabytes is None else f"{megabytes:,.0f} MB"


WITH_UNIT = {one.key for one in SCORE_NAMES if one.has_unit}


def _digits(value: float) -> str:
    """Format with at least four significant digits."""
    return f"{value:#.4g}" if abs(value) < 1000 or abs(value) >= 1e9 else f"{value:,.0f}"


def evaluated(result: Mapping[str, Any]) -> None:
    """Print the metrics of a run on a file."""
    for line in result["notes"]:
        print(f"note: {line}")
    single = {name: value for name, value in result.items() if isinstance(value, int | float)}
    width = max([16, *map(len, single)])
    for name, value in single.items():
        shown = value if isinstance(value, int) else _digits(value) if name in WITH_UNIT else format(value, ".4f")
        print(f"{name.replace('_', ' '):{width}} {shown}")
    if "per_class" not in result:
        return
    print()
    table(
        "",
        ("label", "precision", "recall", "f1", "support"),
        [
            (one["label"], *(f"{one[key]:.4f}" for key in ("precision", "recall", "f1")), str(one["support"]))
            for one in result["per_class"]
        ],
    )


def inspection(found: Inspection) -> None:
    """Print the parameters of a model by component, and those that each method would train."""
    size = f"{found.layers} layers, hidden size {found.hidden}"
    head = f"a head for {found.classes} classes"
    print(f"{found.model}: {found.family}, {size}, {found.parameters:,} parameters including {head}\n")
    table(
        "parameters",
        ("component", "parameters", "share"),
        [(name, f"{n:,}", f"{n / found.parameters:.1%}") for name, n in found.components.items() if n],
    )
    print()
    fits = [one for one in found.shares if not one.problems]
    table(
        "trainable parameters",
        ("method", "adapter", "head", "trainable", "share", "reduction", "file"),
        [
            (
                one.variant,
                f"{one.adapter:,}",
                f"{one.head:,}",
                f"{one.trained:,}",
                f"{100 * one.trained / one.total:.4g} %",
                f"{one.total / one.trained:,.1f}x",
                f"{one.bytes / 1e6:,.2f} MB",
            )
            for one in fits
        ],
    )
    for one in found.shares:
        for line in one.problems:
            print(f"{one.variant}: {line}")
    if found.newly_initialized:
        print(
            f"note: the checkpoint has no {', '.join(found.newly_initialized)}; these are trained and counted with "
            "the head"
        )
    elif found.newly_initialized is None and found.components["pooler"]:
        print(
            "note: no weights on this machine; if the checkpoint has no pooler, the pooler is trained and counted with "
            "the head"
        )
