"""One run, from its job to its result.json: train what is not trained yet, evaluate from the files, write the
account."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from encoderlab import adapters, damage, evaluate, files, locks, runs
from encoderlab import backbone as backbones
from encoderlab.config import Train
from encoderlab.errors import EncoderlabError, InputError, Pruned, RunFailed
from encoderlab.methods import Method
from encoderlab.tasks import Encoded, Task
from encoderlab.training import Trainer
from encoderlab.training.loop import Tick, Watch
from encoderlab.training.ranks import ALONE, Ranks
from encoderlab.training.track import Tracking
from encoderlab.training.trunk import TrunkCache

log = logging.getLogger(__name__)

INNER = ("checkpoint", "adapter", "predictions")  # folders of a run in which its process alone writes
LARGE = 10**6  # parameters of a model that is worth the third of a second to free it at once

Kind = Literal["run", "trial", "baseline"]


def unwatched(history: list[dict[str, Any]]) -> None:
    """The watch of a run that is not pruned."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all runs of a study share: rows as tokens, the base model's name, fingerprint and tokenizer, precision,
    device, the folder of the runs.

    other_tests: test sets by name that are scored beside `test`.
    strided: the training rows as windows of another stride than the task's, by stride.
    index: per split, int64 (rows,): each row's number in its source.
    origins: per split, the name of the file or of the hub's data set. hub: the hub's data sets among them.
    since: when the command began, seconds, as `time.time`.
    anew: why the last layer of the checkpoint's own head is not used, or "".
    """

    model: str
    fingerprint: str
    tokenizer: Any
    task: Task
    class_names: list[str]
    train: Encoded
    validation: Encoded
    test: Encoded
    index: Mapping[str, np.ndarray]
    settings: Train
    device: torch.device
    dtype: torch.dtype
    why: str
    folder: Path
    ranks: Ranks = ALONE
    track: tuple[str, ...] = ()
    study: str = "encoderlab"
    origins: Mapping[str, str] = field(default_factory=dict)
    hub: tuple[str, ...] = ()
    other_tests: Mapping[str, Encoded] = field(default_factory=dict)
    strided: Mapping[int, Encoded] = field(default_factory=dict)
    since: float = -math.inf
    anew: str = ""

    @property
    def encoded(self) -> dict[str, Encoded]:
        """Every split by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test, **self.other_tests}

    @property
    def held_out(self) -> list[tuple[str, Encoded]]:
        """(name, rows) of every split that is predicted: validation, test, the other test sets."""
        return list(self.encoded.items())[1:]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to do. Without a method it is a baseline: without a seed, too, the answer that is the same for every row;
    with one, the model before training. stride: of the windows in `train`, where it is not the task's. pruning: it may
    end before its last epoch."""

    kind: Kind
    name: str
    variant: str
    method: Method | None
    learning_rate: float | None
    seed: int | None
    settings: Train
    train: Encoded
    stride: int | None = None
    pruning: bool = False

    @property
    def is_constant(self) -> bool:
        return self.method is None and self.seed is None


def resolve(bench: Bench, job: Job) -> dict[str, Any]:
    """The resolved config of a job. All of it but the model's name is hashed into the run's id: the fingerprint
    stands for the model."""
    settings = asdict(job.settings)
    for not_in_result in ("device", "precision", "trunk_cache"):
        settings.pop(not_in_result)
    method = None if job.method is None else asdict(replace(job.method, learning_rate=None))
    data = {
        split: {"fingerprint": encoded.fingerprint, "labels": runs.array_hash(encoded.labels)}
        for split, encoded in (("train", job.train), *bench.held_out)
    }
    for split, _ in bench.held_out:
        data[split]["index"] = runs.array_hash(bench.index[split])  # predictions of two runs are paired by it
    return {
        "kind": job.kind,
        "name": job.name,
        "model": {"name": bench.model, "fingerprint": bench.fingerprint},
        "task": asdict(bench.task),  # type: ignore[call-overload]
        "class_names": bench.class_names,
        "data": data,
        "train": settings,
        "precision": str(bench.dtype).removeprefix("torch."),
        "device": bench.device.type,
        "method": method,
        "learning_rate": job.learning_rate,
        "seed": job.seed,
        **({} if job.stride is None else {"stride": job.stride}),
        **({"pruning": "median"} if job.pruning else {}),
    }


def identify(bench: Bench, job: Job) -> tuple[str, dict[str, Any]]:
    """The run's id and its resolved config, as a JSON file gives it back."""
    config = runs.as_json(resolve(bench, job))
    return runs.run_id({**config, "model": bench.fingerprint}), config


