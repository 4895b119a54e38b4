"""How the settings of a variant are chosen: on validation, by short trials, before any run of it.

    Grid      every candidate learning rate, more at the edge, then a race of the best two (`learning_rates`)
    Tuning    [search] trials: ranges sampled by the tree-structured Parzen estimator (Bergstra et al. 2011), trials
              below the median of the others after an epoch pruned (Golovin et al. 2017), both from Optuna

A trial is a run like any other: done by the executor, resumed from its checkpoint, taken from its folder. Optuna's
journal, OUT/search.journal, holds which trials there are and what they reported; workers write their epochs to it. A
trial's draws are seeded by its number, not by what the process did before, so one worker tries the same settings
whether it was stopped or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, final

from encoderlab.config.ranges import Range
from encoderlab.config.settings import Study, Variant
from encoderlab.core import hashing
from encoderlab.core.rng import derive
from encoderlab.results.study_record import Candidate, SearchRecord
from encoderlab.study.jobs import JobSpec, trial_job, tried
from encoderlab.study.learning_rates import Grid, best, candidate
from encoderlab.study.pruning import JOURNAL, open_journal
from encoderlab.training.run_context import RunContext, identify
from encoderlab.training.run_record import RunRecord, Status


class Choice(Protocol):
    """The choice of one variant's settings by trials."""

    @property
    def open(self) -> bool:
        """Whether not all trials are done."""
        ...

    def next_jobs(self, room: int) -> list[JobSpec]:
        """Return what to do next, with at most `room` trials under way where that matters."""
        ...

    def tell(self, spec: JobSpec, record: RunRecord) -> None:
        """Take the record of a trial, or of a run of the race."""
        ...

    def record(self) -> SearchRecord:
        """Return what study.json keeps of the search."""
        ...

    def chosen(self) -> tuple[Variant, float]:
        """Return the variant with the chosen settings, and its learning rate."""
        ...


def choice(study: Study, context: RunContext, variant: Variant) -> Choice:
    """Return the search that the study makes for a variant: a grid of learning rates, or sampled settings."""
    if study.search.trials is None:
        return Grid(study=study, context=context, variant=variant)
    return Tuning(study=study, context=context, variant=variant)


@final
@dataclass(kw_only=True)
class Tuning:
    """The search of one variant over sampled settings.

    Attributes:
        found: {number: what the trial of this number gave}.
        under_way: The numbers of the trials that were submitted and are not done.
    """

    study: Study
    context: RunContext
    variant: Variant
    found: dict[int, Candidate] = field(default_factory=dict)
    under_way: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        assert self.study.search.trials is not None
        self.wanted = self.study.search.trials
        self.name = _name(self.study, self.context, self.variant)
        self.optuna = open_journal(self.study.out / JOURNAL, self.name, make=True)

    @property
    def open(self) -> bool:
        """Whether not all trials are done."""
        return len(self.found) < self.wanted

    def next_jobs(self, room: int) -> list[JobSpec]:
        """Return trials of the journal, which an earlier command may have begun, then new ones."""
        jobs = []
        while len(self.under_way) < room and (number := len(self.found) + len(self.under_way)) < self.wanted:
            settings = self._settings(self._drawn(number))
            rate = settings.pop("learning_rate", self.variant.learning_rates[0])
            name = self.name if self.study.search.pruning else ""
            jobs.append(tried(self.study, self.variant, settings, rate, number, name))
            self.under_way.add(number)
        return jobs

    def _drawn(self, number: int) -> Mapping[str, Any]:
        from optuna.samplers import TPESampler
        from optuna.trial import Trial

        space = {key: _distribution(value) for key, value in self.variant.space}
        self.optuna.sampler = TPESampler(seed=derive(self.study.search.seeds[0], "search", number) % 2**32)
        known = self.optuna.get_trials(deepcopy=False)
        if number == len(known):
            return self.optuna.ask(space).params
        if set(known[number].params) != set(space):  # a command was killed while it drew
            trial = Trial(self.optuna, known[number]._trial_id)
            return {key: trial._suggest(key, distribution) for key, distribution in space.items()}
        return known[number].params

    def _settings(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return {key: value} as the method takes them. A choice is drawn by its number."""
        found = {}
        for key, value in self.variant.space:
            if value.choices:
                found[key] = value.choices[drawn[key]]
            else:
                found[key] = int(drawn[key]) if value.whole else float(f"{drawn[key]:.3g}")
        return found

    def tell(self, spec: JobSpec, record: RunRecord) -> None:
        """Take the record of a trial, and write its score into the journal."""
        from optuna.trial import TrialState

        assert spec.trial is not None and spec.variant is not None
        self.under_way.discard(spec.trial)
        self.found[spec.trial] = replace(candidate(self.study, record), settings=self._sampled(spec.variant))
        if self.optuna.get_trials(deepcopy=False)[spec.trial].state.is_finished():
            return
        if record.is_done:
            self.optuna.tell(spec.trial, self.study.task.value(record.splits["validation"].metrics))
        else:  # one that failed counts as worse than all others too, so that its like are tried less
            self.optuna.tell(spec.trial, state=TrialState.PRUNED)

    def record(self) -> SearchRecord:
        """Return what study.json keeps of the search."""
        candidates = self._in_order()
        variant, rate = self.chosen()
        return SearchRecord(
            method=self.variant.method.name,
            variant=self.variant.label,
            candidates=candidates,
            chosen=rate,
            chosen_settings=self._sampled(variant),
            trials=len(candidates),
            pruned=sum(one.status is Status.PRUNED for one in candidates),
            failed=sum(one.status is Status.FAILED for one in candidates),
        )

    def chosen(self) -> tuple[Variant, float]:
        """Return the variant with the settings of the best trial, and its learning rate."""
        found = best(self.study, self._in_order())
        if found is None:  # every trial failed: the run says why
            return self.variant, self.variant.learning_rates[0]
        return with_settings(self.variant, found.settings or {}), found.learning_rate

    def _in_order(self) -> tuple[Candidate, ...]:
        return tuple(one for _, one in sorted(self.found.items()))

    def _sampled(self, variant: Variant) -> Mapping[str, Any]:
        """Return the settings of a variant that are sampled, the learning rate apart, as JSON has them."""
        keys = [key for key, _ in self.variant.space if key != "learning_rate"]
        return hashing.as_json({key: getattr(variant.method, key) for key in keys})


def with_settings(variant: Variant, settings: Mapping[str, Any]) -> Variant:
    """Return the variant with other settings of its method."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return replace(variant, method=replace(variant.method, **values))


def _name(study: Study, context: RunContext, variant: Variant) -> str:
    """Return what Optuna calls the study of a variant: other rows, settings or ranges make another study."""
    rate, seed = variant.learning_rates[0], study.search.seeds[0]
    job = trial_job(study, context, variant, rate, seed, pruning=study.search.pruning)
    number = hashing.run_id(
        {"job": identify(context, job)[1], "space": hashing.as_json([[k, vars(r)] for k, r in variant.space])}
    )
    return f"{variant.label} {number}"


def _distribution(space: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if space.choices:
        return CategoricalDistribution(range(len(space.choices)))
    assert space.low is not None and space.high is not None
    if space.whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)
