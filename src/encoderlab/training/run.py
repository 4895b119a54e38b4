"""One run, from its job to its record: take it from its folder, or train, score and record it.

A run is scored from the files that it saved, never from the model in memory.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from encoderlab.core import machine
from encoderlab.core.errors import EncoderlabError, RunFailed
from encoderlab.training import fit
from encoderlab.training.epochs import OnEpoch, OnProgress, Pruned, ignore
from encoderlab.training.run_context import Job, RunContext, folder_of, identify
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import Precision, RunRecord, SplitScores, Status
from encoderlab.training.scoring import score_constant, score_untrained

LARGE = 10**6  # parameters; a larger model is worth the third of a second that it takes to free it at once


def execute(
    context: RunContext, job: Job, on_progress: OnProgress = ignore, *, on_epoch: OnEpoch = ignore, wait: float = 0.0
) -> RunRecord:
    """Do a job, or take its record from its folder.

    Args:
        context: What all runs of the study share.
        job: The run to do.
        on_progress: Called after each micro-batch.
        on_epoch: Called before each epoch; it may raise Pruned.
        wait: How many seconds to wait for another process that does the run.

    Returns:
        The record. A run that fails has the status FAILED and a reason.

    Raises:
        InputError: Another process does the run, and does not end within `wait` seconds.
    """
    number, config = identify(context, job)  # hashes every label, so it is done once
    folder = RunFolder(context.folder / number)
    if (record := context.ranks.on_first(lambda: _stored(folder, job))) is not None:
        return record
    with ExitStack() as stack:

        def held() -> RunRecord | None:
            stack.enter_context(folder.hold(wait))
            if (record := folder.finished(say=True)) is None:
                folder.write_config(config)
                return None
            folder.sweep(record)
            return record.labelled(job.name, job.variant)

        record = context.ranks.on_first(held)
        if record is None:
            record = _do(context, job, folder, _begun(context, job, number, config), on_progress, on_epoch)
    # A trainer and its model hold each other: left to itself, Python keeps the models of a dozen runs.
    # `frozen_objects` makes this search for them short.
    if (record.parameters.total or 0) > LARGE:
        gc.collect()
    return record


def stored(context: RunContext, job: Job) -> RunRecord | None:
    """Return the record of a job that was done before, under the study's labels. None if it is still to be done."""
    return _stored(folder_of(context, job), job)


def _stored(folder: RunFolder, job: Job) -> RunRecord | None:
    record = folder.stored()
    return None if record is None else record.labelled(job.name, job.variant)


def give_up(context: RunContext, job: Job, reason: str) -> RunRecord:
    """Record a run that could not be brought to its end. The next command tries it again."""
    number, config = identify(context, job)
    begun = _begun(context, job, number, config)
    record = replace(begun, status=Status.FAILED, reason=reason, try_again=True)
    record.write(context.folder / number)
    return record


@contextlib.contextmanager
def frozen_objects() -> Iterator[None]:
    """Freeze existing objects, torch's own most of all, so that each run's gc.collect() is a quarter second faster."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _begun(context: RunContext, job: Job, number: str, config: Mapping[str, Any]) -> RunRecord:
    """Return the record of a job before anything is known of it."""
    return RunRecord(
        id=number,
        status=Status.DONE,
        kind=job.kind,
        method=job.name,
        variant=job.variant,
        seed=job.seed,
        learning_rate=job.learning_rate,
        config=config,
        class_names=tuple(context.class_names),
        precision=Precision(compute=config["precision"], why=context.why),
        versions=machine.versions(),
        hardware=machine.hardware(),
    )


def _do(
    context: RunContext,
    job: Job,
    folder: RunFolder,
    record: RunRecord,
    on_progress: OnProgress,
    on_epoch: OnEpoch,
) -> RunRecord:
    """Do a job whose folder this process holds. Complete the record that was begun, and write it."""
    try:
        if job.is_constant:
            record = score_constant(context, record, folder)
        elif job.method is None:
            record = score_untrained(context, job, record, folder, on_progress)
        else:
            record = fit.fit(context, job, record, folder, on_progress, on_epoch)
    except Pruned as stop:
        record = _pruned(context, record, stop)
    except RunFailed as error:
        record = replace(record, status=Status.FAILED, reason=str(error))
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        record = replace(record, status=Status.FAILED, reason=_out_of_memory(context, job), try_again=True)
    return context.ranks.on_first(lambda: folder.finish(record))


def _pruned(context: RunContext, record: RunRecord, stop: Pruned) -> RunRecord:
    best = max((epoch.validation for epoch in stop.history), key=context.task.value)
    scores = SplitScores.of(len(context.validation), best)
    return replace(
        record,
        status=Status.PRUNED,
        reason=str(stop),
        epochs=len(stop.history),
        splits={"validation": scores},
    )


def _out_of_memory(context: RunContext, job: Job) -> str:
    """Return the reason of a run that ran out of memory.

    Raises:
        EncoderlabError: The run has several processes: the others go on, and would wait for this one.
    """
    budget = job.settings.token_budget
    reason = f"out of memory; the same command tries again, or use a smaller token_budget (now {budget}) or max_length"
    if context.ranks.size > 1:
        raise EncoderlabError(f"process {context.ranks.rank} of {context.ranks.size}: {reason}") from None
    return reason
