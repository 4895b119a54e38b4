"""What a whole study takes on this machine, from a few real steps of each variant: `encoderlab check --time`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from encoderlab.config import load as config_load
from encoderlab.config.settings import Study, Variant
from encoderlab.core import machine
from encoderlab.data.tokenized import TokenizedRows, take
from encoderlab.engine.batches import epoch_batches, without_gradients
from encoderlab.engine.logits import logits
from encoderlab.study import prepare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import planned, run_job
from encoderlab.study.progress import Work
from encoderlab.training.fit import open_trainer
from encoderlab.training.loop import Trainer
from encoderlab.training.run_context import RunContext

STEPS, SECONDS = 4, 10.0  # after a first step that does not count, until one of them is reached
FORWARD_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of one variant: seconds of all its runs, trials included, and peak MB of memory (None if unknown)."""

    label: str
    runs: int
    seconds: float
    memory_mb: float | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cost of the whole study, if nothing of it is done yet and no run stops early."""

    costs: list[Cost]
    seconds: float
    memory_mb: float | None

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Speed:
    """The measured speed of one variant.

    Attributes:
        load: Seconds to load the model.
        trained: Seconds per token of training.
        forward: Seconds per token of inference.
        memory_mb: Peak memory.
        frozen: Which frozen leading layers are run once and their states kept. None if there are none.
        states: Seconds to run them over all rows.
    """

    load: float
    trained: float
    forward: float
    memory_mb: float | None
    frozen: Hashable | None
    states: float

    def seconds(self, work: Work) -> float:
        loads = 2 if work.trained else 1 if work.forward else 0  # to train, and to evaluate what was saved
        return loads * self.load + work.trained * self.trained + work.forward * self.forward


def estimate(path: Path, overrides: Sequence[str] = ()) -> Estimate:
    """Time every variant of a study.

    Raises:
        InputError: As `check`.
    """
    study = config_load.load(path, overrides)
    splits, class_names, _ = prepare.prepare(study)
    context = open_context(study, splits, class_names)
    speeds = {variant.label: _measure(study, context, variant) for variant in study.variants}
    work = planned(study, context)
    plain = min(speeds.values(), key=lambda speed: speed.forward)  # the baselines have nothing inserted
    costs, made = [], set()
    for label in dict.fromkeys(one.group for one in work):
        mine, speed = [one for one in work if one.group == label], speeds.get(label, plain)
        seconds = sum(speed.seconds(one) for one in mine)
        if label in speeds and speed.frozen is not None and speed.frozen not in made:  # the first one's, for all
            made.add(speed.frozen)
            seconds += speed.states
        costs.append(Cost(label=label, runs=len(mine), seconds=seconds, memory_mb=speed.memory_mb))
    known = [cost.memory_mb for cost in costs if cost.memory_mb is not None]
    return Estimate(costs=costs, seconds=sum(cost.seconds for cost in costs), memory_mb=max(known, default=None))


def _measure(study: Study, context: RunContext, variant: Variant) -> _Speed:
    machine.reset_peak_memory()
    job = run_job(study, context, variant, variant.learning_rates[0], study.seeds[0])
    splits = [job.train, *(rows for _, rows in context.held_out)]
    batches = epoch_batches(len(job.train), context.settings.batch_size, study.seeds[0], 1)
    chosen = [batches[number % len(batches)] for number in range(1 + STEPS)]
    job = replace(job, train=take(job.train, np.concatenate(chosen)))
    held_out = take(context.validation, np.arange(min(FORWARD_ROWS, len(context.validation))))
    with tempfile.TemporaryDirectory() as place:
        few = replace(context, validation=held_out, folder=Path(place) / "runs")
        start = time.perf_counter()
        trainer = open_trainer(few, job, variant.method, Path(place))
        load = time.perf_counter() - start
        kept, states = _keep(trainer, splits, [job.train, held_out])
        seconds, tokens = 0.0, 0
        ends = np.cumsum([len(rows) for rows in chosen])
        for number, rows in enumerate(np.split(np.arange(ends[-1]), ends[:-1])):
            start = time.perf_counter()
            trainer.step(0, rows)  # ends with the loss on the host, so the time holds a GPU's work
            if number > 0:
                seconds += time.perf_counter() - start
                tokens += int(trainer.tokens[rows].sum())
            if seconds > SECONDS:
                break
        forward = 0.0
        for _ in range(2):  # the first does not count
            start = time.perf_counter()
            logits(
                trainer.model,
                context.task,
                held_out,
                pad_id=trainer.pad_id,
                budget=without_gradients(context.settings.token_budget),
                device=context.device,
            )
            forward = (time.perf_counter() - start) / int(held_out.offsets[-1])
    memory = machine.peak_memory_mb(context.device)
    return _Speed(load=load, trained=seconds / tokens, forward=forward, memory_mb=memory, frozen=kept, states=states)


def _keep(
    trainer: Trainer, whole: Sequence[TokenizedRows], some: Sequence[TokenizedRows]
) -> tuple[Hashable | None, float]:
    """Keep the states of frozen leading layers of `some` rows, as a run does of all rows.

    Returns:
        Which layers they are, and the seconds that the `whole` splits take. None and 0 if a run keeps none.
    """
    frozen, cache = trainer.model.frozen, trainer.cache
    if cache is None or sum(map(trainer.model.states_bytes, whole)) > cache.bytes:
        return None, 0.0
    budget = without_gradients(trainer.settings.token_budget)
    start = time.perf_counter()
    for rows in some:
        trainer.model.keep(rows, cache, trainer.pad_id, budget, trainer.device)
    if not frozen.kept:
        return None, 0.0
    each = (time.perf_counter() - start) / sum(int(rows.offsets[-1]) for rows in some)
    return (frozen.fingerprint, frozen.count), each * sum(int(rows.offsets[-1]) for rows in whole)
