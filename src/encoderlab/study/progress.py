"""How long a study still takes: tokens to work through, and the speed each variant has shown so far.

A token of training counts as TRAINING_COST forward tokens (forward, and a backward pass of about twice its products).
The speed of a variant that has not run yet is taken from those that have.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from encoderlab.tasks.metric import plain

TRAINING_COST = 3


@dataclass(frozen=True, kw_only=True)
class Work:
    """Tokens of one run: `trained` with gradients, `forward` without. `group`: runs of one speed, a variant's label."""

    group: str
    title: str
    trained: int
    forward: int

    @property
    def units(self) -> int:
        return self.trained * TRAINING_COST + self.forward


class Meter:
    """The study's progress: one bar on a terminal, one line a run anywhere. metric: which one the line tells. workers:
    runs done at the same time. silent: of a process beside the one that tells."""

    def __init__(
        self, work: Sequence[Work], metric: str = "accuracy", workers: int = 1, *, silent: bool = False
    ) -> None:
        self.metric, self.workers, self.silent = metric, workers, silent
        self.left: dict[str, int] = defaultdict(int)
        for one in work:
            self.left[one.group] += one.units
        self.count, self.total = 0, len(work)
        self.warned: set[str] = set()
        self.spent: dict[str, float] = defaultdict(float)
        self.worked: dict[str, int] = defaultdict(int)
        self.bar = tqdm(
            total=sum(self.left.values()), disable=silent or None, file=sys.stderr, leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed} {postfix}",
        )  # fmt: skip

    @contextmanager
    def job(self, work: Work) -> Iterator[Callable[[int, float | None], None]]:
        """Gives the run its `tick(tokens, loss or None)`; settles the account at the end, also where the run was
        there already."""
        self.count += 1
        self.bar.set_description(f"run {self.count}/{self.total} {work.title}", refresh=True)
        ticked, last = 0, time.perf_counter()

        def tick(tokens: int, loss: float | None) -> None:
            nonlocal ticked, last
            now = time.perf_counter()
            units = tokens if loss is None else tokens * TRAINING_COST
            ticked += units
            self.worked[work.group] += units
            self.spent[work.group] += now - last
            last = now
            self.left[work.group] -= units
            self.bar.update(units)
            said = f"loss {loss:.3f}, " if loss is not None else ""
            self.bar.set_postfix_str(f"{said}{words(self.seconds_left())} left in the study", refresh=False)

        yield tick
        rest = work.units - ticked  # a finished run, an early stop, or a run that went on from its checkpoint
        self.left[work.group] -= rest
        self.bar.update(max(0, rest))

    def collect(self, work: Work, seconds: float) -> None:
        """A run that was done elsewhere and took so long, or was there already: 0. The time of a run that had no work
        of its own left is another's."""
        self.count += 1
        self.left[work.group] -= work.units
        if seconds and work.units:
            self.worked[work.group] += work.units
            self.spent[work.group] += seconds
        self.bar.set_description(f"{self.count}/{self.total} done", refresh=False)
        self.bar.set_postfix_str(f"{words(self.seconds_left())} left in the study", refresh=False)
        self.bar.update(work.units)

    def seconds_left(self) -> float:
        """At the speeds seen so far; nan before the first tokens."""
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

    def say(self, result: dict[str, Any], *, validation: bool = False) -> None:
        """One line for a finished run, and one for each of its warnings that was not said before. Those of trials are
        not: they are short, and no run is made of them. validation: the line tells the score on these rows."""
        if self.silent:
            return
        kind = "validation" if validation else "test"
        scores = result["splits"].get(kind) or {}
        parts = [f"{self.count}/{self.total}", result["variant"]]
        parts += [f"seed {result['seed']}"] if result["seed"] is not None else []
        parts += [f"learning rate {result['learning_rate']:.3g}"] if result["learning_rate"] is not None else []
        if result["status"] == "done":
            name = self.metric.replace("_", " ")
            parts.append(f"{kind} {name} {plain(scores[self.metric])}" if self.metric in scores else "done")
        else:
            parts.append(f"{'pruned' if result['status'] == 'pruned' else 'FAILED'}: {result['reason']}")
        left = self.seconds_left()
        parts += [f"{words(left)} left"] if left == left and self.count < self.total else []
        tqdm.write("  ".join(parts), file=sys.stderr)
        fresh = [line for line in result["warnings"] if line not in self.warned] if result["kind"] != "trial" else []
        self.warned.update(fresh)
        for line in fresh:
            tqdm.write(f"warning: {line}", file=sys.stderr)

    def close(self) -> None:
        self.bar.close()


def words(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 2.5 h."""
    if seconds != seconds:
        return "unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
