"""The learning rate of a variant, chosen on validation.

    1. Every candidate trains once, briefly.
    2. While the best one is the lowest or the highest, one more is tried a factor beyond it, at most [search] extend
       times. A best rate at the edge of a grid says that the grid was too narrow.
    3. The best two train at full length with the study's first seed, and the better one is taken. A short trial likes a
       larger rate than a long run does. The winner's run is a run of the study, so the race costs one run.

The cap is the same for every method, and every candidate is told in the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

from encoderlab.config.settings import Study, Variant
from encoderlab.study.jobs import TRIAL_SEED, JobSpec, races, trials
from encoderlab.training.run_context import RunContext


def candidate(study: Study, result: dict[str, Any]) -> dict[str, Any]:
    """What a trial says about its settings."""
    scores = result["splits"].get("validation", {})
    return {
        "learning_rate": result["learning_rate"],
        **{key: scores.get(key) for key in shown(study, result["class_names"])},
        "run": result["id"],
        "status": result["status"],
    }


def shown(study: Study, class_names: Sequence[str]) -> dict[str, None]:
    """The metrics that are told of a candidate."""
    return dict.fromkeys(("accuracy", "loss", study.task.metric(class_names).key))


def best(study: Study, candidates: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The best validation score of the trials that came to an end; ties go to the lower loss, then to the first."""
    done = [c for c in candidates if c["status"] == "done"]
    return max(done, key=lambda c: (study.task.value(c), -c["loss"]), default=None)


@final
@dataclass(kw_only=True)
class Grid:
    """The search of one variant. found, raced: {learning rate: what its trial, and its run in the race, gave}."""

    study: Study
    bench: RunContext
    variant: Variant
    asked: set[float] = field(default_factory=set)
    found: dict[float, dict[str, Any]] = field(default_factory=dict)
    racing: tuple[float, ...] = ()
    raced: dict[float, dict[str, Any]] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self._waiting or bool(self._next())

    @property
    def _waiting(self) -> bool:
        """Whether trials or the race are under way."""
        return self.asked != self.found.keys() or set(self.racing) != self.raced.keys()

    @property
    def _best(self) -> dict[str, Any] | None:
        """The best trial so far."""
        return best(self.study, [self.found[rate] for rate in sorted(self.found)])

    def asks(self, room: int) -> list[JobSpec]:
        """What can be done now: nothing while trials or the race are under way."""
        if self._waiting:
            return []
        asks = self._next()
        if asks and asks[0].race:
            self.racing = tuple(ask.rate or 0.0 for ask in asks)
        else:
            self.asked |= {ask.rate or 0.0 for ask in asks}
        return asks

    def _next(self) -> list[JobSpec]:
        first = trials(self.study, self.variant)
        if not first or not self.asked:
            return first
        if (beyond := self._beyond()) is not None:
            name, nth = self.variant.method.name, len(self.asked)
            return [JobSpec(kind="trial", name=name, variant=self.variant, rate=beyond, seed=TRIAL_SEED, nth=nth)]
        if self.racing or not self.study.search.races:
            return []
        done = [one for one in self.found.values() if one["status"] == "done"]
        two = sorted(done, key=lambda one: (-self.study.task.value(one), one["loss"]))[:2]
        return races(self.study, self.variant, [one["learning_rate"] for one in two]) if len(two) == 2 else []

    def _beyond(self) -> float | None:
        """The rate to try next, a factor beyond the best one where that lies at an end; None where it does not, and
        where enough were tried."""
        search = self.study.search
        own, found = self.variant.method.learning_rate is not None, self._best
        if (
            own
            or found is None
            or not self.at_the_edge
            or len(self.asked) >= len(self.variant.learning_rates) + search.extend
        ):
            return None
        rate = found["learning_rate"]
        return float(f"{rate * search.factor if rate == max(self.found) else rate / search.factor:.3g}")

    @property
    def at_the_edge(self) -> bool:
        """Whether the best trial is the lowest or the highest rate."""
        found = self._best
        return found is not None and found["learning_rate"] in (min(self.found), max(self.found))

    def tell(self, ask: JobSpec, result: dict[str, Any]) -> None:
        assert ask.rate is not None
        (self.raced if ask.race else self.found)[ask.rate] = candidate(self.study, result)

    def entry(self) -> dict[str, Any]:
        untried = {**shown(self.study, self.bench.class_names), "run": None, "status": "not tried"}
        rates = sorted({*self.variant.learning_rates, *self.found})
        return {
            "method": self.variant.method.name,
            "variant": self.variant.label,
            "candidates": [self.found.get(rate, {"learning_rate": rate, **untried}) for rate in rates],
            "chosen": self.chosen()[1],
            "race": [self.raced[rate] for rate in self.racing],
            "edge": self.at_the_edge,
            "chance": self._chance(),
        }

    def _chance(self) -> bool:
        """Whether no trial was better than the constant answer by two standard errors. False where it has none."""
        found = self._best
        metric = self.study.task.metric(self.bench.class_names)
        if found is None or found.get(metric.key) is None or self.study.task.baseline is None:
            return False
        bound = metric.chance_bound(self.bench.validation.labels)
        return bound is not None and found[metric.key] < bound

    def chosen(self) -> tuple[Variant, float]:
        found = best(self.study, [self.raced[rate] for rate in self.racing if rate in self.raced])
        found = found or self._best
        return self.variant, self.variant.learning_rates[0] if found is None else found["learning_rate"]