def stored(bench: Bench, job: Job) -> dict[str, Any] | None:
    """The content of result.json where the run is there with all that a study reads of it; None where it is to be done
    (again)."""
    folder = bench.folder / identify(bench, job)[0]
    result = _finished(folder)
    # Left by a process that was killed before its end, or of one that is about to end.
    if result is not None and ((folder / locks.NAME).exists() or (folder / "checkpoint").exists()):
        with contextlib.suppress(InputError), locks.hold(folder, advice="", inner=INNER):
            _sweep(folder, result)
    return _labelled(job, result)


def _labelled(job: Job, result: dict[str, Any] | None) -> dict[str, Any] | None:
    """Labels are the study's."""
    return None if result is None else result | {"method": job.name, "variant": job.variant}


def give_up(bench: Bench, job: Job, reason: str) -> dict[str, Any]:
    """Write the result of a run that could not be brought to an end; the next command tries again."""
    number, config = identify(bench, job)
    result = _blank(bench, job, number, config) | {"status": "failed", "reason": reason, "try_again": True}
    files.write_json(bench.folder / number / "result.json", result)
    return result


def execute(bench: Bench, job: Job, tick: Tick, *, watch: Watch = unwatched, wait: float = 0.0) -> dict[str, Any]:
    """Do a job, or take its result from its folder. Returns result.json's content; a run that fails has status
    "failed". InputError where another process is doing it, and does not end within `wait` seconds."""
    if (result := bench.ranks.on_first(lambda: stored(bench, job))) is not None:
        return result
    number, config = identify(bench, job)
    folder = bench.folder / number
    with ExitStack() as stack:

        def own() -> dict[str, Any] | None:
            advice = "it does this run: the same command goes on when that has ended"
            stack.enter_context(locks.hold(folder, advice=advice, inner=INNER, wait=wait))
            if (result := _finished(folder, say=True)) is None:
                files.write_json(folder / "config.json", config)
            else:
                _sweep(folder, result)
            return _labelled(job, result)

        result = bench.ranks.on_first(own) or _do(bench, job, folder, tick, watch)
    # A trainer and its model hold each other: left to itself, Python keeps the models of a dozen runs. `settled` makes
    # the look for them short.
    if (result["parameters"]["total"] or 0) > LARGE:
        gc.collect()
    return result


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """What is there by now, torch's and transformers' own objects most of all, is not looked through again for models
    that nobody holds: that takes a quarter of a second a run."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _do(bench: Bench, job: Job, folder: Path, tick: Tick, watch: Watch) -> dict[str, Any]:
    result = _blank(bench, job, *identify(bench, job))
    try:
        if job.is_constant:
            result |= _constant(bench, folder)
        elif job.method is None:
            result |= _untrained(bench, job, folder, tick)
        else:
            result |= _trained(bench, job, job.method, folder, tick, watch)
    except Pruned as stop:
        result |= _pruned(bench, stop)
    except RunFailed as error:
        result |= {"status": "failed", "reason": str(error), "splits": {}}
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        budget = job.settings.token_budget
        reason = (
            f"out of memory; the same command tries again, or use a smaller token_budget (now {budget}) or max_length"
        )
        if bench.ranks.size > 1:  # the others go on, and would wait for this one
            raise EncoderlabError(f"process {bench.ranks.rank} of {bench.ranks.size}: {reason}") from None
        result |= {"status": "failed", "reason": reason, "splits": {}, "try_again": True}
    return bench.ranks.on_first(lambda: _finish(folder, result))


def _finish(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    result["predictions"] = damage.fingerprints(folder, result["splits"])
    files.write_json(folder / "result.json", result)
    _sweep(folder, result)
    return result


def _sweep(folder: Path, result: dict[str, Any]) -> None:
    """Remove what only a run that goes on has a use for."""
    if not result.get("try_again"):
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def _blank(bench: Bench, job: Job, number: str, config: dict[str, Any]) -> dict[str, Any]:
    """A result before anything is known of it."""
    return {
        "id": number,
        "status": "done",
        "reason": None,
        "kind": job.kind,
        "method": job.name,
        "variant": job.variant,
        "seed": job.seed,
        "learning_rate": job.learning_rate,
        "config": config,
        "class_names": bench.class_names,
        "splits": {},
        "parameters": {"adapter": None, "head": None, "total": None},
        "train_seconds": 0.0,
        "epochs": 0,
        "best_epoch": None,
        "steps": 0,
        "peak_memory_mb": None,
        "inference_ms_per_example": None,
        "adapter_bytes": None,
        "precision": {"compute": config["precision"], "why": bench.why},
        "warnings": [],
        "versions": runs.versions(),
        "hardware": runs.hardware(),
    }


def _finished(folder: Path, say: bool = False) -> dict[str, Any] | None:
    """The result of a run that is there with all that a study reads of it; None where it is to be done (again).
    say: why a run that was done is to be done again."""
    try:
        result = files.read_json(folder / "result.json")
        problem = damage.problem(folder, result)
        if problem is None:
            return None if result.get("try_again") else result
    except (InputError, KeyError, TypeError, AttributeError):
        problem = "result.json is damaged" if (folder / "result.json").exists() else None
    if say and problem is not None:
        log.warning("%s: %s; this run is done again", folder, problem)
    return None


def open_trainer(bench: Bench, job: Job, method: Method, folder: Path, tick: Tick, watch: Watch = unwatched) -> Trainer:
    """The base model with the job's method in it, ready to train into `folder`."""
    assert job.learning_rate is not None and job.seed is not None
    backbone = backbones.load(
        bench.model,
        head=bench.task.head,
        class_names=bench.class_names,
        seed=job.seed,
        tokenizer=bench.tokenizer,
        anew=bench.anew,
    )
    method.inject(backbone, job.seed)
    return Trainer(
        backbone=backbone,
        method=method,
        task=bench.task,
        train=job.train,
        validation=bench.validation,
        class_names=bench.class_names,
        settings=job.settings,
        learning_rate=job.learning_rate,
        seed=job.seed,
        dtype=bench.dtype,
        device=bench.device,
        folder=folder,
        cache=_cache(bench),
        tick=tick,
        watch=watch,
        ranks=bench.ranks,
        tracking=_tracking(bench, job, method, folder),
    )


