"""How long a study still takes: tokens to work through, and the speed each variant has shown so far.

A token of training counts as TRAINING_COST forward tokens (forward, and a backward pass of about twice its products).
The speed of a variant that has not run yet is taken from those that have.

The meter also shows the table of `standings`: on a terminal above the bar, drawn again in place; elsewhere as lines,
when a variant is complete.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from encoderlab.core.durations import rough as words
from encoderlab.study.standings import Standings
from encoderlab.tasks.metric import plain
from encoderlab.training.epochs import OnProgress
from encoderlab.training.run_record import Kind, RunRecord, Status

TRAINING_COST = 3
PRINTED = 12  # the largest number of lines of a table in a log
BESIDE = 6  # lines of a terminal that are left to the lines of the runs


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of one run, in tokens.

    Attributes:
        group: the runs that have the same speed, such as those of a variant.
        title: the name of the run.
        trained: tokens of forward and backward passes.
        forward: tokens of forward passes without gradients.
    """

    group: str
    title: str
    trained: int
    forward: int

    @property
    def units(self) -> int:
        """The work in forward tokens."""
        return self.trained * TRAINING_COST + self.forward


class Meter:
    """The progress of a study: one bar on a terminal, and one line for each run anywhere.

    Args:
        work: The work of all runs.
        metric: The metric that a run's line tells.
        workers: How many runs are done at the same time.
        silent: Whether to print nothing, as in a process beside the one that prints.
        standings: The table to show. None: no table.
    """

    def __init__(
        self,
        work: Sequence[Work],
        metric: str = "accuracy",
        workers: int = 1,
        *,
        silent: bool = False,
        standings: Standings | None = None,
    ) -> None:
        self.metric, self.workers, self.silent = metric, workers, silent
        self.left: dict[str, int] = defaultdict(int)
        for one in work:
            self.left[one.group] += one.units
        self.count, self.total = 0, len(work)
        self.warned: set[str] = set()
        self.spent: dict[str, float] = defaultdict(float)
        self.worked: dict[str, int] = defaultdict(int)
        self.standings, self.fresh, self.said, self.tabled = standings, False, 0, 0
        self.rows = [] if standings is None or silent else _rows(len(standings.of))
        self.bar = tqdm(
            total=sum(self.left.values()), disable=silent or None, file=sys.stderr, leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed} {postfix}", position=len(self.rows) or None,
        )  # fmt: skip
        self._draw()

    @contextmanager
    def job(self, work: Work, doing: str = "") -> Iterator[OnProgress]:
        """Give a run its `on_progress`; at the end, count the rest of its work, also if the run was done before.

        Args:
            work: The work of the run.
            doing: What the table says of the run while it is under way.
        """
        self.count += 1
        if self.standings is not None:
            self.standings.begin(work.group, doing)
            self._draw()
        self.bar.set_description(f"run {self.count}/{self.total} {work.title}", refresh=True)
        done, last = 0, time.perf_counter()

        def on_progress(tokens: int, loss: float | None) -> None:
            nonlocal done, last
            now = time.perf_counter()
            units = tokens if loss is None else tokens * TRAINING_COST
            done += units
            self.fresh = True
            self.worked[work.group] += units
            self.spent[work.group] += now - last
            last = now
            self.left[work.group] -= units
            self.bar.update(units)
            said = f"loss {loss:.3f}, " if loss is not None else ""
            self.bar.set_postfix_str(f"{said}{words(self.seconds_left())} left in the study", refresh=False)

        yield on_progress
        rest = work.units - done  # a finished run, an early stop, or a run that went on from its checkpoint
        self.left[work.group] -= rest
        self.bar.update(max(0, rest))

    def collect(self, work: Work, seconds: float) -> None:
        """Count a run that was done elsewhere in so many seconds, or was there already: 0.

        The time of a run that had no work of its own left is another run's.
        """
        self.count += 1
        self.fresh = self.fresh or bool(seconds)
        self.left[work.group] -= work.units
        if seconds and work.units:
            self.worked[work.group] += work.units
            self.spent[work.group] += seconds
        self.bar.set_description(f"{self.count}/{self.total} done", refresh=False)
        self.bar.set_postfix_str(f"{words(self.seconds_left())} left in the study", refresh=False)
        self.bar.update(work.units)

    def seconds_left(self) -> float:
        """Return the seconds left at the speeds seen so far; nan before the first tokens."""
        seen, spent = sum(self.worked.values()), sum(self.spent.values())
        if not seen:
            return float("nan")
        rates = {group: self.spent[group] / self.worked[group] for group in self.worked if self.worked[group]}
        alone = sum(max(0, units) * rates.get(group, spent / seen) for group, units in self.left.items())
        return alone / self.workers

    def more(self, work: Work) -> None:
        """Add work that was not planned."""
        self.left[work.group] += work.units
        self.total += 1
        self.bar.total = (self.bar.total or 0) + work.units

    def say(self, record: RunRecord, *, validation: bool = False) -> None:
        """Print one line for a finished run, and one for each of its warnings that was not printed before.

        The warnings of trials are left out: trials are short, and nothing is reported of them.

        Args:
            record: The record of the run.
            validation: Whether the line tells the score on the validation rows, and not on the test rows.
        """
        if self.silent:
            return
        split = "validation" if validation else "test"
        parts = [f"{self.count}/{self.total}", record.variant]
        parts += [f"seed {record.seed}"] if record.seed is not None else []
        parts += [f"learning rate {record.learning_rate:.3g}"] if record.learning_rate is not None else []
        if record.is_done:
            name, score = self.metric.replace("_", " "), record.metric(split, self.metric)
            parts.append("done" if score is None else f"{split} {name} {plain(score)}")
        else:
            parts.append(f"{'pruned' if record.status is Status.PRUNED else 'FAILED'}: {record.reason}")
        left = self.seconds_left()
        if not self.rows and left == left and self.count < self.total:  # otherwise the bar says it
            parts.append(f"{words(left)} left")
        self._print("  ".join(parts))
        self.said += 1
        warnings = () if record.kind is Kind.TRIAL else record.warnings
        new = [line for line in warnings if line not in self.warned]
        self.warned.update(new)
        self._print(*(f"warning: {line}" for line in new))
        if self.standings is not None:
            self._tell(self.standings, record, chooses=validation)

    def _tell(self, standings: Standings, record: RunRecord, *, chooses: bool) -> None:
        """Enter a run into the table. In a log, print the table if something was trained since the last one.

        The tables of a log never take more lines than the runs do, however many variants there are. The last variant
        brings no table, because the results follow.
        """
        completed = standings.add(record, chooses=chooses)
        if self.rows:
            self._draw()
        elif completed and self.fresh and record.kind is Kind.RUN and not standings.complete:
            lines = standings.lines(500, PRINTED, complete=True)
            if self.tabled + len(lines) <= self.said:
                self.tabled, self.fresh = self.tabled + len(lines), False
                self._print(*(f"    {line}" for line in lines))

    def _draw(self) -> None:
        """Draw the table of a terminal again."""
        if self.standings is not None and self.rows:
            lines = self.standings.lines(self.rows[0].ncols or 79, len(self.rows) - 1)
            for row, line in zip(self.rows[1:], lines, strict=True):  # the first row is an empty line
                row.set_description_str(line)

    def _print(self, *lines: str) -> None:
        for line in lines:
            tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Remove the bar and the table. The table of a study that stops before its end stays, as lines."""
        self.bar.close()
        for row in reversed(self.rows):
            row.close()
        if self.rows and self.standings is not None and self.said and not self.standings.complete:
            self._print(*self.standings.lines(self.rows[0].ncols or 79, len(self.rows) - 1))


def _rows(count: int) -> list[tqdm]:
    """Return the lines of a table in place: an empty one, the heading, and up to `count` rows.

    tqdm moves them out of the way of whatever else it writes. Return none where the cursor cannot go up: in a file or a
    pipe, on a dumb terminal, and in the output of a notebook's cell, which only looks like a terminal.
    """
    if os.environ.get("TERM") == "dumb" or "JPY_PARENT_PID" in os.environ:
        return []
    first = tqdm(bar_format="{desc}", disable=None, file=sys.stderr, leave=False, position=0)
    room = 0 if first.disable else min(count + 2, (first.nrows or 23) - BESIDE)
    if room < 4:
        first.close()
        return []
    others = (tqdm(bar_format="{desc}", file=sys.stderr, leave=False, position=position) for position in range(1, room))
    return [first, *others]
