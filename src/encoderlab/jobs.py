"""The runs of a study as jobs: what all of them share, each one by itself, and the work it is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from encoderlab import backbone as backbones
from encoderlab import files, head_units, runs
from encoderlab.backbone import Backbone
from encoderlab.config import Study, Variant
from encoderlab.data import Rows, Splits
from encoderlab.execute import Bench, Job, Kind, execute, identify, stored, unwatched
from encoderlab.methods import positions
from encoderlab.randomness import numpy_generator
from encoderlab.tasks import Encoded
from encoderlab.timing import Work
from encoderlab.training.loop import Tick, Watch
from encoderlab.training.precision import choose_device, choose_precision
from encoderlab.trials import JOURNAL, Pruner

TRIAL_SEED = 0
ENDING = 120.0  # seconds; NFS keeps the lock of a host that crashed for 90


@final
@dataclass(frozen=True, kw_only=True)
class Ask:
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
    bench: Bench

    def __call__(self, ask: Ask) -> dict[str, Any]:
        """In a worker. Another one that is about to end may still have the run's folder."""
        return self.do(ask, lambda tokens, loss: None, wait=ENDING)

    def do(self, ask: Ask, tick: Tick, wait: float = 0.0) -> dict[str, Any]:
        """The content of result.json."""
        return execute(self.bench, self.job(ask), tick, watch=self._watch(ask), wait=wait)

    def _watch(self, ask: Ask) -> Watch:
        if not ask.search:
            return unwatched
        assert ask.trial is not None
        return Pruner(journal=self.study.out / JOURNAL, name=ask.search, number=ask.trial, task=self.study.task)

    def known(self, ask: Ask) -> dict[str, Any] | None:
        """The result, where the run was done before."""
        return stored(self.bench, self.job(ask))

    def name(self, ask: Ask) -> str:
        return identify(self.bench, self.job(ask))[0]

    def job(self, ask: Ask) -> Job:
        if ask.variant is None:
            return baseline_job(self.study, self.bench, ask.name, ask.seed)
        assert ask.rate is not None and ask.seed is not None
        if ask.kind == "trial":
            return trial_job(self.study, self.bench, ask.variant, ask.rate, pruning=bool(ask.search))
        return run_job(self.study, self.bench, ask.variant, ask.rate, ask.seed)

    def work(self, ask: Ask) -> Work:
        """None is left of a trial that an earlier variant of the study has as well: trials differ neither in epochs nor
        by seed, so it is taken from its folder."""
        work = work_of(self.job(ask), self.bench)
        return replace(work, trained=0, forward=0) if ask.kind == "trial" and self._tried_before(ask) else work

    def _tried_before(self, ask: Ask) -> bool:
        assert ask.variant is not None
        same = [other.label for other in self.study.variants if other.tried_as == ask.variant.tried_as]
        return ask.trial is None and ask.variant.label in same[1:]


def open_bench(study: Study, splits: Splits, class_names: list[str]) -> Bench:
    """Tokens (from the cache on disk where they are there), device and precision for a study's runs."""
    away = study.launch.gpu and study.train.device != "cpu"  # the jobs have a GPU, whatever this machine has
    device = choose_device("cuda" if away else study.train.device)
    dtype, why = choose_precision(device, study.train.precision)
    base = backbones.load(study.model, head=study.task.head, class_names=class_names, seed=0)
    cache = files.cache_folder() / "tokens"
    encoded = {
        name: study.task.encode(rows, base.tokenizer, study.train.max_length, class_names, cache)
        for name, rows in splits.items()
    }
    base, anew = head_units.settle(base, study.task, encoded["train"])
    strides = {stride for variant in study.variants if (stride := variant.regime.stride) is not None}
    strided = {
        stride: replace(study.task, stride=stride).encode(  # type: ignore[type-var]
            splits.train, base.tokenizer, study.train.max_length, class_names, cache
        )
        for stride in sorted(strides)
    }
    index = {name: _numbers(encoded[name], rows) for name, rows in splits.items()}
    origins = {name: rows.origin for name, rows in splits.items()}
    hub = tuple(dict.fromkeys(source.hub for source in study.data.sources.values() if source.hub))
    return Bench(
        model=study.model,
        fingerprint=_fingerprint(base, encoded.values()),
        tokenizer=base.tokenizer,
        task=study.task,
        class_names=class_names,
        train=encoded["train"],
        validation=encoded["validation"],
        test=encoded["test"],
        other_tests={name: encoded[name] for name in splits.others},
        strided=strided,
        index=index,
        settings=study.train,
        device=device,
        dtype=dtype,
        why=why,
        folder=study.out / "runs",
        track=study.top.track,
        study=study.name,
        origins={name: o if o.startswith(hub) else Path(o).name for name, o in origins.items()},
        hub=hub,
        since=time.time(),
        anew=anew,
    )


