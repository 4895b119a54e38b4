"""Pieces of work in a folder that all workers see. A piece is one file, and whoever renames it has it.

    work/DIGEST                         the work, pickled once for all its pieces
    queue/RANK~NAME~DEATHS              (digest, ask), pickled; waits
    taken/RANK~NAME~DEATHS~WORKER       the same file while a worker has it
    done/NAME.json                      {"value", "seconds"}, or {"problems": [line, ...]} of an InputError
    workers/WORKER                      its process, number and host; locked (flock) as long as the worker lives

Renaming within a file system is atomic, also over NFS: no two workers take a piece, and none is lost. The pickles are
the way from one process to the next of the same program, not a format: the folder goes when the command ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from encoderlab.core.files import read_json, write_atomically, write_json
from encoderlab.launch.executor import Work, WorkItem

try:
    import fcntl
except ImportError:  # not a POSIX system, where runs are done in the command itself
    fcntl = None


@final
@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A piece as the name of its file has it. deaths: workers that died over it. worker: who has it, "" for nobody."""

    rank: str
    name: str
    deaths: int = 0
    worker: str = ""

    @classmethod
    def of(cls, file: str) -> Ticket:
        rank, name, deaths, *worker = file.split("~")
        return cls(rank=rank, name=name, deaths=int(deaths), worker="".join(worker))

    @property
    def file(self) -> str:
        return "~".join([self.rank, self.name, str(self.deaths), *([self.worker] if self.worker else [])])


class Queue:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue, self.at, self.done = folder / "queue", folder / "taken", folder / "done"

    def open(self) -> None:
        """Makes the folder, or clears what an earlier command left waiting; what is being worked on stays."""
        for name in ("work", "queue", "taken", "done", "workers"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for path in [*self.queue.iterdir(), *self.done.iterdir()]:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Tells workers that nothing more comes."""
        shutil.rmtree(self.queue, ignore_errors=True)

    def keep(self, work: Work) -> str:
        """Writes the work where it is not there yet; returns its digest, for `put`."""
        data = pickle.dumps(work)
        digest = hashlib.sha256(data).hexdigest()[:16]
        path = self.folder / "work" / digest
        if not path.exists():
            write_atomically(path, lambda beside: beside.write_bytes(data))
        return digest

    def put(self, piece: WorkItem, digest: str) -> None:
        """Unless somebody has it already, or it is done."""
        if any(ticket.name == piece.name for ticket in self.taken()) or (self.done / f"{piece.name}.json").exists():
            return
        ticket = Ticket(rank="-".join(f"{number:06d}" for number in piece.rank), name=piece.name)
        data = pickle.dumps((digest, piece.ask))
        beside = self.folder / "work" / f".{piece.name}.part"
        beside.write_bytes(data)
        os.rename(beside, self.queue / ticket.file)

    def waiting(self) -> list[Ticket]:
        return self._tickets(self.queue)

    def taken(self) -> list[Ticket]:
        return self._tickets(self.at)

    @staticmethod
    def _tickets(folder: Path) -> list[Ticket]:
        try:
            # a name with a dot is none of ours: NFS keeps so what is removed while somebody has it open
            return [Ticket.of(file) for file in sorted(os.listdir(folder)) if not file.startswith(".")]
        except FileNotFoundError:
            return []

    def take(self, worker: str, patience: float) -> tuple[Ticket, str, Any] | None:
        """The first piece in the queue with its digest and ask; None when the queue is closed, or stays empty for
        `patience` seconds."""
        end = time.monotonic() + patience
        while self.queue.is_dir() and time.monotonic() < end:
            for ticket in self.waiting():
                mine = replace(ticket, worker=worker)
                try:
                    os.rename(self.queue / ticket.file, self.at / mine.file)
                except FileNotFoundError:  # another one was faster
                    continue
                return mine, *pickle.loads((self.at / mine.file).read_bytes())
            time.sleep(0.05)
        return None

    def work(self, digest: str) -> Work:
        return pickle.loads((self.folder / "work" / digest).read_bytes())

    def finish(self, ticket: Ticket, account: dict[str, Any]) -> None:
        write_json(self.done / f"{ticket.name}.json", account)
        (self.at / ticket.file).unlink(missing_ok=True)

    def finished(self, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Those of `names` that are done, each once."""
        there = set(os.listdir(self.done))
        for name in names:
            if f"{name}.json" in there:
                path = self.done / f"{name}.json"
                account = read_json(path)
                path.unlink()
                yield name, account

    def give_back(self, worker: str, *, died: bool) -> None:
        """What the worker has taken goes back into the queue."""
        for ticket in self.taken():
            if ticket.worker == worker:
                self.release(ticket, died=died)

    def release(self, ticket: Ticket, *, died: bool) -> None:
        with contextlib.suppress(FileNotFoundError):
            waits = replace(ticket, worker="", deaths=ticket.deaths + died)
            os.rename(self.at / ticket.file, self.queue / waits.file)

    def drop(self, ticket: Ticket) -> None:
        (self.at / ticket.file).unlink(missing_ok=True)

    @contextlib.contextmanager
    def present(self, worker: str, number: int = 0) -> Iterator[None]:
        """While inside, others see that this worker lives."""
        assert fcntl is not None
        path = self.folder / "workers" / worker
        with path.open("w") as file:
            file.write(f"{os.getpid()} {number} {socket.gethostname()}\n")
            file.flush()
            with contextlib.suppress(OSError):  # a network file system without locks: SLURM knows who lives
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        path.unlink(missing_ok=True)

    def living(self) -> dict[str, tuple[int, int, str]]:
        """{worker: (process id, number, host)} of those whose lock is held."""
        assert fcntl is not None
        found = {}
        for path in sorted((self.folder / "workers").iterdir()):
            with contextlib.suppress(OSError), path.open() as file:  # gone by now, or a file system without locks
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if text := file.read().strip():
                        process, number, host = text.split()
                        found[path.name] = int(process), int(number), host
        return found

    def alive(self) -> dict[str, int]:
        """{worker: process id} of those whose lock is held."""
        return {worker: process for worker, (process, _, _) in self.living().items()}
