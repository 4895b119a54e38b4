"""One run, from its job to its result.json: train what is not trained yet, evaluate from the files, write the
account."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoderlab.adapters import folder as adapters
from encoderlab.core import files, locks, machine
from encoderlab.core.errors import EncoderlabError, Pruned, RunFailed
from encoderlab.methods.base import Method
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.training.loop import Tick, Trainer, Watch
from encoderlab.training.run_context import Job, RunContext, identify, unwatched
from encoderlab.training.run_folder import INNER, blank, finish, finished, labelled, stored, sweep
from encoderlab.training.scoring import assemble, cache_of, score_constant, score_held_out, score_untrained
from encoderlab.training.trackers import Tracking

LARGE = 10**6  # parameters of a model that is worth the third of a second to free it at once


def execute(bench: RunContext, job: Job, tick: Tick, *, watch: Watch = unwatched, wait: float = 0.0) -> dict[str, Any]:
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
            if (result := finished(folder, say=True)) is None:
                files.write_json(folder / "config.json", config)
            else:
                sweep(folder, result)
            return labelled(job, result)

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


def _do(bench: RunContext, job: Job, folder: Path, tick: Tick, watch: Watch) -> dict[str, Any]:
    result = blank(bench, job, *identify(bench, job))
    try:
        if job.is_constant:
            result |= score_constant(bench, folder)
        elif job.method is None:
            result |= score_untrained(bench, job, folder, tick)
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
    return bench.ranks.on_first(lambda: finish(folder, result))


def open_trainer(
    bench: RunContext, job: Job, method: Method, folder: Path, tick: Tick, watch: Watch = unwatched
) -> Trainer:
    """The base model with the job's method in it, ready to train into `folder`."""
    assert job.learning_rate is not None and job.seed is not None
    encoder = load.load(
        bench.model,
        head=bench.task.head,
        class_names=bench.class_names,
        seed=job.seed,
        tokenizer=bench.tokenizer,
        anew=bench.anew,
    )
    method.inject(encoder, job.seed)
    return Trainer(
        encoder=encoder,
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
        cache=cache_of(bench),
        tick=tick,
        watch=watch,
        ranks=bench.ranks,
        tracking=_tracking(bench, job, method, folder),
    )


def _tracking(bench: RunContext, job: Job, method: Method, folder: Path) -> Tracking | None:
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


def _pruned(bench: RunContext, stop: Pruned) -> dict[str, Any]:
    best = max((entry["validation"] for entry in stop.history), key=bench.task.value)
    return {
        "status": "pruned",
        "reason": str(stop),
        "epochs": len(stop.history),
        "splits": {"validation": {"rows": len(bench.validation), **best}},
    }


def _trained(bench: RunContext, job: Job, method: Method, folder: Path, tick: Tick, watch: Watch) -> dict[str, Any]:
    machine.reset_peak_memory()
    trainer = open_trainer(bench, job, method, folder, tick, watch)
    counts = trainer.encoder.counts()
    try:
        trained = trainer.run()
    except RunFailed:
        if (kept := trainer.best()) is not None:
            bench.ranks.on_first(partial(_save, bench, job, method, trainer.encoder, kept, folder))
        raise
    peak = machine.peak_memory_mb(bench.device)
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
    save = partial(_save, bench, job, method, trainer.encoder, trained.tensors, folder)
    account["adapter_bytes"] = bench.ranks.on_first(save)
    del trainer, save
    loaded = assemble(bench, job, trained.tensors, folder)
    account |= score_held_out(bench, loaded, folder, tick)
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
    bench: RunContext,
    job: Job,
    method: Method,
    encoder: EncoderModel,
    tensors: Mapping[str, Tensor],
    folder: Path,
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
            name: {"origin": bench.origins[name], "rows": len(tokenized)}
            for name, tokenized in (("train", job.train), *bench.held_out)
            if name in bench.origins
        },
        "datasets": list(bench.hub),
    }
    return adapters.save(encoder, method, tensors, folder / "adapter", about)
