"""Score a trained run, or a baseline, on the held-out splits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
from torch import Tensor

from encoderlab.core import machine
from encoderlab.core.errors import RunFailed
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine import tuned_model
from encoderlab.engine.state_cache import StateCache
from encoderlab.training.epochs import OnProgress
from encoderlab.training.run_context import Job, RunContext
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import ParameterCounts, RunRecord, SplitScores


def cache_of(context: RunContext) -> StateCache:
    """Return the cache of frozen layers' states, which all runs of the study share."""
    size = int(context.settings.trunk_cache * 1e9)
    return StateCache(folder=context.folder.parent / "trunk", bytes=size, since=context.since)


def assemble(context: RunContext, job: Job, tensors: Mapping[str, Tensor], folder: RunFolder) -> tuned_model.Loaded:
    """Return the model of a job, with these tensors in it, ready for inference."""
    assert job.seed is not None
    return tuned_model.assemble(
        model=context.model,
        task=context.task,
        method=job.method,
        class_names=context.class_names,
        seed=job.seed,
        train=asdict(job.settings),
        read=lambda encoder: tensors,
        origin=str(folder.path),
        device=context.device,
        dtype=context.dtype,
        tokenizer=context.tokenizer,
        anew=context.anew,
    )


def score_untrained(
    context: RunContext, job: Job, record: RunRecord, folder: RunFolder, on_progress: OnProgress
) -> RunRecord:
    """Complete the record of a baseline that is the model before training."""
    machine.reset_peak_memory()
    loaded = assemble(context, job, {}, folder)
    total = sum(p.numel() for p in loaded.encoder.model.parameters())
    record = score_held_out(context, loaded, record, folder, on_progress)
    return replace(
        record,
        parameters=ParameterCounts(adapter=0, head=0, total=total),
        peak_memory_mb=machine.peak_memory_mb(context.device),
    )


def score_constant(context: RunContext, record: RunRecord, folder: RunFolder) -> RunRecord:
    """Complete the record of the baseline that gives every row the same answer."""
    splits = {
        name: score_split(context, name, rows, context.task.constant(context.train, rows, context.class_names), folder)
        for name, rows in context.held_out
    }
    return replace(record, splits=splits, parameters=ParameterCounts(adapter=0, head=0, total=0))


def score_held_out(
    context: RunContext, loaded: tuned_model.Loaded, record: RunRecord, folder: RunFolder, on_progress: OnProgress
) -> RunRecord:
    """Return the record with the scores on every held-out split, and the time of inference on `test`."""
    splits, milliseconds = {}, 0.0
    cache = cache_of(context)
    for name, rows in context.held_out:
        start = time.perf_counter()
        scores = tuned_model.logits(loaded, rows, lambda tokens: on_progress(tokens, None), context.ranks, cache)
        if name == "test":
            seconds = (time.perf_counter() - start) / len(rows)
            whole = tuned_model.seconds_without_cache(loaded, rows)
            milliseconds = 1000 * (seconds if whole is None else whole)
        splits[name] = score_split(context, name, rows, scores, folder)
    return replace(record, splits=splits, inference_ms_per_example=milliseconds)


def score_split(
    context: RunContext, name: str, rows: TokenizedRows, scores: np.ndarray, folder: RunFolder
) -> SplitScores:
    """Score the logits of one split, and write them as its predictions.

    Raises:
        RunFailed: A logit is not finite.
    """
    if not np.isfinite(scores[rows.present(scores.shape[1])]).all():
        raise RunFailed(f"the {name} logits are not finite")
    if context.ranks.first:
        folder.write_predictions(name, scores, rows.labels, context.index[name])
    return SplitScores.of(len(rows), context.task.metrics(scores, rows.labels, context.class_names))
