"""Cases of a target, one after the other: in this process, or in one that is started again where a case ends it."""

from __future__ import annotations

import multiprocessing
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from .guard import Outcome, judge

WALL = 60.0  # seconds without an answer until a process is ended: other processes may need the processor


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of file.

    write: make a case from the draw in an empty folder; what it returns is given to `read`.
    read: read that case with encoderlab; return what it notes, and raise AssertionError for a result that cannot be
        used or that lacks rows. InputError is a refusal.
    named: what every line of a refusal has to hold
    prepare: make what all cases share, once, in a folder
    """

    write: Callable[[Generator, Path, Any], Any]
    read: Callable[[Any, Any], Sequence[str]]
    named: str
    prepare: Callable[[Path], Any] = lambda folder: None


def cases(
    name: str, target: Target, numbers: Sequence[int], seed: int, folder: Path, ready: Callable[[], object] = bool
) -> Iterator[Outcome]:
    """Each case depends on (seed, target, number) alone. ready: called once what they share is made."""
    common = folder / "common"
    common.mkdir(parents=True)
    shared = target.prepare(common)
    ready()
    for number in numbers:
        draw = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
        place = folder / str(number)
        place.mkdir()
        case = target.write(draw, place, shared)
        yield judge(lambda case=case: target.read(case, shared), target.named)
        _remove(place)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def apart(name: str, target: Target, numbers: Sequence[int], seed: int, folder: Path) -> Iterator[tuple[int, Outcome]]:
    """(number, outcome) of cases in a process of its own. One that ends, or gives no answer, failed its case."""
    left = list(numbers)
    context, attempt = multiprocessing.get_context("spawn"), 0
    while left:
        attempt += 1
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(name, left, seed, folder / str(attempt), theirs))
        worker.start()
        ready = False
        theirs.close()
        try:
            ready = ours.recv()
            while left:
                if not ours.poll(WALL):
                    yield left.pop(0), Outcome("failed", f"no answer in {WALL:g} s")
                    break
                yield left[0], ours.recv()
                left.pop(0)
        except EOFError:
            worker.join()
            if not ready:
                raise RuntimeError(f"{name}: what its cases share could not be made") from None
            yield left.pop(0), Outcome("failed", f"the process ended with {worker.exitcode}")
        finally:
            worker.kill()
            worker.join()


def _work(name: str, numbers: Sequence[int], seed: int, folder: Path, answers: Any) -> None:
    from .targets import TARGETS

    for outcome in cases(name, TARGETS[name], numbers, seed, folder, lambda: answers.send(True)):
        answers.send(replace(outcome, error=None))  # not every exception can be sent
