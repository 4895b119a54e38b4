"""What an executor costs a run: 200 pieces of 2 seconds on each, as JSON.

    python benchmarks/launch.py [--pieces 200] [--seconds 2] [--workers 4] [--on here processes slurm]

A piece sleeps, so that the executors are measured and not the processor. `seconds_per_run`: what is left of a worker's
wall time after the pieces themselves, a piece; `start_seconds`, which is in it: until the first piece was taken up.
`job_per_run`: the same with a process (submitit's LocalExecutor) for each piece and the import of torch in each, which
is what workers that stay save; from a few pieces. slurm: where SLURM_CONF leads to one.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from encoderlab.launch.executor import Executor, Here, WorkItem
from encoderlab.launch.open_executor import open_executor, problems
from encoderlab.launch.settings import Launch


@dataclass(frozen=True)
class Sleep:
    seconds: float

    def __call__(self, number: int) -> float:
        """When it began."""
        began = time.time()
        time.sleep(self.seconds)
        return began


def unknown(number: int) -> None:
    return None


def job(seconds: float) -> float:
    """As a run in a job of its own begins: with the import of torch."""
    import torch  # noqa: F401

    return Sleep(seconds)(0)


def measure(executor: Executor, pieces: int, seconds: float) -> dict[str, float]:
    start = time.time()
    with executor:
        for number in range(pieces):
            executor.submit(WorkItem(name=f"piece-{number}", rank=(number,), ask=number))
        began = [done.value for done in executor.finished() if done.died is None]
        wall = time.time() - start
    assert len(began) == pieces
    return {
        "workers": executor.workers,
        "wall_seconds": round(wall, 2),
        "start_seconds": round(min(began) - start, 3),
        "seconds_per_run": round(wall * executor.workers / pieces - seconds, 4),
    }


def job_per_run(folder: Path, pieces: int, seconds: float, workers: int) -> dict[str, float]:
    from submitit import LocalExecutor

    executor = LocalExecutor(folder)
    executor.update_parameters(timeout_min=60)
    start = time.time()
    left, running = pieces, []
    while left or running:
        while left and len(running) < workers:
            running.append(executor.submit(job, seconds))
            left -= 1
        for one in [one for one in running if one.done()]:
            one.result()
            running.remove(one)
        time.sleep(0.02)
    wall = time.time() - start
    return {"workers": workers, "pieces": pieces, "seconds_per_run": round(wall * workers / pieces - seconds, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--on", nargs="+", default=["here", "processes", "slurm"])
    given = parser.parse_args()
    work, found = Sleep(given.seconds), {}
    for on in given.on:
        settings = Launch(on=on, workers=given.workers, threads=1)
        if lines := problems(settings):
            found[on] = lines[0]
            continue
        with tempfile.TemporaryDirectory() as folder:
            executor = (
                Here(work)
                if on == "here"
                else open_executor(settings, Path(folder) / "launch", work, known=unknown, cuda=False)
            )
            pieces = given.pieces if on != "here" else max(1, given.pieces // 10)  # one after another: the same each
            found[on] = {"pieces": pieces, **measure(executor, pieces, given.seconds)}
    with tempfile.TemporaryDirectory() as folder:
        few = max(given.workers, given.pieces // 10)
        found["job_per_run"] = job_per_run(Path(folder), few, given.seconds, given.workers)
    print(json.dumps({"seconds": given.seconds, **found}, indent=1))


if __name__ == "__main__":
    # what is pickled has to be found by name in the workers: not in __main__
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    from launch import main as run

    run()
