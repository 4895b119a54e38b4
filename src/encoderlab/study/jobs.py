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
from encoderlab.training import run
from encoderlab.training.epochs import OnEpoch, OnProgress, ignore
from encoderlab.training.run_context import Job, RunContext, folder_of
from encoderlab.training.run_record import Kind, RunRecord

ENDING = 120.0  # seconds; NFS keeps the lock of a host that crashed for 90


@final
@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What tells a job from the other jobs of its study. It is small, whereas a job holds its rows.

    Attributes:
        variant: None of a baseline.
        trial: The number of a sampled trial.
        search: Optuna's name of the study that prunes the trial, or "".
        nth: The place among the variant's candidates.
        race: Whether this is a run at full length that decides between the two best candidates.
    """

    kind: Kind
    name: str
    variant: Variant | None
    rate: float | None
    seed: int | None
    trial: int | None = None
    search: str = ""
    nth: int = 0
    race: bool = False

    @property
    def chooses(self) -> bool:
        """Whether the job helps to choose the settings of its variant: a trial, or a run of the race."""
        return self.kind is Kind.TRIAL or self.race


@final
@dataclass(frozen=True, kw_only=True)
class Runs:
    """The work of a study's executor: do a job, wherever this object is called."""

    study: Study
    context: RunContext

    def __call__(self, spec: JobSpec) -> Mapping[str, Any]:
        """Do a job in a worker, and return the content of result.json.

        Another worker that is about to end may still hold the run's folder.
        """
        return self.do(spec, ignore, wait=ENDING).to_json()

    def do(self, spec: JobSpec, on_progress: OnProgress, wait: float = 0.0) -> RunRecord:
        """Do a job in this process, and return its record."""
        return run.execute(self.context, self.job(spec), on_progress, on_epoch=self._on_epoch(spec), wait=wait)

    def _on_epoch(self, spec: JobSpec) -> OnEpoch:
        if not spec.search:
            return ignore
        assert spec.trial is not None
        return Pruner(journal=self.study.out / JOURNAL, name=spec.search, number=spec.trial, task=self.study.task)

    def known(self, spec: JobSpec) -> Mapping[str, Any] | None:
        """Return the content of result.json of a run that was done before; otherwise None."""
        record = run.stored(self.context, self.job(spec))
        return None if record is None else record.to_json()

    def name(self, spec: JobSpec) -> str:
        """Return the id of the job's run."""
        return folder_of(self.context, self.job(spec)).path.name

    def job(self, spec: JobSpec) -> Job:
        """Return the job with its rows."""
        if spec.variant is None:
            return baseline_job(self.study, self.context, spec.name, spec.seed)
        assert spec.rate is not None and spec.seed is not None
        if spec.kind is Kind.TRIAL:
            return trial_job(self.study, self.context, spec.variant, spec.rate, spec.seed, pruning=bool(spec.search))
        return run_job(self.study, self.context, spec.variant, spec.rate, spec.seed)

    def work(self, spec: JobSpec) -> Work:
        """Return the work of a job: none of a trial that an earlier variant of the study has as well.

        All variants have the same epochs and seeds in their trials, so such a trial is taken from its folder.
        """
        work = work_of(self.job(spec), self.context)
        return replace(work, trained=0, forward=0) if spec.kind is Kind.TRIAL and self._tried_before(spec) else work

    def _tried_before(self, spec: JobSpec) -> bool:
        assert spec.variant is not None
        same = [other.label for other in self.study.variants if other.tried_as == spec.variant.tried_as]
        return spec.trial is None and spec.variant.label in same[1:]


def baselines(study: Study) -> list[JobSpec]:
    """Return the jobs of the constant answer, and of the untrained model once per seed of its new head."""
    names = [(study.task.baseline, None)] if study.task.baseline else []
    return [
        JobSpec(kind=Kind.BASELINE, name=name, variant=None, rate=None, seed=seed)
        for name, seed in [*names, *(("untrained", seed) for seed in study.seeds)]
    ]


def trials(study: Study, variant: Variant) -> list[JobSpec]:
    """Return the jobs of the learning rates of the grid; none for a single rate, which needs no trial.

    Where settings are sampled, return as many jobs as there will be, before it is known which.
    """
    rates = variant.learning_rates
    if study.search.trials is not None:
        return [tried(study, variant, {}, rates[0], number, "") for number in range(study.search.trials)]
    several = enumerate(rates if len(rates) > 1 else ())
    return [spec for nth, rate in several for spec in trials_of(study, variant, rate, nth)]


def trials_of(study: Study, variant: Variant, rate: float, nth: int) -> list[JobSpec]:
    """Return the trials of one learning rate, one per seed of the search."""
    name = variant.method.name
    return [
        JobSpec(kind=Kind.TRIAL, name=name, variant=variant, rate=rate, seed=seed, nth=nth)
        for seed in study.search.seeds
    ]


