"""Create the executor that the [launch] section of a study names."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from encoderlab.core.errors import InputError, Problem
from encoderlab.launch.executor import Executor, Work
from encoderlab.launch.pool import Pool
from encoderlab.launch.queue import Queue
from encoderlab.launch.settings import Launch
from encoderlab.launch.worker_backends import Processes, Slurm, WorkerBackend

SLURM_WORKERS = 4


def problems(settings: Launch) -> list[Problem]:
    """List what this machine lacks for the [launch] section."""
    if settings.on == "here":
        return []
    found = []
    if os.name != "posix":
        found.append(Problem("launch.on", f'"{settings.on}" needs Linux or macOS', 'use "here"'))
    if find_spec("submitit") is None:
        found.append(Problem("launch.on", f"\"{settings.on}\" needs submitit: pip install 'encoderlab[slurm]'"))
    if settings.on == "slurm":
        missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
        if missing:
            message = f'"slurm", but this machine has no {", ".join(missing)} on its PATH'
            hint = 'start the command on a login node of the cluster, or use "processes"'
            found.append(Problem("launch.on", message, hint))
    return found


def open_executor(settings: Launch, folder: Path, work: Work, *, known: Work, cuda: bool) -> Executor:
    """Create an executor with worker processes or SLURM jobs.

    Args:
        settings: the [launch] section; its `on` is not "here".
        folder: the folder of the queue, which every worker must see.
        work: the function that does a work item.
        known: returns the value of an item that was done before, or None.
        cuda: whether the work needs a GPU.

    Raises:
        InputError: the machine lacks something that the section needs.
    """
    if lines := problems(settings):
        raise InputError(*lines)
    queue = Queue(folder.absolute())
    gpus = _gpus() if cuda and settings.on == "processes" else ()
    workers, threads = shares(settings, len(gpus))
    backend: WorkerBackend
    if settings.on == "processes":
        backend = Processes(queue, threads, gpus)
    else:
        backend = Slurm(queue, threads, _options(settings))
    return Pool(work, known, queue, backend, workers)


def shares(settings: Launch, gpus: int = 0) -> tuple[int, int]:
    """Return the number of workers and the number of threads of each, for a number of GPUs."""
    if settings.on == "slurm":
        return settings.workers or SLURM_WORKERS, settings.threads or 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = settings.workers or gpus or max(1, cores // (settings.threads or 1))
    return workers, settings.threads or max(1, cores // workers)


def _gpus() -> tuple[str, ...]:
    """Return the value of CUDA_VISIBLE_DEVICES for each GPU."""
    import torch

    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return tuple(visible.split(","))
    return tuple(map(str, range(torch.cuda.device_count())))


def _options(settings: Launch) -> dict[str, str | int | float]:
    """Return the options of SLURM under the names of submitit's SlurmExecutor."""
    given = {key: getattr(settings, key) for key in ("partition", "account", "qos", "gres", "constraint", "time")}
    given["mem_gb"] = settings.memory
    return {key: value for key, value in given.items() if value is not None}
