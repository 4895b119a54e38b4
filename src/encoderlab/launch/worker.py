"""A worker: one process that does pieces from a queue folder until there is none left, so that the import of torch is
paid once and not for every run.

SIGTERM (a job is cancelled, a command stopped) puts the piece back and ends the worker. Shortly before the time of a
SLURM job is over, or when it is preempted, submitit calls `checkpoint` and queues the job again: the piece goes back,
and whoever takes it goes on from its checkpoint. A worker that just dies is noticed by the command (`pool`).
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

PATIENCE = 30.0  # seconds without a piece after which a worker ends


def marker(name: str) -> str:
    """The line of a worker's log from which on a piece's lines stand."""
    return f"encoderlab: takes {name}"


@final
@dataclass(frozen=True, kw_only=True)
class Worker:
    """Called by submitit in the new process with its number. gpus: CUDA_VISIBLE_DEVICES of each number; empty: as it
    is. threads: of torch."""

    folder: Path
    threads: int
    gpus: tuple[str, ...] = ()

    def __call__(self, number: int) -> None:
        if self.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[number % len(self.gpus)]
        queue, name = Queue(self.folder), _name()
        signal.signal(signal.SIGTERM, lambda *_: self._stop(queue, name))
        with queue.present(name, number):
            queue.give_back(name, died=True)  # of a job that SLURM started again after its node failed
            self._work(queue, name)

    def _work(self, queue: Queue, name: str) -> None:
        digest, work = "", None
        while (found := queue.take(name, PATIENCE)) is not None:
            ticket, needed, ask = found
            print(marker(ticket.name), flush=True)
            start = time.perf_counter()
            if needed != digest or work is None:
                digest, work = needed, queue.work(needed)
                _use_threads(self.threads)
                gc.freeze()  # as `training.run.frozen_objects`; a worker ends with its work
            try:
                value = work(ask)
            except InputError as error:  # what a user can mend: the command says it
                queue.finish(ticket, {"problems": list(error.lines)})
            else:
                queue.finish(ticket, {"value": value, "seconds": time.perf_counter() - start})

    @staticmethod
    def _stop(queue: Queue, name: str) -> None:
        queue.give_back(name, died=False)
        sys.exit(128 + signal.SIGTERM)

    def checkpoint(self, number: int) -> Any:
        """Called by submitit before it queues the job again."""
        from submitit.helpers import DelayedSubmission

        Queue(self.folder).give_back(_name(), died=False)
        return DelayedSubmission(self, number)


def _name() -> str:
    from submitit import JobEnvironment

    return JobEnvironment().job_id


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
