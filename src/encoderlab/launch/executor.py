"""What is launched, and the one interface of everything that launches."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self, final


@final
@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """One independent piece of work.

    name: the same for the same work, in every command; of letters, digits, - and .
    rank: what is to be done first, where there is a choice: smaller ones
    ask: what is handed to the work; picklable and small
    """

    name: str
    rank: tuple[int, ...]
    ask: Any


@final
@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished piece. value: what the work returned, as JSON has it. died: the work never came to an end, and why as
    far as its log says; value is None then."""

    piece: WorkItem
    value: Any
    seconds: float
    died: str | None = None


Work = Callable[[Any], Any]  # `ask` of a piece -> a value that JSON can hold


class Executor(Protocol):
    """Does pieces; used as a context manager.

    A piece may be submitted at any time, also while `finished` is iterated. What the work raises ends the iteration.
    """

    @property
    def workers(self) -> int: ...
    def submit(self, piece: WorkItem) -> None: ...
    def finished(self) -> Iterator[Done]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...


class Here:
    """In this process, one after another, the smallest rank first."""

    workers = 1

    def __init__(self, work: Work) -> None:
        self.work = work
        self.waiting: list[tuple[tuple[int, ...], int, WorkItem]] = []
        self.count = 0

    def submit(self, piece: WorkItem) -> None:
        heapq.heappush(self.waiting, (piece.rank, self.count, piece))
        self.count += 1

    def finished(self) -> Iterator[Done]:
        while self.waiting:
            piece = heapq.heappop(self.waiting)[2]
            yield Done(piece=piece, value=self.work(piece.ask), seconds=0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        pass