def _fingerprint(base: Backbone, splits: Iterable[Encoded]) -> str:
    """What stands for the model in a run's id."""
    parts = [base.fingerprint, base.pooler_fingerprint, base.head_fingerprint]
    table = positions.table(base.trunk) if base.family.packs else None
    padding = None if table is None else table.padding_idx
    parts += {positions.mark(encoded.ids, padding) for encoded in splits}
    return " ".join(filter(None, parts))


def _numbers(encoded: Encoded, rows: Rows) -> np.ndarray:
    """Of each row that the model sees: in its source, or of the window."""
    return rows.index if encoded.index is None else encoded.index


def baselines(study: Study) -> list[Ask]:
    """The answer that is the same for every row, and the model before training, once per seed of its fresh head."""
    names = [(study.task.baseline, None)] if study.task.baseline else []
    return [
        Ask(kind="baseline", name=name, variant=None, rate=None, seed=seed)
        for name, seed in [*names, *(("untrained", seed) for seed in study.seeds)]
    ]


def trials(study: Study, variant: Variant) -> list[Ask]:
    """One for each candidate, none where there is only one, which needs no trial; where settings are sampled, as many
    as there will be, before it is known which."""
    rates = variant.learning_rates
    if study.search.trials is not None:
        return [tried(variant, {}, rates[0], number, "") for number in range(study.search.trials)]
    name = variant.method.name
    return [
        Ask(kind="trial", name=name, variant=variant, rate=rate, seed=TRIAL_SEED, nth=nth)
        for nth, rate in enumerate(rates if len(rates) > 1 else ())
    ]


def races(study: Study, variant: Variant, rates: Sequence[float]) -> list[Ask]:
    """Runs at full length with the study's first seed, one a rate; that of the winner is a run of the study."""
    return [replace(seeded(study, variant, rate)[0], nth=nth, race=True) for nth, rate in enumerate(rates)]


def tried(variant: Variant, settings: Mapping[str, Any], rate: float, number: int, search: str) -> Ask:
    """A sampled trial."""
    variant = replace(variant, method=replace(variant.method, **settings))
    name = variant.method.name
    return Ask(kind="trial", name=name, variant=variant, rate=rate, seed=TRIAL_SEED, trial=number, search=search)


def seeded(study: Study, variant: Variant, rate: float) -> list[Ask]:
    """The runs of a variant whose learning rate is chosen."""
    name = variant.method.name
    return [Ask(kind="run", name=name, variant=variant, rate=rate, seed=seed) for seed in study.seeds]


def baseline_job(study: Study, bench: Bench, name: str, seed: int | None) -> Job:
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


def run_job(study: Study, bench: Bench, variant: Variant, rate: float, seed: int) -> Job:
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


def trial_job(study: Study, bench: Bench, variant: Variant, rate: float, *, pruning: bool = False) -> Job:
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


def take(encoded: Encoded, rows: np.ndarray) -> Encoded:
    """Some rows of an encoded split, in the given order."""
    sequences = encoded.sequences(rows)
    spans = [slice(encoded.offsets[one], encoded.offsets[one + 1]) for one in sequences]
    types, groups = encoded.type_ids, encoded.groups
    return replace(
        encoded,
        ids=np.concatenate([encoded.ids[span] for span in spans]),
        offsets=np.concatenate([[0], np.cumsum(encoded.lengths[sequences])]).astype(np.int64),
        groups=None if groups is None else np.concatenate([[0], np.cumsum(encoded.sizes[rows])]).astype(np.int64),
        type_ids=None if types is None else np.concatenate([types[span] for span in spans]),
        labels=encoded.labels[rows],
        index=None if encoded.index is None else encoded.index[rows],
        places=None if encoded.places is None else encoded.places[rows],
        fingerprint=f"{encoded.fingerprint}:{runs.array_hash(rows)}",
    )


def planned(study: Study, bench: Bench) -> list[Work]:
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


def work_of(job: Job, bench: Bench) -> Work:
    held_out = int(bench.validation.offsets[-1])
    forward = held_out * job.settings.epochs if job.method else 0
    if job.kind != "trial" and not job.is_constant:
        forward += sum(int(encoded.offsets[-1]) for _, encoded in bench.held_out)
    trained = int(job.train.offsets[-1]) * job.settings.epochs if job.method else 0
    seed = "" if job.seed is None or job.kind == "trial" else f" seed {job.seed}"
    rate = f" learning rate {job.learning_rate:.3g}" if job.kind == "trial" else ""
    return Work(group=job.variant, title=f"{job.variant}{rate}{seed}", trained=trained, forward=forward)
