"""A worker: a process that takes items from a queue folder until none is left.

A worker imports torch once and not for every run. On SIGTERM (a cancelled job, a stopped command) it puts its item
back and ends. Shortly before the time limit of a SLURM job, or when the job is preempted, submitit calls `checkpoint`
and queues the job again. The item goes back into the queue, and the next worker continues from its checkpoint. If a
worker dies without notice, the command finds out (`pool`).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from encoderlab.core.errors import InputError
from encoderlab.launch.queue import Queue

PATIENCE = 30.0  # seconds without an item after which a worker ends


def marker(name: str) -> str:
    """Return the line that separates the lines of an item from earlier ones in the log of a worker."""
    return f"encoderlab: takes {name}"


@final
@dataclass(frozen=True, kw_only=True)
class Worker:
    """The function that submitit calls in a new process, with the number of the worker.

    Attributes:
        folder: The folder of the queue.
        threads: The number of threads of torch.
        gpus: The value of CUDA_VISIBLE_DEVICES for each number. Empty: the variable is not changed.
    """

    folder: Path
    threads: int
    gpus: tuple[str, ...] = ()

    def __call__(self, number: int) -> None:
        """Take items from the queue until none is left."""
        if self.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[number % len(self.gpus)]
        queue, name = Queue(self.folder), _name()
        signal.signal(signal.SIGTERM, lambda *_: self._stop(queue, name))
        with queue.present(name, number):
            queue.give_back(name, died=True)  # left by a job that SLURM restarted after its node failed
            self._work(queue, name)

    def _work(self, queue: Queue, name: str) -> None:
        digest, work = "", None
        while (found := queue.take(name, PATIENCE)) is not None:
            ticket, needed, payload = found
            print(marker(ticket.name), flush=True)
            start = time.perf_counter()
            if needed != digest or work is None:
                digest, work = needed, queue.work(needed)
                _use_threads(self.threads)
                gc.freeze()  # as in `training.run.frozen_objects`; needs no unfreeze, because the process ends with it
            try:
                value = work(payload)
            except InputError as error:  # the command shows it to the user
                queue.finish(ticket, {"problems": list(error.lines)})
            else:
                queue.finish(ticket, {"value": value, "seconds": time.perf_counter() - start})

    @staticmethod
    def _stop(queue: Queue, name: str) -> None:
        queue.give_back(name, died=False)
        sys.exit(128 + signal.SIGTERM)

    def checkpoint(self, number: int) -> Any:
        """Put the item back. submitit calls this before it queues the job again."""
        from submitit.helpers import DelayedSubmission

        Queue(self.folder).give_back(_name(), died=False)
        return DelayedSubmission(self, number)


def _name() -> str:
    from submitit import JobEnvironment

    return JobEnvironment().job_id


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
