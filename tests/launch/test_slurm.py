"""A study on a real SLURM of one node, started and stopped here: tests/slurm/cluster.sh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from encoderlab.core.files import read_json
from encoderlab.launch.queue import Queue
from fixtures_launch import accounts, environment, start, until, write_study  # noqa: F401  (fixtures)
from fixtures_study import Write, metrics

SCRIPT = Path(__file__).resolve().parents[1] / "slurm" / "cluster.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
FOUR_SEEDS = '[[method]]\nname = "lora"\nlearning_rate = 1e-2\n[[method]]\nname = "head"\nlearning_rate = 1e-2\n'

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., None]]:  # noqa: F811
    """A running SLURM of four CPUs; cluster("restart") kills its controller and starts it again."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    if missing := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge")
    if os.geteuid() != 0:
        pytest.skip("starting slurmd and munged needs root")
    folder = tmp_path / "cluster"
    environment |= {"PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}

    def run(command: str, *more: str) -> None:
        subprocess.run([str(SCRIPT), command, str(folder), *more], env=environment, check=True, timeout=120)

    try:
        run("start", "4")
        yield run
    finally:
        run("stop")


def test_a_study_with_a_job_cancelled_one_killed_and_the_controller_restarted(
    cluster: Callable[..., None],
    write_study: Write,  # noqa: F811
    start: Callable[..., subprocess.Popen],  # noqa: F811
    environment: dict[str, str],  # noqa: F811
) -> None:
    here = write_study("here", FOUR_SEEDS, epochs=60, seeds="[0, 1, 2, 3]", search="candidates = 1")
    path = write_study("slurm", FOUR_SEEDS, epochs=60, seeds="[0, 1, 2, 3]", search="candidates = 1")
    out = path.parent / "out"
    queue = Queue(out / "launch")
    process = start(path, "--on", "slurm", "-s", "launch.workers=4")

    def training() -> list[str]:
        """Workers in the middle of a run that has a checkpoint."""
        return [t.worker for t in queue.taken() if list((out / "runs" / t.name / "checkpoint").glob("epoch-*"))]

    def died() -> int:
        return sum(ticket.deaths for ticket in [*queue.waiting(), *queue.taken()])

    until(lambda: bool(training()), process, 600)
    cancelled = training()[0]
    subprocess.run(["scancel", cancelled], env=environment, check=True)
    until(lambda: cancelled not in {ticket.worker for ticket in queue.taken()}, process)
    assert died() == 0  # it gave its item back
    until(lambda: any(worker != cancelled for worker in training()), process)
    killed = next(worker for worker in training() if worker != cancelled)
    os.kill(queue.alive()[killed], signal.SIGKILL)
    cluster("restart")
    until(lambda: died() == 1 or len(list(out.glob("runs/*/result.json"))) > 12, process)
    assert process.wait(900) == 0, (path.parent / "stderr").read_text()

    assert start(here).wait(600) == 0
    assert metrics(out) == metrics(here.parent / "out")
    assert accounts(out) == accounts(here.parent / "out")
    kinds = [read_json(p)["kind"] for p in out.glob("runs/*/result.json")]
    assert kinds.count("run") == 8


def test_the_command_is_stopped_and_started_again_while_jobs_go_on(
    cluster: Callable[..., None],
    write_study: Write,  # noqa: F811
    start: Callable[..., subprocess.Popen],  # noqa: F811
    environment: dict[str, str],  # noqa: F811
) -> None:
    def jobs(state: str) -> str:
        words = ["squeue", "--noheader", f"--state={state}"]
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout

    path = write_study("stopped", FOUR_SEEDS, epochs=30, seeds="[0, 1]", search="candidates = 1")
    out = path.parent / "out"
    queue = Queue(out / "launch")
    process = start(path, "--on", "slurm")
    until(lambda: bool(list(out.glob("runs/*/checkpoint/epoch-*"))), process, 600)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "SLURM jobs keep running" in (path.parent / "stderr").read_text()
    living = set(queue.alive())
    assert living
    assert start(path, "--on", "slurm", "-s", "launch.workers=6").wait(900) == 0  # of which four have a place
    until(lambda: not jobs("PENDING"))
    assert not (out / "launch").exists() and (out / "report.html").exists()


def test_what_sbatch_refuses_is_one_line(
    cluster: Callable[..., None],
    write_study: Write,  # noqa: F811
    start: Callable[..., subprocess.Popen],  # noqa: F811
) -> None:
    path = write_study("refused", FOUR_SEEDS, seeds="[0]", search="candidates = 1")
    assert start(path, "--on", "slurm", "-s", "launch.partition=nowhere").wait(300) == 1
    talk = (path.parent / "stderr").read_text()
    assert "sbatch refuses" in talk and "partition" in talk and "Traceback" not in talk
