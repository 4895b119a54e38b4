"""A work item, its result, and the interface of everything that runs work items."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self, final


@final
@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """One independent unit of work.

    Attributes:
        name: Identifies the work in every command. Letters, digits, "-" and "." only.
        rank: The priority. Items with a smaller rank start first.
        payload: The argument of the work. It is pickled, so keep it small.
    """

    name: str
    rank: tuple[int, ...]
    payload: Any


@final
@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of a work item.

    Attributes:
        item: The item.
        value: The value that the work returned, as read from JSON. None if the work did not end.
        seconds: The time that the work took.
        died: Why the work did not end, as far as the log of its worker tells. None if it ended.
    """

    item: WorkItem
    value: Any
    seconds: float
    died: str | None = None


Work = Callable[[Any], Any]  # maps the `payload` of an item to a value that JSON can hold


class Executor(Protocol):
    """Runs work items. Use it as a context manager.

    You can submit an item at any time, also while you iterate over `finished`. An exception of the work ends the
    iteration.
    """

    @property
    def workers(self) -> int:
        """The number of workers that run at the same time."""
        ...

    def submit(self, item: WorkItem) -> None:
        """Add an item to the work."""
        ...

    def finished(self) -> Iterator[Done]:
        """Yield each result when it is there, until no submitted item is left."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...


class Here:
    """The executor that runs items in this process, one after another, the smallest rank first."""

    workers = 1

    def __init__(self, work: Work) -> None:
        self.work = work
        self.waiting: list[tuple[tuple[int, ...], int, WorkItem]] = []
        self.count = 0

    def submit(self, item: WorkItem) -> None:
        """Add an item to the work."""
        heapq.heappush(self.waiting, (item.rank, self.count, item))
        self.count += 1

    def finished(self) -> Iterator[Done]:
        """Run the items, and yield each result when it is there."""
        while self.waiting:
            item = heapq.heappop(self.waiting)[2]
            yield Done(item=item, value=self.work(item.payload), seconds=0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        pass
