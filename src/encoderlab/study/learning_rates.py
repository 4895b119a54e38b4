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
from typing import final

from encoderlab.config.settings import Study, Variant
from encoderlab.results.study_record import Candidate, SearchRecord
from encoderlab.study.jobs import TRIAL_SEED, JobSpec, races, trials
from encoderlab.training.run_context import RunContext
from encoderlab.training.run_record import Kind, RunRecord, Status


def candidate(study: Study, record: RunRecord) -> Candidate:
    """Return what a trial says about its settings."""
    assert record.learning_rate is not None
    return Candidate(
        learning_rate=record.learning_rate,
        metrics={key: record.metric("validation", key) for key in shown(study, record.class_names)},
        run=record.id,
        status=record.status,
    )


def shown(study: Study, class_names: Sequence[str]) -> dict[str, None]:
    """Return the names of the metrics that study.json keeps of a candidate, in order."""
    return dict.fromkeys(("accuracy", "loss", study.task.metric(class_names).key))


def place(study: Study, one: Candidate) -> tuple[float, float]:
    """Return what candidates are ranked by: the score on validation, then the lower loss; higher is better."""
    return study.task.value(one.scores), -one.scores["loss"]


def best(study: Study, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the best of the trials that came to their end, the first of equal ones. None if none did."""
    done = [one for one in candidates if one.is_done]
    return max(done, key=lambda one: place(study, one), default=None)


@final
@dataclass(kw_only=True)
class Grid:
    """The search of one variant over a grid of learning rates.

    Attributes:
        submitted: The rates whose trials were submitted.
        found: {rate: what its trial gave}.
        racing: The two rates of the race.
        raced: {rate: what its run in the race gave}.
    """

    study: Study
    context: RunContext
    variant: Variant
    submitted: set[float] = field(default_factory=set)
    found: dict[float, Candidate] = field(default_factory=dict)
    racing: tuple[float, ...] = ()
    raced: dict[float, Candidate] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether a trial or the race is under way, or still to come."""
        return self._waiting or bool(self._next())

    @property
    def _waiting(self) -> bool:
        """Whether a trial or the race is under way."""
        return self.submitted != self.found.keys() or set(self.racing) != self.raced.keys()

    @property
    def _best(self) -> Candidate | None:
        """The best trial so far."""
        return best(self.study, [self.found[rate] for rate in sorted(self.found)])

    def next_jobs(self, room: int) -> list[JobSpec]:
        """Return what can be done now: nothing while a trial or the race is under way."""
        if self._waiting:
            return []
        specs = self._next()
        if specs and specs[0].race:
            self.racing = tuple(spec.rate or 0.0 for spec in specs)
        else:
            self.submitted |= {spec.rate or 0.0 for spec in specs}
        return specs

    def _next(self) -> list[JobSpec]:
        first = trials(self.study, self.variant)
        if not first or not self.submitted:
            return first
        if (beyond := self._beyond()) is not None:
            name, nth = self.variant.method.name, len(self.submitted)
            return [JobSpec(kind=Kind.TRIAL, name=name, variant=self.variant, rate=beyond, seed=TRIAL_SEED, nth=nth)]
        if self.racing or not self.study.search.races:
            return []
        done = [one for one in self.found.values() if one.is_done]
        two = sorted(done, key=lambda one: place(self.study, one), reverse=True)[:2]
        return races(self.study, self.variant, [one.learning_rate for one in two]) if len(two) == 2 else []

    def _beyond(self) -> float | None:
        """Return the rate to try next: a factor beyond the best one, if that is the lowest or the highest.

        None if it is not, or if enough rates were tried.
        """
        search = self.study.search
        own, found = self.variant.method.learning_rate is not None, self._best
        if (
            own
            or found is None
            or not self.at_the_edge
            or len(self.submitted) >= len(self.variant.learning_rates) + search.extend
        ):
            return None
        rate = found.learning_rate
        return float(f"{rate * search.factor if rate == max(self.found) else rate / search.factor:.3g}")

    @property
    def at_the_edge(self) -> bool:
        """Whether the best trial is the lowest or the highest rate."""
        found = self._best
        return found is not None and found.learning_rate in (min(self.found), max(self.found))

    def tell(self, spec: JobSpec, record: RunRecord) -> None:
        """Take the record of a trial, or of a run of the race."""
        assert spec.rate is not None
        (self.raced if spec.race else self.found)[spec.rate] = candidate(self.study, record)

    def record(self) -> SearchRecord:
        """Return what study.json keeps of the search."""
        rates = sorted({*self.variant.learning_rates, *self.found})
        return SearchRecord(
            method=self.variant.method.name,
            variant=self.variant.label,
            candidates=tuple(self.found.get(rate) or self._untried(rate) for rate in rates),
            chosen=self.chosen()[1],
            race=tuple(self.raced[rate] for rate in self.racing),
            edge=self.at_the_edge,
            chance=self._chance(),
        )

    def _untried(self, rate: float) -> Candidate:
        metrics = shown(self.study, self.context.class_names)
        return Candidate(learning_rate=rate, metrics=metrics, run=None, status=Status.NOT_TRIED)

    def _chance(self) -> bool:
        """Whether no trial was better than the constant answer by two standard errors. False without such an answer."""
        found = self._best
        metric = self.study.task.metric(self.context.class_names)
        score = None if found is None else found.metrics.get(metric.key)
        if score is None or self.study.task.baseline is None:
            return False
        bound = metric.chance_bound(self.context.validation.labels)
        return bound is not None and score < bound

    def chosen(self) -> tuple[Variant, float]:
        """Return the variant and the learning rate of its runs."""
        found = best(self.study, [self.raced[rate] for rate in self.racing if rate in self.raced])
        found = found or self._best
        return self.variant, self.variant.learning_rates[0] if found is None else found.learning_rate
