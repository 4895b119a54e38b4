"""Train the method of one run, save its adapter, and score what was saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from encoderlab.adapters import folder as adapters
from encoderlab.core import machine
from encoderlab.core.errors import RunFailed
from encoderlab.methods.base import Method
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.training import scoring
from encoderlab.training.epochs import OnEpoch, OnProgress, ignore, over_fitting
from encoderlab.training.loop import Trainer
from encoderlab.training.run_context import Job, RunContext
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import Kind, ParameterCounts, RunRecord, SplitScores
from encoderlab.training.trackers import Tracking


def fit(
    context: RunContext,
    job: Job,
    record: RunRecord,
    folder: RunFolder,
    on_progress: OnProgress,
    on_epoch: OnEpoch = ignore,
) -> RunRecord:
    """Train the job, save the adapter and score it; of a trial, only train it. Return the completed record.

    Raises:
        RunFailed: The loss or a logit is not finite. The best epoch so far is saved.
        Pruned: `on_epoch` ended the trial.
    """
    assert job.method is not None
    machine.reset_peak_memory()
    trainer = open_trainer(context, job, job.method, folder.path, on_progress, on_epoch)
    counts = trainer.encoder.counts()
    try:
        trained = trainer.run()
    except RunFailed:
        if (kept := trainer.best()) is not None:
            context.ranks.on_first(partial(_save, context, job, job.method, trainer.encoder, kept, folder))
        raise
    record = replace(
        record,
        parameters=ParameterCounts(**counts),
        train_seconds=trained.seconds,
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        steps=trained.steps,
        peak_memory_mb=machine.peak_memory_mb(context.device),
        warnings=(*trained.warnings, *over_fitting(trained.history)),
    )
    if job.kind is Kind.TRIAL:
        best = trained.history[trained.best_epoch - 1].validation
        return replace(record, splits={"validation": SplitScores.of(len(context.validation), best)})
    save = partial(_save, context, job, job.method, trainer.encoder, trained.tensors, folder)
    record = replace(record, adapter_bytes=context.ranks.on_first(save))
    del trainer, save  # frees the trained model before the saved one is loaded
    loaded = scoring.assemble(context, job, trained.tensors, folder)
    record = scoring.score_held_out(context, loaded, record, folder, on_progress)
    if context.ranks.first:
        adapters.write_card(folder.adapter, record)
    return record


def open_trainer(
    context: RunContext,
    job: Job,
    method: Method,
    folder: Path,
    on_progress: OnProgress = ignore,
    on_epoch: OnEpoch = ignore,
) -> Trainer:
    """Load the base model, insert the job's method, and return it ready to train into `folder`."""
    assert job.learning_rate is not None and job.seed is not None
    encoder = load.load(
        context.model,
        head=context.task.head,
        class_names=context.class_names,
        seed=job.seed,
        tokenizer=context.tokenizer,
        anew=context.anew,
    )
    method.inject(encoder, job.seed)
    return Trainer(
        encoder=encoder,
        method=method,
        task=context.task,
        train=job.train,
        validation=context.validation,
        class_names=context.class_names,
        settings=job.settings,
        learning_rate=job.learning_rate,
        seed=job.seed,
        dtype=context.dtype,
        device=context.device,
        folder=folder,
        cache=scoring.cache_of(context),
        on_progress=on_progress,
        on_epoch=on_epoch,
        ranks=context.ranks,
        tracking=_tracking(context, job, method, folder),
    )


def _tracking(context: RunContext, job: Job, method: Method, folder: Path) -> Tracking | None:
    if not context.track:
        return None
    trial = f" trial {job.learning_rate:g}" if job.kind is Kind.TRIAL else ""
    settings = {f"train.{key}": value for key, value in asdict(job.settings).items()}
    settings |= {f"method.{key}": value for key, value in asdict(method).items() if key != "learning_rate"}
    about = {"model": Path(context.model).name, "learning_rate": job.learning_rate, "seed": job.seed, **settings}
    return Tracking(
        names=context.track,
        project=context.study,
        title=f"{job.variant} seed {job.seed}{trial}",
        number=folder.name,
        folder=context.folder.parent,
        about={k: v if isinstance(v, bool | str | float | int) else str(v) for k, v in about.items()},
    )


def _save(
    context: RunContext,
    job: Job,
    method: Method,
    encoder: EncoderModel,
    tensors: Mapping[str, Tensor],
    folder: RunFolder,
) -> int:
    """Write the adapter folder. Return the bytes of its tensor file."""
    about = {
        "head": context.task.head,
        "task": asdict(context.task),  # type: ignore[call-overload]
        "class_names": context.class_names,
        "max_length": job.settings.max_length,
        "seed": job.seed,
        "learning_rate": job.learning_rate,
        "precision": str(context.dtype).removeprefix("torch."),
        "data": {
            name: {"origin": context.origins[name], "rows": len(rows)}
            for name, rows in (("train", job.train), *context.held_out)
            if name in context.origins
        },
        "datasets": list(context.hub),
    }
    return adapters.save(encoder, method, tensors, folder.adapter, about)
