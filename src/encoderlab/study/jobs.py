"""The runs of a study as jobs: what all of them share, each one by itself, and the work it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from encoderlab.config.settings import Study, Variant
from encoderlab.core.rng import numpy_generator
from encoderlab.data.tokenized import take
from encoderlab.study.progress import Work
from encoderlab.study.pruning import JOURNAL, Pruner
from encoderlab.training.loop import Tick, Watch
from encoderlab.training.run import execute
from encoderlab.training.run_context import Job, Kind, RunContext, identify, unwatched
from encoderlab.training.run_folder import stored

TRIAL_SEED = 0
ENDING = 120.0  # seconds; NFS keeps the lock of a host that crashed for 90


@final
@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A job by what tells it from the other jobs of its study: small, where a job holds its rows. variant: None of a
    baseline. trial, search: the number of a sampled trial, and Optuna's name of the study that prunes it, or "". nth:
    of a variant's candidates. race: a run at full length that decides between the two best candidates."""

    kind: Kind
    name: str
    variant: Variant | None
    rate: float | None
    seed: int | None
    trial: int | None = None
    search: str = ""
    nth: int = 0
    race: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class Runs:
    """The work of a study's executor: does what is asked for, wherever it is called."""

    study: Study
    bench: RunContext

    def __call__(self, ask: JobSpec) -> dict[str, Any]:
        """In a worker. Another one that is about to end may still have the run's folder."""
        return self.do(ask, lambda tokens, loss: None, wait=ENDING)

    def do(self, ask: JobSpec, tick: Tick, wait: float = 0.0) -> dict[str, Any]:
        """The content of result.json."""
        return execute(self.bench, self.job(ask), tick, watch=self._watch(ask), wait=wait)

    def _watch(self, ask: JobSpec) -> Watch:
        if not ask.search:
            return unwatched
        assert ask.trial is not None
        return Pruner(journal=self.study.out / JOURNAL, name=ask.search, number=ask.trial, task=self.study.task)

    def known(self, ask: JobSpec) -> dict[str, Any] | None:
        """The result, where the run was done before."""
        return stored(self.bench, self.job(ask))

    def name(self, ask: JobSpec) -> str:
        return identify(self.bench, self.job(ask))[0]

    def job(self, ask: JobSpec) -> Job:
        if ask.variant is None:
            return baseline_job(self.study, self.bench, ask.name, ask.seed)
        assert ask.rate is not None and ask.seed is not None
        if ask.kind == "trial":
            return trial_job(self.study, self.bench, ask.variant, ask.rate, pruning=bool(ask.search))
        return run_job(self.study, self.bench, ask.variant, ask.rate, ask.seed)

    def work(self, ask: JobSpec) -> Work:
        """None is left of a trial that an earlier variant of the study has as well: trials differ neither in epochs nor
        by seed, so it is taken from its folder."""
        work = work_of(self.job(ask), self.bench)
        return replace(work, trained=0, forward=0) if ask.kind == "trial" and self._tried_before(ask) else work

    def _tried_before(self, ask: JobSpec) -> bool:
        assert ask.variant is not None
        same = [other.label for other in self.study.variants if other.tried_as == ask.variant.tried_as]
        return ask.trial is None and ask.variant.label in same[1:]


def baselines(study: Study) -> list[JobSpec]:
    """The answer that is the same for every row, and the model before training, once per seed of its fresh head."""
    names = [(study.task.baseline, None)] if study.task.baseline else []
    return [
        JobSpec(kind="baseline", name=name, variant=None, rate=None, seed=seed)
        for name, seed in [*names, *(("untrained", seed) for seed in study.seeds)]
    ]


def trials(study: Study, variant: Variant) -> list[JobSpec]:
    """One for each candidate, none where there is only one, which needs no trial; where settings are sampled, as many
    as there will be, before it is known which."""
    rates = variant.learning_rates
    if study.search.trials is not None:
        return [tried(variant, {}, rates[0], number, "") for number in range(study.search.trials)]
    name = variant.method.name
    return [
        JobSpec(kind="trial", name=name, variant=variant, rate=rate, seed=TRIAL_SEED, nth=nth)
        for nth, rate in enumerate(rates if len(rates) > 1 else ())
    ]


