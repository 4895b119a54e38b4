"""The table that grows while a study runs: what is known of each variant so far.

    method     seeds  accuracy  lowest-highest  train  now
    full         3/3    80.7 %       80.3-81.1   14 s
    lora         1/3    78.8 %                   19 s  seed 1
    adapter      0/3                                   trying rate 0.003

A test score enters the table when its run belongs to the study. A trial and a run of the race only choose a learning
rate: the table counts them, and their scores stay out of it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import final

from rich.console import Console
from rich.table import Table

from encoderlab.report.text import score
from encoderlab.tasks.metric import MetricInfo
from encoderlab.training.run_record import RunRecord

COLUMNS = ("method", "seeds", "{metric}", "lowest-highest", "train", "now")
AS_TEXT = ("method", "now")  # the left-aligned columns


@final
@dataclass(kw_only=True)
class Standing:
    """What is known of one variant or baseline.

    Attributes:
        wanted: The number of its runs in the study.
        scores: The test scores of the runs that are done.
        seconds: Their training times.
        failed: The number of runs that failed.
        tried: The number of finished trials and runs of the race.
        doing: What is under way, in words, or "".
    """

    wanted: int
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    tried: int = 0
    doing: str = ""

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return len(self.seconds) + self.failed >= self.wanted

    def add(self, record: RunRecord, metric: str, *, chooses: bool) -> None:
        """Add a run that has ended. Only count it if it `chooses` a learning rate."""
        self.doing = ""
        if chooses:
            self.tried += 1
        elif not record.is_done:
            self.failed += 1
        else:
            self.seconds.append(record.train_seconds)
            value = record.metric("test", metric)
            self.scores += [] if value is None else [value]

    @property
    def now(self) -> str:
        """What is under way; otherwise what the other cells do not tell."""
        if self.doing:
            return self.doing
        if self.failed:
            return f"{self.failed} failed"
        waits = self.tried and not self.seconds
        return f"{self.tried} trial{'s' * (self.tried > 1)} done" if waits else ""


@final
class Standings:
    """What is known of every variant and baseline of a study, in the study's order.

    Args:
        runs: {label: number of its runs}.
        metric: The metric of the scores.
    """

    def __init__(self, runs: Mapping[str, int], metric: MetricInfo) -> None:
        self.metric = metric
        self.of = {label: Standing(wanted=count) for label, count in runs.items()}

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return all(one.complete for one in self.of.values())

    def begin(self, label: str, doing: str) -> None:
        """Take down what is under way."""
        if label in self.of:
            self.of[label].doing = doing

    def add(self, record: RunRecord, *, chooses: bool) -> bool:
        """Add a run that has ended, and return whether it completes its variant.

        Args:
            record: The record of the run.
            chooses: Whether the run is a trial or a run of the race.
        """
        one = self.of.get(record.variant)
        if one is None:
            return False
        before = one.complete
        one.add(record, self.metric.key, chooses=chooses)
        return one.complete and not before

    def lines(self, width: int, room: int, *, complete: bool = False) -> list[str]:
        """Return the table as lines of text, with its heading.

        Args:
            width: The number of characters of a line. Longer cells end with an ellipsis.
            room: The largest number of lines, at least 3. What does not fit is counted in the last line.
            complete: Whether to list only what is complete, without the column `now`.
        """
        chosen = [label for label, one in self.of.items() if one.complete or not complete]
        kept = self._first(chosen, room - 1 if len(chosen) < room else room - 2)
        columns = COLUMNS[:-1] if complete else COLUMNS
        rows = [self._cells(label)[: len(columns)] for label in kept]
        said = [name.format(metric=self.metric.label) for name in columns]
        more = [f"and {len(chosen) - len(kept)} more"] if len(kept) < len(chosen) else []
        return [*_drawn(said, rows, width), *more]

    def _first(self, labels: Sequence[str], count: int) -> list[str]:
        """Return the `count` labels that say the most: those under way, then the best scores. They keep their order."""

        def weight(label: str) -> tuple[bool, bool, float]:
            one = self.of[label]
            value = self.metric.sign * fmean(one.scores) if one.scores else 0.0
            return bool(one.doing), bool(one.scores), value

        top = sorted(labels, key=weight, reverse=True)[:count]
        return [label for label in labels if label in top]

    def _cells(self, label: str) -> Sequence[str]:
        one, unit = self.of[label], " %" if self.metric.percent else ""
        ends = [score(value, self.metric) for value in (min(one.scores), max(one.scores))] if one.scores[1:] else []
        seconds = fmean(one.seconds) if one.seconds else 0.0
        return (
            label,
            f"{len(one.seconds)}/{one.wanted}",
            f"{score(fmean(one.scores), self.metric)}{unit}" if one.scores else "",
            "-".join(ends),
            f"{seconds:.0f} s" if seconds else "",
            one.now,
        )


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return a table as lines of plain text."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        grid.add_column(name, justify="left" if name in AS_TEXT else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    console = Console(
        file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False,
        force_terminal=False, force_jupyter=False,
    )  # fmt: skip
    with console.capture() as capture:
        console.print(grid)
    return [line.rstrip() for line in capture.get().splitlines()]
