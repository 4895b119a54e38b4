"""What a whole study takes on this machine, from a few real steps of each variant: `encoderlab check --time`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab import check, config, runs
from encoderlab.config import Study, Variant
from encoderlab.execute import Bench, open_trainer
from encoderlab.jobs import open_bench, planned, run_job, take
from encoderlab.timing import Work
from encoderlab.training.batches import epoch_batches, without_gradients
from encoderlab.training.forward import logits

STEPS, SECONDS = 4, 10.0  # after a first step that does not count, until one of them is reached
FORWARD_ROWS = 64


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One variant: seconds of all its runs, trials included; peak MB of memory, None where the system does not say."""

    label: str
    runs: int
    seconds: float
    memory_mb: float | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The whole study, nothing of it done yet and no run stopped early."""

    costs: list[Cost]
    seconds: float
    memory_mb: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Speed:
    """Seconds to load the model, per token trained and per token of inference; peak MB."""

    load: float
    trained: float
    forward: float
    memory_mb: float | None

    def seconds(self, work: Work) -> float:
        loads = 2 if work.trained else 1 if work.forward else 0  # to train, and to evaluate what was saved
        return loads * self.load + work.trained * self.trained + work.forward * self.forward


def estimate(path: Path, overrides: Sequence[str] = ()) -> Estimate:
    """Times every variant. Raises InputError as `check`."""
    study = config.load(path, overrides)
    splits, class_names, _ = check.prepare(study)
    bench = open_bench(study, splits, class_names)
    speeds = {variant.label: _measure(study, bench, variant) for variant in study.variants}
    work = planned(study, bench)
    plain = min(speeds.values(), key=lambda speed: speed.forward)  # the baselines have nothing inserted
    costs = []
    for label in dict.fromkeys(one.group for one in work):
        mine, speed = [one for one in work if one.group == label], speeds.get(label, plain)
        seconds = sum(speed.seconds(one) for one in mine)
        costs.append(Cost(label=label, runs=len(mine), seconds=seconds, memory_mb=speed.memory_mb))
    known = [cost.memory_mb for cost in costs if cost.memory_mb is not None]
    return Estimate(costs=costs, seconds=sum(cost.seconds for cost in costs), memory_mb=max(known, default=None))


def _measure(study: Study, bench: Bench, variant: Variant) -> _Speed:
    runs.reset_peak_memory()
    job = run_job(study, bench, variant, variant.learning_rates[0], study.seeds[0])
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trainer = open_trainer(bench, job, variant.method, Path(folder), lambda tokens, loss: None)
    load = time.perf_counter() - start
    batches = epoch_batches(len(job.train), bench.settings.batch_size, trainer.seed, 1)
    seconds, tokens = 0.0, 0
    for number in range(1 + STEPS):
        rows = batches[number % len(batches)]
        start = time.perf_counter()
        trainer.step(0, rows)  # ends with the loss on the host, so the time holds a GPU's work
        if number > 0:
            seconds += time.perf_counter() - start
            tokens += int(trainer.tokens[rows].sum())
        if seconds > SECONDS:
            break
    some = take(bench.validation, np.arange(min(FORWARD_ROWS, len(bench.validation))))
    forward = 0.0
    for _ in range(2):  # the first does not count
        start = time.perf_counter()
        logits(
            trainer.model,
            bench.task,
            some,
            pad_id=trainer.pad_id,
            budget=without_gradients(bench.settings.token_budget),
            device=bench.device,
        )
        forward = (time.perf_counter() - start) / int(some.offsets[-1])
    memory = runs.peak_memory_mb(bench.device)
    return _Speed(load=load, trained=seconds / tokens, forward=forward, memory_mb=memory)
