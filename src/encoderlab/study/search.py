"""How the settings of a variant are chosen: on validation, by short trials, before any run of it.

    Grid      every candidate learning rate once, more at the edge, then a race of the best two (`rates`)
    Tuning    [search] trials: ranges sampled by the tree-structured Parzen estimator (Bergstra et al. 2011), trials
              below the median of the others after an epoch pruned (Golovin et al. 2017), both from Optuna

A trial is a run like any other: done by the executor, resumed from its checkpoint, taken from its folder. Optuna's
journal, OUT/search.journal, holds which trials there are and what they reported; workers write their epochs to it. A
trial's draws are seeded by its number, not by what the process did before, so one worker tries the same settings
whether it was stopped or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, final

from encoderlab.config.ranges import Range
from encoderlab.config.settings import Study, Variant
from encoderlab.core import hashing
from encoderlab.core.rng import derive
from encoderlab.study.jobs import TRIAL_SEED, JobSpec, trial_job, tried
from encoderlab.study.learning_rates import Grid, best, candidate
from encoderlab.study.pruning import JOURNAL, open_journal
from encoderlab.training.run_context import RunContext, identify


class Choice(Protocol):
    """The trials of one variant. `open`: not all of them are done."""

    @property
    def open(self) -> bool: ...
    def asks(self, room: int) -> list[JobSpec]:
        """What to do next, with at most `room` trials under way where that matters."""
        ...

    def tell(self, ask: JobSpec, result: dict[str, Any]) -> None: ...
    def entry(self) -> dict[str, Any]:
        """What study.json says about it."""
        ...

    def chosen(self) -> tuple[Variant, float]:
        """The variant with the settings that were chosen, and its learning rate."""
        ...


def choice(study: Study, bench: RunContext, variant: Variant) -> Choice:
    if study.search.trials is None:
        return Grid(study=study, bench=bench, variant=variant)
    return Tuning(study=study, bench=bench, variant=variant)


@final
@dataclass(kw_only=True)
class Tuning:
    study: Study
    bench: RunContext
    variant: Variant
    found: dict[int, dict[str, Any]] = field(default_factory=dict)
    under_way: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        assert self.study.search.trials is not None
        self.wanted = self.study.search.trials
        self.name = _name(self.study, self.bench, self.variant)
        self.optuna = open_journal(self.study.out / JOURNAL, self.name, make=True)

    @property
    def open(self) -> bool:
        return len(self.found) < self.wanted

    def asks(self, room: int) -> list[JobSpec]:
        """Trials of the journal, then new ones; those without an end of an earlier command are among the former."""
        fresh = []
        while len(self.under_way) < room and (number := len(self.found) + len(self.under_way)) < self.wanted:
            settings = self._settings(self._drawn(number))
            rate = settings.pop("learning_rate", self.variant.learning_rates[0])
            fresh.append(tried(self.variant, settings, rate, number, self.name if self.study.search.pruning else ""))
            self.under_way.add(number)
        return fresh

    def _drawn(self, number: int) -> dict[str, Any]:
        from optuna.samplers import TPESampler
        from optuna.trial import Trial

        space = {key: _distribution(value) for key, value in self.variant.space}
        self.optuna.sampler = TPESampler(seed=derive(TRIAL_SEED, "search", number) % 2**32)
        known = self.optuna.get_trials(deepcopy=False)
        if number == len(known):
            return self.optuna.ask(space).params
        if set(known[number].params) != set(space):  # a command was killed while it drew
            trial = Trial(self.optuna, known[number]._trial_id)
            return {key: trial._suggest(key, distribution) for key, distribution in space.items()}
        return known[number].params

    def _settings(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """{key: value} as the method takes them; a choice is drawn by its number."""
        found = {}
        for key, value in self.variant.space:
            if value.choices:
                found[key] = value.choices[drawn[key]]
            else:
                found[key] = int(drawn[key]) if value.whole else float(f"{drawn[key]:.3g}")
        return found

    def tell(self, ask: JobSpec, result: dict[str, Any]) -> None:
        from optuna.trial import TrialState

        assert ask.trial is not None and ask.variant is not None
        self.under_way.discard(ask.trial)
        settings = {key: getattr(ask.variant.method, key) for key, _ in self.variant.space if key != "learning_rate"}
        self.found[ask.trial] = candidate(self.study, result) | {"settings": hashing.as_json(settings)}
        if self.optuna.get_trials(deepcopy=False)[ask.trial].state.is_finished():
            return
        if result["status"] == "done":
            value = self.study.task.value(result["splits"]["validation"])
            self.optuna.tell(ask.trial, value)
        else:  # one that failed counts as worse than all others too, so that its like are tried less
            self.optuna.tell(ask.trial, state=TrialState.PRUNED)

    def entry(self) -> dict[str, Any]:
        candidates = [candidate for _, candidate in sorted(self.found.items())]
        variant, rate = self.chosen()
        settings = {key: getattr(variant.method, key) for key, _ in self.variant.space if key != "learning_rate"}
        return {
            "method": self.variant.method.name,
            "variant": self.variant.label,
            "candidates": candidates,
            "chosen": rate,
            "chosen_settings": hashing.as_json(settings),
            "trials": len(candidates),
            **{s: sum(c["status"] == s for c in candidates) for s in ("pruned", "failed")},
        }

    def chosen(self) -> tuple[Variant, float]:
        found = best(self.study, [candidate for _, candidate in sorted(self.found.items())])
        if found is None:  # every trial failed: the run says why
            return self.variant, self.variant.learning_rates[0]
        return with_settings(self.variant, found["settings"]), found["learning_rate"]


def with_settings(variant: Variant, settings: dict[str, Any]) -> Variant:
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return replace(variant, method=replace(variant.method, **values))


def _name(study: Study, bench: RunContext, variant: Variant) -> str:
    """Of Optuna's study: other rows, settings or ranges make another one."""
    job = trial_job(study, bench, variant, variant.learning_rates[0], pruning=study.search.pruning)
    number = hashing.run_id(
        {"job": identify(bench, job)[1], "space": hashing.as_json([[k, vars(r)] for k, r in variant.space])}
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