def races(study: Study, variant: Variant, rates: Sequence[float]) -> list[JobSpec]:
    """Return the runs at full length of each rate, with `race_seeds`. The winner's are runs of the study."""
    return [
        replace(spec, nth=nth, race=True)
        for nth, rate in enumerate(rates)
        for spec in seeded(study, variant, rate)[: len(race_seeds(study))]
    ]


def race_seeds(study: Study) -> tuple[int, ...]:
    """Return the seeds of the race: the study's first ones, as many as a candidate has trials."""
    return study.seeds[: len(study.search.seeds)]


def tried(
    study: Study, variant: Variant, settings: Mapping[str, Any], rate: float, number: int, search: str
) -> JobSpec:
    """Return the job of a sampled trial."""
    variant = replace(variant, method=replace(variant.method, **settings))
    name, seed = variant.method.name, study.search.seeds[0]
    return JobSpec(kind=Kind.TRIAL, name=name, variant=variant, rate=rate, seed=seed, trial=number, search=search)


def seeded(study: Study, variant: Variant, rate: float) -> list[JobSpec]:
    """Return the runs of a variant whose learning rate is chosen, one per seed."""
    name = variant.method.name
    return [JobSpec(kind=Kind.RUN, name=name, variant=variant, rate=rate, seed=seed) for seed in study.seeds]


def baseline_job(study: Study, context: RunContext, name: str, seed: int | None) -> Job:
    """Return the job of a baseline: with a seed, the untrained model; without one, the constant answer."""
    return Job(
        kind=Kind.BASELINE,
        name=name,
        variant=name,
        method=None,
        learning_rate=None,
        seed=seed,
        settings=study.train,
        train=context.train,
    )


def run_job(study: Study, context: RunContext, variant: Variant, rate: float, seed: int) -> Job:
    """Return the job of a run at full length."""
    return Job(
        kind=Kind.RUN,
        name=variant.method.name,
        variant=variant.label,
        method=variant.method,
        learning_rate=rate,
        seed=seed,
        settings=replace(study.train, epochs=variant.overrides.epochs or study.train.epochs),
        train=context.train if variant.overrides.stride is None else context.strided[variant.overrides.stride],
        stride=variant.overrides.stride,
    )


def trial_job(
    study: Study, context: RunContext, variant: Variant, rate: float, seed: int, *, pruning: bool = False
) -> Job:
    """Return the job of a short run on some of the training rows: of one seed, the same rows for every method and rate.

    Windows of another stride are other rows: as many of them are taken.
    """
    settings = replace(study.train, epochs=study.search.epochs, patience=None)
    job = run_job(study, context, variant, rate, seed)
    count = min(study.search.rows, len(job.train))
    classes = job.train.labels if study.task.has_classes else np.zeros(len(job.train), dtype=np.int64)
    rows = some_rows(classes, count, seed)
    return replace(job, kind=Kind.TRIAL, settings=settings, train=take(job.train, rows), pruning=pruning)


def some_rows(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `count` row numbers, ascending, each class with its share; of one seed, always the same."""
    order = numpy_generator(seed, "trial rows").permutation(len(labels))
    share = np.empty(len(labels))  # how much of its class is taken before a row's turn
    for label in np.unique(labels):
        members = order[labels[order] == label]
        share[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(share[order], kind="stable")][:count])


def planned(study: Study, context: RunContext) -> list[Work]:
    """Return the work of every run of the study, from which the time that is left is estimated."""
    specs = baselines(study)
    runs = Runs(study=study, context=context)
    found = [runs.work(spec) for spec in specs]
    for variant in study.variants:
        tried, runs_of_it = trials(study, variant), seeded(study, variant, variant.learning_rates[0])
        raced = races(study, variant, variant.learning_rates[:2]) if tried and study.search.races else []
        found += [runs.work(spec) for spec in (*tried, *raced)]
        repeated = len(race_seeds(study)) if raced else 0  # those of the race's winner are there already
        found += [replace(runs.work(spec), trained=0, forward=0) for spec in runs_of_it[:repeated]]
        found += [runs.work(spec) for spec in runs_of_it[repeated:]]
    return found


def work_of(job: Job, context: RunContext) -> Work:
    """Return the tokens that a job trains on and predicts."""
    held_out = int(context.validation.offsets[-1])
    forward = held_out * job.settings.epochs if job.method else 0
    if job.kind is not Kind.TRIAL and not job.is_constant:
        forward += sum(int(tokenized.offsets[-1]) for _, tokenized in context.held_out)
    trained = int(job.train.offsets[-1]) * job.settings.epochs if job.method else 0
    seed = "" if job.seed is None else f" seed {job.seed}"
    rate = f" learning rate {job.learning_rate:.3g}" if job.kind is Kind.TRIAL else ""
    return Work(group=job.variant, title=f"{job.variant}{rate}{seed}", trained=trained, forward=forward)