def races(study: Study, variant: Variant, rates: Sequence[float]) -> list[JobSpec]:
    """Runs at full length with the study's first seed, one a rate; that of the winner is a run of the study."""
    return [replace(seeded(study, variant, rate)[0], nth=nth, race=True) for nth, rate in enumerate(rates)]


def tried(variant: Variant, settings: Mapping[str, Any], rate: float, number: int, search: str) -> JobSpec:
    """A sampled trial."""
    variant = replace(variant, method=replace(variant.method, **settings))
    name = variant.method.name
    return JobSpec(kind="trial", name=name, variant=variant, rate=rate, seed=TRIAL_SEED, trial=number, search=search)


def seeded(study: Study, variant: Variant, rate: float) -> list[JobSpec]:
    """The runs of a variant whose learning rate is chosen."""
    name = variant.method.name
    return [JobSpec(kind="run", name=name, variant=variant, rate=rate, seed=seed) for seed in study.seeds]


def baseline_job(study: Study, bench: RunContext, name: str, seed: int | None) -> Job:
    return Job(
        kind="baseline",
        name=name,
        variant=name,
        method=None,
        learning_rate=None,
        seed=seed,
        settings=study.train,
        train=bench.train,
    )


def run_job(study: Study, bench: RunContext, variant: Variant, rate: float, seed: int) -> Job:
    return Job(
        kind="run",
        name=variant.method.name,
        variant=variant.label,
        method=variant.method,
        learning_rate=rate,
        seed=seed,
        settings=replace(study.train, epochs=variant.regime.epochs or study.train.epochs),
        train=bench.train if variant.regime.stride is None else bench.strided[variant.regime.stride],
        stride=variant.regime.stride,
    )


def trial_job(study: Study, bench: RunContext, variant: Variant, rate: float, *, pruning: bool = False) -> Job:
    """A short run on some of the training rows, the same rows for every method and rate. Windows of another stride are
    other rows: as many of them."""
    settings = replace(study.train, epochs=study.search.epochs, patience=None)
    job = run_job(study, bench, variant, rate, TRIAL_SEED)
    count = min(study.search.rows, len(job.train))
    classes = job.train.labels if study.task.has_classes else np.zeros(len(job.train), dtype=np.int64)
    rows = some_rows(classes, count)
    return replace(job, kind="trial", settings=settings, train=take(job.train, rows), pruning=pruning)


def some_rows(labels: np.ndarray, count: int) -> np.ndarray:
    """`count` row numbers, ascending, each class with its share of them; the same for every method and rate."""
    order = numpy_generator(TRIAL_SEED, "trial rows").permutation(len(labels))
    share = np.empty(len(labels))  # how much of its class is taken before a row's turn
    for label in np.unique(labels):
        members = order[labels[order] == label]
        share[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(share[order], kind="stable")][:count])


def planned(study: Study, bench: RunContext) -> list[Work]:
    """The work of every run of the study, for the time that is left."""
    asks = baselines(study)
    known = Runs(study=study, bench=bench)
    found = [known.work(ask) for ask in asks]
    for variant in study.variants:
        tried, runs_of_it = trials(study, variant), seeded(study, variant, variant.learning_rates[0])
        raced = races(study, variant, variant.learning_rates[:2]) if tried and study.search.races else []
        found += [known.work(ask) for ask in (*tried, *raced)]
        repeated = 1 if raced else 0  # the winner of the race is there already
        found += [replace(known.work(ask), trained=0, forward=0) for ask in runs_of_it[:repeated]]
        found += [known.work(ask) for ask in runs_of_it[repeated:]]
    return found


def work_of(job: Job, bench: RunContext) -> Work:
    held_out = int(bench.validation.offsets[-1])
    forward = held_out * job.settings.epochs if job.method else 0
    if job.kind != "trial" and not job.is_constant:
        forward += sum(int(tokenized.offsets[-1]) for _, tokenized in bench.held_out)
    trained = int(job.train.offsets[-1]) * job.settings.epochs if job.method else 0
    seed = "" if job.seed is None or job.kind == "trial" else f" seed {job.seed}"
    rate = f" learning rate {job.learning_rate:.3g}" if job.kind == "trial" else ""
    return Work(group=job.variant, title=f"{job.variant}{rate}{seed}", trained=trained, forward=forward)