def _tracking(bench: Bench, job: Job, method: Method, folder: Path) -> Tracking | None:
    if not bench.track:
        return None
    trial = f" trial {job.learning_rate:g}" if job.kind == "trial" else ""
    settings = {f"train.{key}": value for key, value in asdict(job.settings).items()}
    settings |= {f"method.{key}": value for key, value in asdict(method).items() if key != "learning_rate"}
    about = {"model": Path(bench.model).name, "learning_rate": job.learning_rate, "seed": job.seed, **settings}
    return Tracking(
        names=bench.track,
        project=bench.study,
        title=f"{job.variant} seed {job.seed}{trial}",
        number=folder.name,
        folder=bench.folder.parent,
        about={k: v if isinstance(v, bool | str | float | int) else str(v) for k, v in about.items()},
    )


def _cache(bench: Bench) -> TrunkCache:
    """Beside the runs, which share it."""
    size = int(bench.settings.trunk_cache * 1e9)
    return TrunkCache(folder=bench.folder.parent / "trunk", bytes=size, since=bench.since)


def _pruned(bench: Bench, stop: Pruned) -> dict[str, Any]:
    best = max((entry["validation"] for entry in stop.history), key=bench.task.value)
    return {
        "status": "pruned",
        "reason": str(stop),
        "epochs": len(stop.history),
        "splits": {"validation": {"rows": len(bench.validation), **best}},
    }


def _trained(bench: Bench, job: Job, method: Method, folder: Path, tick: Tick, watch: Watch) -> dict[str, Any]:
    runs.reset_peak_memory()
    trainer = open_trainer(bench, job, method, folder, tick, watch)
    counts = trainer.backbone.counts()
    try:
        trained = trainer.run()
    except RunFailed:
        if (kept := trainer.best()) is not None:
            bench.ranks.on_first(partial(_save, bench, job, method, trainer.backbone, kept, folder))
        raise
    peak = runs.peak_memory_mb(bench.device)
    account = {
        "parameters": counts,
        "train_seconds": trained.seconds,
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "steps": trained.steps,
        "peak_memory_mb": peak,
        "warnings": [*trained.warnings, *_over_fitting(trained.history)],
    }
    if job.kind == "trial":
        best = trained.history[trained.best_epoch - 1]["validation"]
        return account | {"splits": {"validation": {"rows": len(bench.validation), **best}}}
    save = partial(_save, bench, job, method, trainer.backbone, trained.tensors, folder)
    account["adapter_bytes"] = bench.ranks.on_first(save)
    del trainer, save
    loaded = _assemble(bench, job, trained.tensors, folder)
    account |= _evaluate(bench, loaded, folder, tick)
    if bench.ranks.first:
        adapters.write_card(folder / "adapter", account)
    return account


