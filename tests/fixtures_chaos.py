"""Commands as processes that start at once: forked from a server that has imported everything, and killed at will."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["encoderlab.cli.app", "encoderlab.study.compare", "encoderlab.study.check", "encoderlab.cli.tables"]
)


def command(words: Sequence[str], cache: Path, said: Path, *, clock: float | None = None) -> BaseProcess:
    """A started `encoderlab` process; what it says on stderr goes to the end of `said`. clock: its wall clock, seconds,
    which then runs backwards."""
    process = SERVER.Process(target=_run, args=(list(words), str(cache), str(said), clock))
    process.start()
    return process


def _run(words: list[str], cache: str, said: str, clock: float | None) -> None:
    os.environ.update(ENCODERLAB_CACHE=cache, OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    stderr = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stderr, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["encoderlab", *words]
    if clock is not None:
        _turn_back(clock)
    from encoderlab.cli.app import main

    main(words)


def _turn_back(clock: float) -> None:
    """Every module's wall clock: each look at it shows 10 seconds less."""
    real, ticks = time.time, itertools.count()
    backwards = lambda: clock - 10.0 * next(ticks)  # noqa: E731
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()) if hasattr(module, "__dict__") else []:
            if value is real:
                setattr(module, name, backwards)
