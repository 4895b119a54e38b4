"""Start the workers of a queue as processes of this machine or as SLURM jobs.

submitit starts both. They can outlive the command that started them.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from encoderlab.core.errors import EncoderlabError
from encoderlab.launch.queue import Queue
from encoderlab.launch.worker import Worker

YEAR = 525_600  # minutes; submitit's local executor needs a time limit
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CONTROLLER_AWAY = ("Unable to contact slurm controller", "Socket timed out", "Connection refused", "in standby mode")


class WorkerBackend(Protocol):
    """Starts workers and knows which ones live.

    Attributes:
        interval: Seconds between two calls of `alive`.
    """

    interval: float

    def start(self, count: int) -> bool:
        """Start workers.

        Returns:
            Whether they were started; False if it is not possible at the moment.

        Raises:
            EncoderlabError: the system refuses to start them.
        """
        ...

    def alive(self) -> set[str] | None:
        """Return the names of the workers that live or wait to start; None if unknown at the moment."""
        ...

    def log(self, worker: str) -> Path:
        """Return the log file of a worker."""
        ...

    def interrupt(self) -> str:
        """Handle a stop of the command, and return what happens to the workers, for the user."""
        ...

    def dismiss(self) -> None:
        """Cancel the workers that wait to start, because no work is left."""
        ...


class Processes:
    """Workers as processes of this machine, by submitit's local executor.

    Args:
        queue: the queue of the workers.
        threads: the number of threads of each worker.
        gpus: the values of CUDA_VISIBLE_DEVICES that the workers share; empty without GPUs.
    """

    interval = 0.2

    def __init__(self, queue: Queue, threads: int, gpus: tuple[str, ...]) -> None:
        self.queue, self.threads = queue, threads
        self.worker = Worker(folder=queue.folder, threads=threads, gpus=gpus)
        self.jobs: dict[int, Any] = {}  # by the number of the worker, which selects its GPU

    def start(self, count: int) -> bool:
        """Start worker processes."""
        from submitit import LocalExecutor

        executor = LocalExecutor(self.queue.folder / "jobs")
        executor.update_parameters(timeout_min=YEAR, stderr_to_stdout=True)
        taken = {*self.jobs, *(number for _, number, _ in self.queue.living().values())}
        free = (number for number in itertools.count() if number not in taken)
        with _environment(self.threads), _deaf_to_ctrl_c():
            for number in itertools.islice(free, count):
                self.jobs[number] = executor.submit(self.worker, number)
        return True

    def alive(self) -> set[str]:
        """Return the names of the workers that live or wait to start."""
        self.jobs = {number: job for number, job in self.jobs.items() if not job.done()}
        return {job.job_id for job in self.jobs.values()} | set(self.queue.alive())

    def log(self, worker: str) -> Path:
        """Return the log file of a worker."""
        return self.queue.folder / "jobs" / f"{worker}_0_log.out"

    def interrupt(self) -> str:
        """Stop the worker processes."""
        living = [process for process, _, host in self.queue.living().values() if host == socket.gethostname()]
        for process in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        for job in self.jobs.values():  # processes that have not registered yet
            with contextlib.suppress(ProcessLookupError):
                job._process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 30
        while self.alive() and time.monotonic() < end:
            time.sleep(0.05)
        return f"{len(living)} workers stopped"

    def dismiss(self) -> None:
        """Do nothing: processes start at once, so none waits."""


class Slurm:
    """Workers as the jobs of a SLURM job array.

    Args:
        queue: the queue of the workers.
        threads: the number of threads, and of CPUs, of each job.
        options: parameters of submitit's SlurmExecutor.
    """

    interval = 3.0

    def __init__(self, queue: Queue, threads: int, options: Mapping[str, str | int | float]) -> None:
        self.queue, self.threads = queue, threads
        self.name = "encoderlab-" + hashlib.sha256(str(queue.folder.absolute()).encode()).hexdigest()[:10]
        self.worker = Worker(folder=queue.folder, threads=threads)
        self.options = {"cpus_per_task": threads, **options}
        self.mine = [f"--name={self.name}", f"--user={getpass.getuser()}"]
        self.answers = True

    def start(self, count: int) -> bool:
        """Submit a job array. Returns False while the SLURM controller does not answer."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        executor = SlurmExecutor(self.queue.folder / "jobs", max_num_timeout=1000)
        executor.update_parameters(
            job_name=self.name, stderr_to_stdout=True, array_parallelism=count, **self.options,
            additional_parameters={"requeue": True},
        )  # fmt: skip
        try:
            with _environment(self.threads):
                executor.map_array(self.worker, range(count))
        except (FailedJobError, subprocess.CalledProcessError) as error:
            said = str(error)
            if not any(words in said for words in CONTROLLER_AWAY):
                lines = [line.strip() for line in said.splitlines() if "error:" in line] or said.splitlines()
                raise EncoderlabError(f"sbatch refuses the jobs: {lines[-1]}; see [launch] of the study file") from None
            return False
        return True

    def alive(self) -> set[str] | None:
        """Return the ids of the jobs that run or wait; None while squeue does not answer."""
        words = ["squeue", "--noheader", "--array", "--format=%i", *self.mine]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        before, self.answers = self.answers, done.returncode == 0
        if before and not self.answers:
            print(f"{(done.stderr.splitlines() or ['squeue fails'])[-1]}; waiting until it answers", file=sys.stderr)
        return set(done.stdout.split()) if self.answers else None

    def log(self, worker: str) -> Path:
        """Return the log file of a worker."""
        return self.queue.folder / "jobs" / f"{worker}_0_log.out"

    def interrupt(self) -> str:
        """Leave the jobs running, and tell the user how to collect or to cancel them."""
        living = self.alive()
        if living == set():
            return "no job is left"
        jobs = "the" if living is None else len(living)
        advice = f"run the same command again to collect them, or cancel them: scancel --name={self.name}"
        return f"{jobs} SLURM jobs keep running; {advice}"

    def dismiss(self) -> None:
        """Cancel the pending jobs."""
        subprocess.run(["scancel", "--state=PENDING", *self.mine], capture_output=True, check=False)


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Set the number of threads in the environment of the processes that are started inside."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which reaches all of them; the command stops them itself, in order."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which alone handles Ctrl-C
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