def _over_fitting(history: list[dict[str, Any]]) -> list[str]:
    """Says it where the training loss still falls while that of validation rises."""
    losses = [entry["validation"]["loss"] for entry in history]
    best, last = min(range(len(losses)), key=losses.__getitem__), len(losses) - 1
    if losses[last] <= 1.02 * losses[best] or history[last]["train_loss"] >= history[best]["train_loss"]:
        return []
    return [
        f"over-fitting: from epoch {best + 1} to {last + 1} the training loss fell from "
        f"{history[best]['train_loss']:.3f} to {history[last]['train_loss']:.3f}, that of validation rose from "
        f"{losses[best]:.3f} to {losses[last]:.3f}; fewer epochs, a lower rank or rate, or more text would help"
    ]


def _save(
    bench: Bench, job: Job, method: Method, backbone: backbones.Backbone, tensors: Mapping[str, Tensor], folder: Path
) -> int:
    about = {
        "head": bench.task.head,
        "task": asdict(bench.task),  # type: ignore[call-overload]
        "class_names": bench.class_names,
        "max_length": job.settings.max_length,
        "seed": job.seed,
        "learning_rate": job.learning_rate,
        "precision": str(bench.dtype).removeprefix("torch."),
        "data": {
            name: {"origin": bench.origins[name], "rows": len(encoded)}
            for name, encoded in (("train", job.train), *bench.held_out)
            if name in bench.origins
        },
        "datasets": list(bench.hub),
    }
    return adapters.save(backbone, method, tensors, folder / "adapter", about)


def _assemble(bench: Bench, job: Job, tensors: Mapping[str, Tensor], folder: Path) -> evaluate.Loaded:
    assert job.seed is not None
    return evaluate.assemble(
        model=bench.model,
        task=bench.task,
        method=job.method,
        class_names=bench.class_names,
        seed=job.seed,
        train=asdict(job.settings),
        read=lambda backbone: tensors,
        origin=str(folder),
        device=bench.device,
        dtype=bench.dtype,
        tokenizer=bench.tokenizer,
        anew=bench.anew,
    )


def _untrained(bench: Bench, job: Job, folder: Path, tick: Tick) -> dict[str, Any]:
    runs.reset_peak_memory()
    loaded = _assemble(bench, job, {}, folder)
    total = sum(p.numel() for p in loaded.backbone.model.parameters())
    account = {"parameters": {"adapter": 0, "head": 0, "total": total}}
    account |= _evaluate(bench, loaded, folder, tick)
    return account | {"peak_memory_mb": runs.peak_memory_mb(bench.device)}


def _constant(bench: Bench, folder: Path) -> dict[str, Any]:
    splits = {
        name: _score(bench, name, encoded, bench.task.constant(bench.train, encoded, bench.class_names), folder)
        for name, encoded in bench.held_out
    }
    return {"splits": splits, "parameters": {"adapter": 0, "head": 0, "total": 0}}


def _evaluate(bench: Bench, loaded: evaluate.Loaded, folder: Path, tick: Tick) -> dict[str, Any]:
    splits, milliseconds = {}, 0.0
    for name, encoded in bench.held_out:
        start = time.perf_counter()
        scores = evaluate.logits(loaded, encoded, lambda tokens: tick(tokens, None), bench.ranks, _cache(bench))
        if name == "test":
            seconds = (time.perf_counter() - start) / len(encoded)
            whole = evaluate.seconds_without_cache(loaded, encoded)
            milliseconds = 1000 * (seconds if whole is None else whole)
        splits[name] = _score(bench, name, encoded, scores, folder)
    return {"splits": splits, "inference_ms_per_example": milliseconds}


def _score(bench: Bench, name: str, encoded: Encoded, scores: np.ndarray, folder: Path) -> dict[str, Any]:
    if not np.isfinite(scores[encoded.present(scores.shape[1])]).all():
        raise RunFailed(f"the {name} logits are not finite")
    if bench.ranks.first:
        path = folder / "predictions" / f"{name}.safetensors"
        runs.write_predictions(path, scores, encoded.labels, bench.index[name])
    return {"rows": len(encoded), **bench.task.metrics(scores, encoded.labels, bench.class_names)}
