"""One run in several processes: really started by torchrun, over loopback, against the same run in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from encoderlab.core.files import read_json
from encoderlab.engine.distributed import ALONE, Ranks, _chunks
from encoderlab.study import compare
from encoderlab.study import train as single
from fixtures_study import WORDS, metrics, write_rows

# Several commands in one start, and one that stops a process in the middle of a run.
SCRIPT = """
import json, os, sys
from encoderlab.cli import app as cli
for words in json.load(open(sys.argv[1])):
    if words == "kill the second":
        from encoderlab.training.loop import Trainer
        step, rank = Trainer.step, int(os.environ["RANK"])
        def until(self, number, rows):
            if number == 3 and rank == 1:
                os.kill(os.getpid(), 9)
            return step(self, number, rows)
        Trainer.step = until
        continue
    try:
        cli.main(words)
    except SystemExit as stop:
        if stop.code not in (None, 0, 2):
            raise
"""


def study_file(folder: Path, model: Path, kind: str, method: str = "lora") -> Path:
    """30 steps of 8 rows of uneven length, in several micro-batches a step."""
    folder.mkdir()
    for name, rows, seed in (("train", 80, 1), ("validation", 19, 2), ("test", 17, 3)):
        if kind == "classification":
            write_rows(folder / f"{name}.csv", rows, seed)
        else:
            draw = np.random.default_rng(seed)
            lines = [" ".join(draw.choice(WORDS, size=draw.integers(33, 60))) for _ in range(rows)]
            (folder / f"{name}.csv").write_text("\n".join(["text", *lines]))
    path = folder / "study.toml"
    path.write_text(
        f"""
model = {json.dumps(str(model))}
seeds = [0]
out = "out"
[task]
kind = "{kind}"
[data]
train = "train.csv"
validation = "validation.csv"
test = "test.csv"
[train]
epochs = 3
batch_size = 8
max_length = 64
precision = "fp32"
token_budget = {40 if kind == "classification" else 150}
device = "cpu"
[search]
candidates = 1
[[method]]
name = "{method}"
learning_rate = 1e-2
""",
        encoding="utf-8",
    )
    return path


def torchrun(script: Path, commands: list[Any], processes: int = 2, **environment: str) -> subprocess.CompletedProcess:
    script.write_text(SCRIPT)
    (script.parent / "commands.json").write_text(json.dumps(commands))
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*words, str(script), str(script.parent / "commands.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("bert")


def test_two_processes_train_as_one(model: Path, tiny_masked_lm: Callable[[str], Path], tmp_path: Path) -> None:
    """30 steps in fp32 with dropout: the same losses to 1e-6, the same scores, and one writer. Classification with all
    weights and with AdaLoRA, whose regulariser counts once; masked words."""
    together = [
        study_file(tmp_path / "full", model, "classification", "full"),
        study_file(tmp_path / "adalora", model, "classification", "adalora"),
        study_file(tmp_path / "words", tiny_masked_lm("bert"), "masked-lm"),
    ]
    labels = ["full", "adalora", "lora"]
    commands = [
        ["train", str(path), "--method", label, "-s", "out=two"] for path, label in zip(together, labels, strict=True)
    ]
    done = torchrun(tmp_path / "script.py", [*commands, ["compare", str(together[0]), "-s", "out=two"]])
    assert done.returncode == 0, done.stderr
    folders = [Path(line) for line in done.stdout.split()[:3]]
    assert done.stdout.count("report.html") == 1  # the first process alone prints
    for path, label, two in zip(together, labels, folders, strict=True):
        one = single.train(path, ["out=one"], label=label, seed=None, learning_rate=None)
        assert one is not None and one.name == two.name  # the number of processes is no part of a run
        steps = [[e for e in events(folder) if e["event"] == "step"] for folder in (one, two)]
        assert len(steps[0]) == len(steps[1]) == 30
        for a, b in zip(*steps, strict=True):
            assert abs(a["loss"] - b["loss"]) < 1e-6 and abs(a["grad_norm"] - b["grad_norm"]) < 1e-4, (path, a, b)
        results = [read_json(folder / "result.json") for folder in (one, two)]
        for split in ("validation", "test"):
            a, b = (result["splits"][split] for result in results)
            assert a["rows"] == b["rows"] and a["loss"] == pytest.approx(b["loss"], abs=1e-6)
        assert not list(two.rglob(".*"))
        names = [{p.relative_to(f) for p in f.rglob("*")} for f in (one, two)]
        assert names[0] == names[1]
    compare.compare(together[0], ["out=one"])
    kept = [read_json(together[0].parent / out / "study.json") for out in ("one", "two")]
    assert kept[0]["runs"] == kept[1]["runs"] and len(kept[0]["runs"]) == 4  # two baselines, full, head
    one, two = (metrics(together[0].parent / out) for out in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), abs=1e-6) and a["accuracy"] == b["accuracy"]


@pytest.mark.slow
def test_what_stops_a_run_is_said_once_and_the_run_goes_on(model: Path, tmp_path: Path) -> None:
    """A wrong name, which every process meets; then the second process is killed."""
    path = study_file(tmp_path / "study", model, "classification")
    train = ["train", str(path), "--method", "lora"]
    commands = [[*train, "-s", "data.test.path=missing.csv"], "kill the second", train]
    killed = torchrun(tmp_path / "script.py", commands)
    assert killed.returncode != 0
    wrong, *said = [line for line in killed.stderr.splitlines() if line.startswith("encoderlab:")]
    assert "missing.csv" in wrong
    assert len(said) <= 1 and all("another process of this run has ended" in line for line in said)
    assert not list((tmp_path / "study" / "out").glob("runs/*/result.json"))
    folder = single.train(path, [], label="lora", seed=None, learning_rate=None)
    assert folder is not None and read_json(folder / "result.json")["status"] == "done"


def test_commands_of_one_process_refuse_several(model: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "encoderlab", "demo"]
    for rank, lines in (("0", 1), ("1", 0)):
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, env={**os.environ, "WORLD_SIZE": "2", "RANK": rank}
        )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == lines


def test_work_is_dealt_whole_and_evenly() -> None:
    costs = np.random.default_rng(0).integers(1, 100, size=37).tolist()
    shares = [Ranks(rank=rank, size=4).deal(costs) for rank in range(4)]
    assert sorted(piece for share in shares for piece in share) == list(range(37))
    loads = [sum(costs[piece] for piece in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs)
    assert [Ranks(rank=rank, size=3).deal([5]) for rank in range(3)] == [[0], [], []]
    assert ALONE.deal(costs) == list(range(37))


def test_sums_go_in_chunks_of_whole_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoderlab.engine.distributed.CHUNK", 10)
    parameters = [nn.Parameter(torch.zeros(size)) for size in (3, 8, 30, 1)]
    assert [[p.numel() for p in group] for group in _chunks(parameters)] == [[3, 8], [30], [1]]
    assert _chunks([]) == []
