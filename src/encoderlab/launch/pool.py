"""The executor over a queue folder and its workers.

The command that holds the executor only waits. It fills the queue, collects results and replaces workers that died. You
can stop and restart the command: an item that a worker is working on is not queued a second time.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from typing import Self

from encoderlab.core.errors import EncoderlabError, InputError
from encoderlab.launch.executor import Done, Work, WorkItem
from encoderlab.launch.queue import Queue, Ticket
from encoderlab.launch.worker import marker
from encoderlab.launch.worker_backends import WorkerBackend

DEATHS = 3  # workers that may die over one item before it is given up
FRUITLESS = 3  # times that all workers may end without having taken an item
LAST_LINES = 4


class Pool:
    """An executor whose workers take items from a queue folder.

    Args:
        work: the function that does a work item.
        known: returns the value of an item that was done before, or None.
        queue: the queue; it is opened here.
        backend: starts the workers and knows which ones live.
        workers: the maximum number of workers.
    """

    def __init__(self, work: Work, known: Work, queue: Queue, backend: WorkerBackend, workers: int) -> None:
        self.known, self.queue, self.backend, self.workers = known, queue, backend, workers
        queue.open()
        self.digest = queue.keep(work)
        self.asked: dict[str, list[WorkItem]] = {}
        self.ready: list[Done] = []
        self.looked = float("-inf")
        self.fruitless, self.died = 0, False

    def submit(self, item: WorkItem) -> None:
        """Queue an item, unless its value is known already."""
        if (value := self.known(item.payload)) is not None:
            self.ready.append(Done(item=item, value=value, seconds=0.0))
            return
        same = self.asked.setdefault(item.name, [])
        same.append(item)
        if len(same) == 1:
            self.queue.put(item, self.digest)

    def finished(self) -> Iterator[Done]:
        """Yield each result when it is there; start and replace workers meanwhile.

        Raises:
            InputError: an item failed because of the user's input.
            EncoderlabError: no worker can be started.
        """
        while self.asked or self.ready:
            while self.ready:
                yield self.ready.pop(0)
            found = list(self.queue.finished(list(self.asked)))
            for name, account in found:
                self.fruitless = 0
                if "problems" in account:
                    raise InputError(*account["problems"])
                yield from self._settle(name, value=account["value"], seconds=account["seconds"])
            if time.monotonic() - self.looked >= self.backend.interval:
                yield from self._look_after()
                self.looked = time.monotonic()
            if not found:
                time.sleep(0.02 if self.backend.interval < 1 else 0.2)

    def _settle(self, name: str, **outcome: object) -> Iterator[Done]:
        for item in self.asked.pop(name):
            yield Done(item=item, **outcome)  # type: ignore[arg-type]

    def _look_after(self) -> Iterator[Done]:
        """Queue the items of dead workers again, or give them up, and start missing workers."""
        taken = self.queue.taken()  # read before `alive`, so a worker that starts in between is not taken for dead
        alive = self.backend.alive()
        if alive is None:
            return
        self.fruitless = 0 if taken else self.fruitless
        for ticket in taken:
            if ticket.worker in alive:
                continue
            self.died = True
            if ticket.name in self.asked and ticket.deaths + 1 < DEATHS:
                self.queue.again(ticket, self.asked[ticket.name][0], self.digest)
                continue
            self.queue.drop(ticket)
            if ticket.name not in self.asked:  # an item of an earlier command with another study, or finished by now
                continue
            value = self.known(self.asked[ticket.name][0].payload)  # the worker may have died after it saved it
            died = None if value is not None else self._last_words(ticket)
            yield from self._settle(ticket.name, value=value, seconds=0.0, died=died)
        open_ = sum(ticket.name in self.asked for ticket in [*self.queue.waiting(), *self.queue.taken()])
        missing = min(self.workers, open_) - len(alive)
        if missing > 0:
            if self.fruitless >= FRUITLESS * self.workers:
                raise EncoderlabError(self._cannot_start())
            if self.backend.start(missing):
                self.fruitless += missing

    def _last_words(self, ticket: Ticket) -> str:
        log = self.backend.log(ticket.worker)
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        lines = [line.strip() for line in text.rpartition(marker(ticket.name))[2].splitlines() if line.strip()]
        said = " | ".join(lines[-LAST_LINES:]) or "none; killed from outside, perhaps for lack of memory"
        return f"its worker died {DEATHS} times; last lines of the log: {said} ({log})"

    def _cannot_start(self) -> str:
        logs = sorted((self.queue.folder / "jobs").glob("*_log.out"), key=lambda path: path.stat().st_mtime)
        lines = logs[-1].read_text(encoding="utf-8", errors="replace").split("\n") if logs else []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        where = f" ({logs[-1]})" if logs else ""
        return f"the workers end before they take any work; last line of the log: {said}{where}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            if kind is not KeyboardInterrupt:
                self.queue.close()
                self.backend.dismiss()
            print(self.backend.interrupt(), file=sys.stderr)
            return
        self.queue.close()
        self.backend.dismiss()
        end = time.monotonic() + 60  # on a busy machine, processes take long to end
        while self.backend.alive() and time.monotonic() < end:
            time.sleep(0.05 if self.backend.interval < 1 else 0.5)
        if not self.died:  # otherwise the logs help to find the cause
            shutil.rmtree(self.queue.folder, ignore_errors=True)
