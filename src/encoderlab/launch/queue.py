"""A queue of work items in a folder that all workers see. A worker takes an item by renaming its file.

    work/DIGEST                         the pickled work, once for all its items
    queue/RANK~NAME~DEATHS              a waiting item: (digest, payload), pickled
    taken/RANK~NAME~DEATHS~WORKER       the same file while a worker has it
    done/NAME.json                      {"value", "seconds"}, or {"problems": [line, ...]} of an InputError
    workers/WORKER                      process id, number and host; locked (flock) while the worker lives

Renaming within a file system is atomic, also over NFS: no two workers take the same item, and no item is lost. The
pickles only pass objects between processes of the same program. They are no format: the folder is removed when the
command ends.
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
except ImportError:  # not a POSIX system: runs are done in the command itself
    fcntl = None


@final
@dataclass(frozen=True, kw_only=True)
class Ticket:
    """An item as the name of its file describes it.

    Attributes:
        rank: The priority as text; smaller ones come first.
        name: The name of the item.
        deaths: The number of workers that died over the item.
        worker: The worker that has the item, or "" while it waits.
    """

    rank: str
    name: str
    deaths: int = 0
    worker: str = ""

    @classmethod
    def of(cls, file: str) -> Ticket:
        """Read a ticket from the name of its file."""
        rank, name, deaths, *worker = file.split("~")
        return cls(rank=rank, name=name, deaths=int(deaths), worker="".join(worker))

    @property
    def file(self) -> str:
        """The name of the file."""
        return "~".join([self.rank, self.name, str(self.deaths), *([self.worker] if self.worker else [])])


class Queue:
    """The queue in a folder, for the command and for its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue, self.at, self.done = folder / "queue", folder / "taken", folder / "done"

    def open(self) -> None:
        """Create the folder, and remove the waiting items of an earlier command. Taken items stay."""
        for name in ("work", "queue", "taken", "done", "workers"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for path in [*self.queue.iterdir(), *self.done.iterdir()]:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the queue, so that workers end when they look for the next item."""
        shutil.rmtree(self.queue, ignore_errors=True)

    def keep(self, work: Work) -> str:
        """Write the work to the folder if it is not there yet, and return its digest for `put`."""
        data = pickle.dumps(work)
        digest = hashlib.sha256(data).hexdigest()[:16]
        path = self.folder / "work" / digest
        if not path.exists():
            write_atomically(path, lambda beside: beside.write_bytes(data))
        return digest

    def put(self, item: WorkItem, digest: str) -> None:
        """Queue a piece, unless a worker has it already or it is done."""
        if any(ticket.name == item.name for ticket in self.taken()) or (self.done / f"{item.name}.json").exists():
            return
        ticket = Ticket(rank="-".join(f"{number:06d}" for number in item.rank), name=item.name)
        data = pickle.dumps((digest, item.payload))
        beside = self.folder / "work" / f".{item.name}.part"
        beside.write_bytes(data)
        os.rename(beside, self.queue / ticket.file)

    def waiting(self) -> list[Ticket]:
        """Return the waiting items, the smallest rank first."""
        return self._tickets(self.queue)

    def taken(self) -> list[Ticket]:
        """Return the items that workers have taken."""
        return self._tickets(self.at)

    @staticmethod
    def _tickets(folder: Path) -> list[Ticket]:
        try:
            # NFS renames a removed file that is still open to a name that starts with a dot
            return [Ticket.of(file) for file in sorted(os.listdir(folder)) if not file.startswith(".")]
        except FileNotFoundError:
            return []

    def take(self, worker: str, patience: float) -> tuple[Ticket, str, Any] | None:
        """Take the first item from the queue.

        Args:
            worker: the name of the worker.
            patience: seconds to wait for an item.

        Returns:
            The ticket, the digest of its work and its `payload`. None if the queue is closed, or empty for too long.
        """
        end = time.monotonic() + patience
        while self.queue.is_dir() and time.monotonic() < end:
            for ticket in self.waiting():
                mine = replace(ticket, worker=worker)
                try:
                    os.rename(self.queue / ticket.file, self.at / mine.file)
                except FileNotFoundError:  # another worker was faster
                    continue
                return mine, *pickle.loads((self.at / mine.file).read_bytes())
            time.sleep(0.05)
        return None

    def work(self, digest: str) -> Work:
        """Load the work with a digest."""
        return pickle.loads((self.folder / "work" / digest).read_bytes())

    def finish(self, ticket: Ticket, account: dict[str, Any]) -> None:
        """Write the result of an item, then remove the item."""
        write_json(self.done / f"{ticket.name}.json", account)
        (self.at / ticket.file).unlink(missing_ok=True)

    def finished(self, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and result of every item in `names` that is done, each only once."""
        there = set(os.listdir(self.done))
        for name in names:
            if f"{name}.json" in there:
                path = self.done / f"{name}.json"
                account = read_json(path)
                path.unlink()
                yield name, account

    def give_back(self, worker: str, *, died: bool) -> None:
        """Put all pieces of a worker back into the queue. died: whether the worker died over them."""
        for ticket in self.taken():
            if ticket.worker == worker:
                self.release(ticket, died=died)

    def release(self, ticket: Ticket, *, died: bool) -> None:
        """Put a taken piece back into the queue. died: whether its worker died over it."""
        with contextlib.suppress(FileNotFoundError):
            waits = replace(ticket, worker="", deaths=ticket.deaths + died)
            os.rename(self.at / ticket.file, self.queue / waits.file)

    def drop(self, ticket: Ticket) -> None:
        """Remove a taken piece."""
        (self.at / ticket.file).unlink(missing_ok=True)

    @contextlib.contextmanager
    def present(self, worker: str, number: int = 0) -> Iterator[None]:
        """Show other processes that this worker lives, until the block ends."""
        assert fcntl is not None
        path = self.folder / "workers" / worker
        with path.open("w") as file:
            file.write(f"{os.getpid()} {number} {socket.gethostname()}\n")
            file.flush()
            with contextlib.suppress(OSError):  # a network file system without locks; SLURM knows which workers live
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        path.unlink(missing_ok=True)

    def living(self) -> dict[str, tuple[int, int, str]]:
        """Return process id, number and host of every worker whose lock is held, by name."""
        assert fcntl is not None
        found = {}
        for path in sorted((self.folder / "workers").iterdir()):
            with contextlib.suppress(OSError), path.open() as file:  # removed meanwhile, or no locks here
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if text := file.read().strip():
                        process, number, host = text.split()
                        found[path.name] = int(process), int(number), host
        return found

    def alive(self) -> dict[str, int]:
        """Return the process id of every worker whose lock is held, by name."""
        return {worker: process for worker, (process, _, _) in self.living().items()}
