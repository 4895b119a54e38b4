"""Score a trained run, or a baseline, on the held-out splits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from encoderlab.core import machine
from encoderlab.core.errors import RunFailed
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine import tuned_model
from encoderlab.engine.state_cache import TrunkCache
from encoderlab.training import run_folder
from encoderlab.training.loop import Tick
from encoderlab.training.run_context import Job, RunContext


def cache_of(bench: RunContext) -> TrunkCache:
    """Beside the runs, which share it."""
    size = int(bench.settings.trunk_cache * 1e9)
    return TrunkCache(folder=bench.folder.parent / "trunk", bytes=size, since=bench.since)


def assemble(bench: RunContext, job: Job, tensors: Mapping[str, Tensor], folder: Path) -> tuned_model.Loaded:
    assert job.seed is not None
    return tuned_model.assemble(
        model=bench.model,
        task=bench.task,
        method=job.method,
        class_names=bench.class_names,
        seed=job.seed,
        train=asdict(job.settings),
        read=lambda encoder: tensors,
        origin=str(folder),
        device=bench.device,
        dtype=bench.dtype,
        tokenizer=bench.tokenizer,
        anew=bench.anew,
    )


def score_untrained(bench: RunContext, job: Job, folder: Path, tick: Tick) -> dict[str, Any]:
    machine.reset_peak_memory()
    loaded = assemble(bench, job, {}, folder)
    total = sum(p.numel() for p in loaded.encoder.model.parameters())
    account = {"parameters": {"adapter": 0, "head": 0, "total": total}}
    account |= score_held_out(bench, loaded, folder, tick)
    return account | {"peak_memory_mb": machine.peak_memory_mb(bench.device)}


def score_constant(bench: RunContext, folder: Path) -> dict[str, Any]:
    splits = {
        name: _score(bench, name, tokenized, bench.task.constant(bench.train, tokenized, bench.class_names), folder)
        for name, tokenized in bench.held_out
    }
    return {"splits": splits, "parameters": {"adapter": 0, "head": 0, "total": 0}}


def score_held_out(bench: RunContext, loaded: tuned_model.Loaded, folder: Path, tick: Tick) -> dict[str, Any]:
    splits, milliseconds = {}, 0.0
    for name, tokenized in bench.held_out:
        start = time.perf_counter()
        scores = tuned_model.logits(loaded, tokenized, lambda tokens: tick(tokens, None), bench.ranks, cache_of(bench))
        if name == "test":
            seconds = (time.perf_counter() - start) / len(tokenized)
            whole = tuned_model.seconds_without_cache(loaded, tokenized)
            milliseconds = 1000 * (seconds if whole is None else whole)
        splits[name] = _score(bench, name, tokenized, scores, folder)
    return {"splits": splits, "inference_ms_per_example": milliseconds}


def _score(bench: RunContext, name: str, tokenized: TokenizedRows, scores: np.ndarray, folder: Path) -> dict[str, Any]:
    if not np.isfinite(scores[tokenized.present(scores.shape[1])]).all():
        raise RunFailed(f"the {name} logits are not finite")
    if bench.ranks.first:
        path = folder / "predictions" / f"{name}.safetensors"
        run_folder.write_predictions(path, scores, tokenized.labels, bench.index[name])
    return {"rows": len(tokenized), **bench.task.metrics(scores, tokenized.labels, bench.class_names)}
