"""Studies whose runs are done by workers: the table of `here`, bit for bit, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.launch.queue import Queue
from encoderlab.study import compare
from fixtures_launch import (  # noqa: F401  (a fixture)
    accounts,
    environment,  # noqa: F401  (a fixture)
    start,  # noqa: F401  (a fixture)
    until,
    write_study,
)
from fixtures_study import Write, metrics

TWO = '[[method]]\nname = "lora"\nrank = 2\n[[method]]\nname = "head"\n'


def test_two_workers_give_the_table_of_one_process(write_study: Write, start: Callable[..., subprocess.Popen]) -> None:
    one, two = write_study("here", TWO), write_study("processes", TWO)
    process = start(two, "--on", "processes")
    compare.compare(one)
    assert process.wait(300) == 0
    assert metrics(two.parent / "out") == metrics(one.parent / "out")
    assert accounts(two.parent / "out") == accounts(one.parent / "out")
    assert not (two.parent / "out" / "launch").exists()
    threads = {read_json(p)["hardware"]["threads"] for p in two.parent.glob("out/runs/*/result.json")}
    assert threads == {1}


@pytest.mark.slow
def test_a_dead_worker_a_dead_command_and_the_same_command_again(
    write_study: Write, start: Callable[..., subprocess.Popen]
) -> None:
    """kill -9 of a worker in the middle of a run, then of the command; nothing that was finished is done twice."""
    undisturbed, path = write_study("undisturbed", TWO, epochs=6), write_study("killed", TWO, epochs=6)
    out = path.parent / "out"
    queue = Queue(out / "launch")
    process = start(path, "--on", "processes")
    until(lambda: bool(list(out.glob("runs/*/checkpoint/epoch-*"))), process)
    workers = queue.alive()
    assert len(workers) == 2
    busy = next(ticket.worker for ticket in queue.taken())
    os.kill(workers[busy], signal.SIGKILL)
    until(lambda: any(t.deaths for t in [*queue.waiting(), *queue.taken()]), process)
    until(lambda: len(list(out.glob("runs/*/result.json"))) > 5, process)
    process.kill()
    process.wait()
    finished = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}
    assert not (out / "results.csv").exists()
    again = start(path, "--on", "processes")
    compare.compare(undisturbed)
    assert again.wait(300) == 0
    assert metrics(out) == metrics(undisturbed.parent / "out")
    assert accounts(out) == accounts(undisturbed.parent / "out")
    assert finished.items() <= {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}.items()


def test_ctrl_c_stops_the_workers_and_gives_their_work_back(
    write_study: Write, start: Callable[..., subprocess.Popen]
) -> None:
    path = write_study("stopped", TWO, epochs=500)
    queue = Queue(path.parent / "out" / "launch")
    process = start(path, "--on", "processes")
    until(lambda: len(queue.taken()) == 2 and bool(list(path.parent.glob("out/runs/*/checkpoint"))), process)
    workers = queue.alive()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    talk = (path.parent / "stderr").read_text()
    assert "workers stopped" in talk and "interrupted" in talk and "Traceback" not in talk
    assert not queue.alive() and not queue.taken() and all(ticket.deaths == 0 for ticket in queue.waiting())
    for number in workers.values():
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


@pytest.mark.slow
def test_a_run_that_kills_its_worker_three_times_is_reported_and_the_study_ends(
    write_study: Write, start: Callable[..., subprocess.Popen], environment: dict[str, str], tmp_path: Path
) -> None:
    """A stand-in for a crash in a library: the workers' Python aborts wherever it is to train with this rate."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'submitit.core._submit' in ' '.join(sys.orig_argv):\n"
        "    from encoderlab.training import loop\n"
        "    run = loop.Trainer.run\n"
        "    def aborts(self):\n"
        "        if self.learning_rate == 7e-4:\n"
        "            print('the library has crashed', file=sys.stderr, flush=True)\n"
        "            os.abort()\n"
        "        return run(self)\n"
        "    loop.Trainer.run = aborts\n"
    )
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "site"), environment.get("PYTHONPATH", "")])
    crashing = '[[method]]\nname = "lora"\nlearning_rate = 7e-4\n[[method]]\nname = "head"\nlearning_rate = 1e-3\n'
    path = write_study("crashing", crashing, seeds="[0]")
    assert start(path, "--on", "processes").wait(300) == 0
    out = path.parent / "out"
    by_method = {r["method"]: r for r in map(read_json, out.glob("runs/*/result.json"))}
    assert by_method["lora"]["status"] == "failed" and by_method["head"]["status"] == "done"
    assert "died 3 times" in by_method["lora"]["reason"] and "the library has crashed" in by_method["lora"]["reason"]
    assert "the library has crashed" in (out / "report.html").read_text(encoding="utf-8")
    environment.pop("PYTHONPATH")
    environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    assert start(path).wait(300) == 0  # what failed so is tried again
    assert {r["status"] for r in map(read_json, out.glob("runs/*/result.json"))} == {"done"}


def test_what_is_missing_is_said_before_anything_starts(write_study: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_study("wrong", TWO)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"study.toml: launch.on: .*no sbatch.* on its PATH"):
        compare.compare(path, ["launch.on=slurm"])
    with pytest.raises(InputError, match='launch.on=cloud: expected "here" or "processes" or "slurm"'):
        compare.compare(path, ["launch.on=cloud"])
    gpu = ["launch.on=slurm", "launch.gres=gpu:1", "train.precision=auto"]
    monkeypatch.setattr(compare, "problems", lambda launch: [])  # as on a login node
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match='train.precision: "auto" depends on the GPU, and only the jobs have one'):
        compare.compare(path, gpu)
    monkeypatch.undo()
    with pytest.raises(InputError, match="launch.workers=0: expected a whole number from 1 up"):
        compare.compare(path, ["launch.workers=0"])
    monkeypatch.setattr("encoderlab.launch.open_executor.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs submitit: pip install 'encoderlab\[slurm\]'"):
        compare.compare(path, ["launch.on=processes"])
    assert not (path.parent / "out").exists()
