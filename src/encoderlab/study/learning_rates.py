"""The learning rate of a variant, chosen on validation.

    1. Every candidate trains briefly, once with each of the [search] seeds. Its mean over the seeds ranks it.
    2. While the best one is the lowest or the highest, one more is tried a factor beyond it, at most [search] extend
       times. A best rate at the edge of a grid says that the grid was too narrow.
    3. The best two train at full length with as many of the study's seeds, and the better one is taken. A short trial
       likes a larger rate than a long run does. The winner's runs are runs of the study, so the race costs one run for
       each seed.

The cap is the same for every method, and every candidate is told in the report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

from encoderlab.config.settings import Study, Variant
from encoderlab.results.study_record import Candidate, SearchRecord
from encoderlab.study.jobs import JobSpec, races, trials, trials_of
from encoderlab.training.run_context import RunContext
from encoderlab.training.run_record import RunRecord, Status


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


def over_seeds(trials: Sequence[Candidate]) -> Candidate:
    """Return what the trials of one learning rate say about it together: the mean of each metric.

    A rate that fails with one seed has failed.
    """
    if len(trials) == 1:
        return trials[0]
    scored = [one.scores for one in trials]
    means = {
        key: math.fsum(scores[key] for scores in scored) / len(scored) if all(key in s for s in scored) else None
        for key in trials[0].metrics
    }
    status = next((one.status for one in trials if not one.is_done), Status.DONE)
    return replace(trials[0], metrics=means, status=status, by_seed=tuple(trials))


@final
@dataclass(kw_only=True)
class Repeats:
    """The trials of several learning rates, or their runs in the race.

    Attributes:
        submitted: {rate: the seeds of what was submitted}.
        told: {(rate, seed): what came of it}.
    """

    submitted: dict[float, tuple[int, ...]] = field(default_factory=dict[float, tuple[int, ...]])
    told: dict[tuple[float, int], Candidate] = field(default_factory=dict[tuple[float, int], Candidate])

    def submit(self, specs: Sequence[JobSpec]) -> None:
        """Take the specs that are submitted."""
        for rate, seed in map(_key, specs):
            self.submitted[rate] = (*self.submitted.get(rate, ()), seed)

    def tell(self, spec: JobSpec, one: Candidate) -> None:
        """Take what came of a spec."""
        self.told[_key(spec)] = one

    @property
    def waiting(self) -> bool:
        """Whether something that was submitted is under way."""
        return len(self.told) < sum(map(len, self.submitted.values()))

    @property
    def found(self) -> dict[float, Candidate]:
        """{rate: the mean over its seeds}, in the order of submission, of every rate that is done."""
        every = {rate: [self.told.get((rate, seed)) for seed in seeds] for rate, seeds in self.submitted.items()}
        return {rate: over_seeds([one for one in of if one]) for rate, of in every.items() if None not in of}


def _key(spec: JobSpec) -> tuple[float, int]:
    assert spec.rate is not None and spec.seed is not None
    return spec.rate, spec.seed


@final
@dataclass(kw_only=True)
class Grid:
    """The search of one variant over a grid of learning rates.

    Attributes:
        trials: The trials of every candidate.
        race: The runs of the two candidates in the race.
    """

    study: Study
    context: RunContext
    variant: Variant
    trials: Repeats = field(default_factory=Repeats)
    race: Repeats = field(default_factory=Repeats)

    @property
    def open(self) -> bool:
        """Whether a trial or the race is under way, or still to come."""
        return self._waiting or bool(self._next())

    @property
    def _waiting(self) -> bool:
        """Whether a trial or the race is under way."""
        return self.trials.waiting or self.race.waiting

    @property
    def _best(self) -> Candidate | None:
        """The best candidate so far."""
        found = self.trials.found
        return best(self.study, [found[rate] for rate in sorted(found)])

    def next_jobs(self, room: int) -> list[JobSpec]:
        """Return what can be done now: nothing while a trial or the race is under way."""
        if self._waiting:
            return []
        specs = self._next()
        (self.race if specs and specs[0].race else self.trials).submit(specs)
        return specs

    def _next(self) -> list[JobSpec]:
        first = trials(self.study, self.variant)
        if not first or not self.trials.submitted:
            return first
        if (beyond := self._beyond()) is not None:
            return trials_of(self.study, self.variant, beyond, len(self.trials.submitted))
        if self.race.submitted or not self.study.search.races:
            return []
        done = [one for one in self.trials.found.values() if one.is_done]
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
            or len(self.trials.submitted) >= len(self.variant.learning_rates) + search.extend
        ):
            return None
        rate = found.learning_rate
        return float(f"{rate * search.factor if rate == max(self.trials.found) else rate / search.factor:.3g}")

    @property
    def at_the_edge(self) -> bool:
        """Whether the best candidate is the lowest or the highest rate."""
        found, rates = self._best, self.trials.found
        return found is not None and found.learning_rate in (min(rates), max(rates))

    def tell(self, spec: JobSpec, record: RunRecord) -> None:
        """Take the record of a trial, or of a run of the race."""
        (self.race if spec.race else self.trials).tell(spec, candidate(self.study, record))

    def record(self) -> SearchRecord:
        """Return what study.json keeps of the search."""
        found = self.trials.found
        rates = sorted({*self.variant.learning_rates, *found})
        return SearchRecord(
            method=self.variant.method.name,
            variant=self.variant.label,
            candidates=tuple(found.get(rate) or self._untried(rate) for rate in rates),
            chosen=self.chosen()[1],
            race=tuple(self.race.found.values()),
            edge=self.at_the_edge,
            chance=self._chance(),
        )

    def _untried(self, rate: float) -> Candidate:
        metrics = shown(self.study, self.context.class_names)
        return Candidate(learning_rate=rate, metrics=metrics, run=None, status=Status.NOT_TRIED)

    def _chance(self) -> bool:
        """Whether no candidate was better than the constant answer, if there is one, by two standard errors."""
        found = self._best
        metric = self.study.task.metric(self.context.class_names)
        score = None if found is None else found.metrics.get(metric.key)
        if score is None or self.study.task.baseline is None:
            return False
        bound = metric.chance_bound(self.context.validation.labels)
        return bound is not None and score < bound

    def chosen(self) -> tuple[Variant, float]:
        """Return the variant and the learning rate of its runs."""
        found = best(self.study, list(self.race.found.values())) or self._best
        return self.variant, self.variant.learning_rates[0] if found is None else found.learning_rate
