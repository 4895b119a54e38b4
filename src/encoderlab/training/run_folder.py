"""The folder of a run: is it finished, is it whole, what becomes of its files."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file as save_numpy

from encoderlab.core import files, locks, machine
from encoderlab.core.errors import InputError
from encoderlab.core.files import write_atomically
from encoderlab.training import integrity
from encoderlab.training.run_context import Job, RunContext, identify

log = logging.getLogger(__name__)

INNER = ("checkpoint", "adapter", "predictions")  # folders of a run in which its process alone writes


def stored(bench: RunContext, job: Job) -> dict[str, Any] | None:
    """The content of result.json where the run is there with all that a study reads of it; None where it is to be done
    (again)."""
    folder = bench.folder / identify(bench, job)[0]
    result = finished(folder)
    # Left by a process that was killed before its end, or of one that is about to end.
    if result is not None and ((folder / locks.NAME).exists() or (folder / "checkpoint").exists()):
        with contextlib.suppress(InputError), locks.hold(folder, advice="", inner=INNER):
            sweep(folder, result)
    return labelled(job, result)


def labelled(job: Job, result: dict[str, Any] | None) -> dict[str, Any] | None:
    """Labels are the study's."""
    return None if result is None else result | {"method": job.name, "variant": job.variant}


def give_up(bench: RunContext, job: Job, reason: str) -> dict[str, Any]:
    """Write the result of a run that could not be brought to an end; the next command tries again."""
    number, config = identify(bench, job)
    result = blank(bench, job, number, config) | {"status": "failed", "reason": reason, "try_again": True}
    files.write_json(bench.folder / number / "result.json", result)
    return result


def finish(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    result["predictions"] = integrity.fingerprints(folder, result["splits"])
    files.write_json(folder / "result.json", result)
    sweep(folder, result)
    return result


def sweep(folder: Path, result: dict[str, Any]) -> None:
    """Remove what only a run that goes on has a use for."""
    if not result.get("try_again"):
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def blank(bench: RunContext, job: Job, number: str, config: dict[str, Any]) -> dict[str, Any]:
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
        "versions": machine.versions(),
        "hardware": machine.hardware(),
    }


def finished(folder: Path, say: bool = False) -> dict[str, Any] | None:
    """The result of a run that is there with all that a study reads of it; None where it is to be done (again).
    say: why a run that was done is to be done again."""
    try:
        result = files.read_json(folder / "result.json")
        problem = integrity.problem(folder, result)
        if problem is None:
            return None if result.get("try_again") else result
    except (InputError, KeyError, TypeError, AttributeError):
        problem = "result.json is damaged" if (folder / "result.json").exists() else None
    if say and problem is not None:
        log.warning("%s: %s; this run is done again", folder, problem)
    return None


def write_predictions(path: Path, logits: np.ndarray, labels: np.ndarray, index: np.ndarray) -> None:
    """logits float32 (n, ...), or float64 where the task's answers need it (`Regression`); labels (n, ...) as the task
    has them; index int64 (n,): the row's number in its source."""
    kind = np.float64 if logits.dtype == np.float64 else np.float32
    tensors = {"logits": np.ascontiguousarray(logits, kind), "labels": labels, "index": index}
    write_atomically(path, lambda beside: save_numpy(tensors, beside))
