"""What several test files share with `test_launch`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from encoderlab.core.files import read_json
from encoderlab.launch.queue import Queue
from fixtures_study import Write, study_in


@pytest.fixture
def write_study(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Write:
    """write_study(name, methods, epochs) -> path of a study of two trials a method, with rows of its own."""

    def write(
        name: str, methods: str, *, epochs: int = 2, seeds: str = "[0, 1]", search: str = "candidates = 2"
    ) -> Path:
        return study_in(
            tmp_path / name,
            tiny_model("bert"),
            f"[launch]\nworkers = 2\nthreads = 1\n{methods}",
            seeds=seeds,
            epochs=epochs,
            train='precision = "fp32"',
            search=f"epochs = 2\n{search}",
        )

    return write


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """start(study, *more) -> the command `compare`, running; its stderr goes to `stderr` beside the study."""
    started: list[subprocess.Popen] = []

    def popen(path: Path, *more: str) -> subprocess.Popen:
        words = [sys.executable, "-m", "encoderlab", "compare", str(path), *more]
        with (path.parent / "stderr").open("a") as talk:
            before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf
            started.append(subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=talk))
            signal.signal(signal.SIGINT, before)
        return started[-1]

    yield popen
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    for folder in tmp_path.glob("*/out/launch"):  # and the workers of those that were killed
        for number in Queue(folder).alive().values():
            os.kill(number, signal.SIGKILL)


def accounts(out: Path) -> dict[str, Any]:
    """What study.json says of runs and search."""
    return {key: read_json(out / "study.json")[key] for key in ("runs", "labels", "search")}


def until(true: Callable[[], bool], process: subprocess.Popen | None = None, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.01)
