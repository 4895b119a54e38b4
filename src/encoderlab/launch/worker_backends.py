"""Who works on a queue: processes of this machine, or jobs of SLURM. Both are started by submitit and outlive the
command that started them."""

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

YEAR = 525_600  # minutes: submitit's local executor ends its processes after a time, and none is wanted
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CONTROLLER_AWAY = ("Unable to contact slurm controller", "Socket timed out", "Connection refused", "in standby mode")


class WorkerBackend(Protocol):
    """interval: seconds between two looks at who lives."""

    interval: float

    def start(self, count: int) -> bool:
        """Start workers. False: not possible at the moment. EncoderlabError where the system refuses."""
        ...

    def alive(self) -> set[str] | None:
        """Names of the workers that live or wait to be started; None: not known at the moment."""
        ...

    def log(self, worker: str) -> Path: ...

    def interrupt(self) -> str:
        """The command is stopped: what becomes of the workers, in words."""
        ...

    def dismiss(self) -> None:
        """There is no more work: who waits to be started need not come."""
        ...


class Processes:
    """submitit's local executor: every worker is a process with `threads` threads and one of `gpus`."""

    interval = 0.2

    def __init__(self, queue: Queue, threads: int, gpus: tuple[str, ...]) -> None:
        self.queue, self.threads = queue, threads
        self.worker = Worker(folder=queue.folder, threads=threads, gpus=gpus)
        self.jobs: dict[int, Any] = {}  # by the worker's number, which is its GPU's

    def start(self, count: int) -> bool:
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
        self.jobs = {number: job for number, job in self.jobs.items() if not job.done()}
        return {job.job_id for job in self.jobs.values()} | set(self.queue.alive())

    def log(self, worker: str) -> Path:
        return self.queue.folder / "jobs" / f"{worker}_0_log.out"

    def interrupt(self) -> str:
        living = [process for process, _, host in self.queue.living().values() if host == socket.gethostname()]
        for process in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        for job in self.jobs.values():  # those that have not come so far
            with contextlib.suppress(ProcessLookupError):
                job._process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 30
        while self.alive() and time.monotonic() < end:
            time.sleep(0.05)
        return f"{len(living)} workers stopped"

    def dismiss(self) -> None:
        pass  # all of them have come


class Slurm:
    """A job array: every worker is a job. options: of submitit's SlurmExecutor."""

    interval = 3.0

    def __init__(self, queue: Queue, threads: int, options: Mapping[str, str | int | float]) -> None:
        self.queue, self.threads = queue, threads
        self.name = "encoderlab-" + hashlib.sha256(str(queue.folder.absolute()).encode()).hexdigest()[:10]
        self.worker = Worker(folder=queue.folder, threads=threads)
        self.options = {"cpus_per_task": threads, **options}
        self.mine = [f"--name={self.name}", f"--user={getpass.getuser()}"]
        self.answers = True

    def start(self, count: int) -> bool:
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
                raise EncoderlabError(f"sbatch refuses: {lines[-1]}; see [launch] of the study file") from None
            return False
        return True

    def alive(self) -> set[str] | None:
        words = ["squeue", "--noheader", "--array", "--format=%i", *self.mine]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        before, self.answers = self.answers, done.returncode == 0
        if before and not self.answers:
            print(f"{(done.stderr.splitlines() or ['squeue fails'])[-1]}; waiting until it answers", file=sys.stderr)
        return set(done.stdout.split()) if self.answers else None

    def log(self, worker: str) -> Path:
        return self.queue.folder / "jobs" / f"{worker}_0_log.out"

    def interrupt(self) -> str:
        living = self.alive()
        if living == set():
            return "no job is left"
        jobs = "the jobs" if living is None else f"{len(living)} jobs"
        return f"{jobs} of SLURM go on, and the same command collects them; `scancel --name={self.name}` ends them"

    def dismiss(self) -> None:
        subprocess.run(["scancel", "--state=PENDING", *self.mine], capture_output=True, check=False)


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """What is started inside uses so many threads, in the libraries that read it once."""
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
    """Ctrl-C on a terminal reaches every process of the command; this one ends its workers itself, in order."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, where nobody presses Ctrl-C
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
