"""What a queue folder of an earlier command, or an unusual file system, may hold; no process is started."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from encoderlab.launch import queue as queues
from encoderlab.launch import worker_backends
from encoderlab.launch.executor import Done, WorkItem
from encoderlab.launch.pool import DEATHS, Pool
from encoderlab.launch.queue import Queue


def double(payload: int) -> int:
    return 2 * payload


class AtOnce:
    """A backend that does what is there when it is started, in this process."""

    interval = 0.0

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.names: list[str] = []

    def start(self, count: int) -> bool:
        while (found := self.queue.take("worker", 0.01)) is not None:
            ticket, digest, payload = found
            self.names.append(ticket.name)
            assert len(self.names) < 20
            self.queue.finish(ticket, {"value": self.queue.work(digest)(payload), "seconds": 0.0})
        return True

    def alive(self) -> set[str]:
        return set()

    def log(self, worker: str) -> Path:
        return self.queue.folder / worker

    def interrupt(self) -> str:
        return "stopped"

    def dismiss(self) -> None:
        pass


def left_taken(queue: Queue, name: str, deaths: int) -> None:
    """As a worker leaves it that died over it."""
    queue.open()
    (queue.at / f"000000~{name}~{deaths}~dead").write_bytes(pickle.dumps(("gone", 1)))


def results(queue: Queue, backend: AtOnce, known: Any = lambda payload: None) -> list[Done]:
    with Pool(double, known, queue, backend, 2) as pool:
        pool.submit(WorkItem(name="wanted", rank=(5,), payload=4))
        return list(pool.finished())


def test_what_another_study_left_undone_is_not_done(tmp_path: Path) -> None:
    """Its work may be unreadable by now, and would take every worker with it, before anything that is wanted."""
    queue = Queue(tmp_path / "launch")
    left_taken(queue, "unwanted", 0)
    backend = AtOnce(queue)
    (done,) = results(queue, backend)
    assert done.value == 8 and backend.names == ["wanted"]


def test_the_piece_of_a_worker_of_another_version_is_written_anew(tmp_path: Path) -> None:
    """Its pickle names a module that this version lacks."""
    queue = Queue(tmp_path / "launch")
    left_taken(queue, "wanted", 0)
    (queue.at / "000000~wanted~0~dead").write_bytes(b"cencoderlab.jobs\nJob\n.")
    (done,) = results(queue, AtOnce(queue))
    assert done.value == 8 and done.died is None


def test_a_run_whose_third_worker_died_after_its_result_is_done(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "launch")
    left_taken(queue, "wanted", DEATHS - 1)
    said: list[int | None] = [8, None]  # not there when it is submitted, but later
    (done,) = results(queue, AtOnce(queue), lambda payload: said.pop())
    assert done.value == 8 and done.died is None
    left_taken(queue, "wanted", DEATHS - 1)
    (done,) = results(queue, AtOnce(queue))
    assert done.value is None and done.died is not None and "died 3 times" in done.died


def test_names_that_a_network_file_system_leaves_are_no_pieces(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "launch")
    queue.open()
    (queue.at / ".nfs0000000000a1").touch()
    pool = Pool(double, lambda payload: None, queue, backend := AtOnce(queue), 1)
    (queue.queue / ".nfs0000000000a2").touch()
    pool.submit(WorkItem(name="wanted", rank=(5,), payload=4))
    assert [done.value for done in pool.finished()] == [8] and backend.names == ["wanted"]


def test_a_file_system_without_locks_shows_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    queue = Queue(tmp_path / "launch")
    queue.open()
    with queue.present("1", 3):
        other = Queue(tmp_path / "launch")
        assert other.living() == {"1": (os.getpid(), 3, socket.gethostname())}
    monkeypatch.setattr(queues.fcntl, "flock", refuse)
    with queue.present("1"):
        assert queue.living() == {}


def test_the_worker_that_replaces_another_has_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Job:
        def __init__(self, number: int) -> None:
            self.number, self.ended, self.job_id = number, False, f"job-{number}"

        def done(self) -> bool:
            return self.ended

    class Executor:
        def __init__(self, folder: Path) -> None:
            pass

        def update_parameters(self, **settings: Any) -> None:
            pass

        def submit(self, worker: Any, number: int) -> Job:
            return Job(number)

    monkeypatch.setattr("submitit.LocalExecutor", Executor)
    queue = Queue(tmp_path / "launch")
    queue.open()
    with queue.present("of an earlier command", 1):
        backend = worker_backends.Processes(queue, 1, ("a", "b", "c"))
        backend.start(2)
        assert sorted(backend.jobs) == [0, 2]
        backend.jobs[2].ended = True
        assert backend.alive() == {"job-0", "of an earlier command"}
        backend.start(1)
        assert sorted(backend.jobs) == [0, 2] and not backend.jobs[2].ended


def test_without_flock_the_command_still_starts() -> None:
    """As on Windows, where runs are done here."""
    code = "import sys; sys.modules['fcntl'] = None; import encoderlab.launch.open_executor"
    subprocess.run([sys.executable, "-c", code], check=True)
