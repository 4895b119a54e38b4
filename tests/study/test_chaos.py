"""Whatever happens to a study's process, its folder or its clock, the same command ends with the undisturbed table."""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoderlab.core.files import read_json
from fixtures_chaos import command
from fixtures_checkpoint import cut, flip
from fixtures_study import NOT_METRICS, metrics, mounted, study_in

SIX = '[[method]]\nname = "full"\n[[method]]\nname = "lora"\nrank = 2\n[[method]]\nname = "head"\n'
WORDS = ["-s", "search.candidates=1"]


def table(out: Path) -> list[Any]:
    """results.csv and summary.csv without times and memory."""
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        summary = [{k: v for k, v in row.items() if k not in NOT_METRICS} for row in csv.DictReader(file)]
    return [metrics(out), summary]


class Bench:
    """Copies of one study of six runs; what it gives undisturbed, and how long that takes."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.path, self.cache = path, cache
        self.said = path.parent / "said"
        self.finish(self.start(path))  # fills the caches, which later ones find
        shutil.rmtree(path.parent / "out")
        start = time.monotonic()
        self.finish(self.start(path))
        self.seconds = time.monotonic() - start
        self.wanted = table(path.parent / "out")

    def copy(self, name: str) -> Path:
        folder = self.path.parents[1] / name
        shutil.copytree(self.path.parent, folder, ignore=shutil.ignore_patterns("out"))
        return folder / self.path.name

    def start(self, path: Path, *more: str, clock: float | None = None) -> BaseProcess:
        return command(["compare", str(path), *WORDS, *more], self.cache, self.said, clock=clock)

    def finish(self, process: BaseProcess) -> None:
        process.join(300)
        assert process.exitcode == 0, self.said.read_text()

    def same(self, out: Path) -> bool:
        left = [p for p in out.rglob("*") if p.name in (".lock", "checkpoint") or p.suffix == ".part"]
        return table(out) == self.wanted and (out / "report.html").is_file() and not left


def test_a_half_written_cache_of_a_killed_command_is_removed(bench: Bench) -> None:
    path = bench.copy("half")
    (path.parent / "out" / "trunk").mkdir(parents=True)
    (path.parent / "out" / "trunk" / ".states.npy.1.part").write_bytes(b"half")
    bench.finish(bench.start(path))
    assert bench.same(path.parent / "out")


def test_a_command_that_was_killed_between_a_result_and_its_end(bench: Bench) -> None:
    """The run is done; its lock and what is left of its checkpoint go with the next command."""
    path = bench.copy("between")
    bench.finish(bench.start(path))
    folder = next(p.parent for p in (path.parent / "out").glob("runs/*/adapter"))
    (folder / ".lock").write_text("{}")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / ".best-1.safetensors.1-0.part").write_bytes(b"half")
    done = (folder / "result.json").stat().st_mtime_ns
    bench.finish(bench.start(path))
    assert (folder / "result.json").stat().st_mtime_ns == done
    assert bench.same(path.parent / "out")


@pytest.fixture(scope="module")
def bench(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("chaos")
    return Bench(study_in(folder / "undisturbed", tiny_model("bert"), SIX), folder / "cache")


def kills(bench: Bench, count: int, seed: int) -> None:
    """`count` kills at random moments, each followed by the same command; now and then the newest file that the killed
    one wrote is torn as well, as a power cut may leave it."""
    draw = np.random.default_rng(seed)
    done = studies = torn = 0
    seconds = bench.seconds
    while done < count:
        studies += 1
        begun, whole = time.monotonic(), True
        path = bench.copy(f"study-{studies}")
        out = path.parent / "out"
        while True:
            process = bench.start(path)
            process.join(draw.uniform(0, seconds))
            if process.exitcode is None and done < count:
                process.kill()
            process.join(300)
            if process.exitcode == 0:
                break
            assert process.exitcode == -9, bench.said.read_text()
            whole = False
            done += 1
            written = [*out.glob("runs/*/checkpoint/*.safetensors"), *out.glob("runs/*/predictions/*.safetensors")]
            if written and draw.random() < 0.5:
                (cut, flip)[draw.integers(2)](max(written, key=lambda p: p.stat().st_mtime_ns), draw)
                torn += 1
        assert bench.same(out), (studies, done)
        if whole:  # it ended before it was to be killed: the machine has become faster
            seconds = min(seconds, time.monotonic() - begun)
    assert torn > 0 or count < 40


def test_kills_at_random_moments(bench: Bench) -> None:
    kills(bench, 8, seed=1)


@pytest.mark.slow
def test_forty_kills_at_random_moments(bench: Bench) -> None:
    kills(bench, 40, seed=2)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    if not mounted(folder, "20m"):
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(disk: Path, how: str) -> bool:
    return (
        subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], capture_output=True, check=False).returncode == 0
    )


def lines(bench: Bench) -> list[str]:
    """What was said since the last look; never a traceback."""
    said = bench.said.read_text().splitlines()
    bench.said.write_text("")
    assert not any("Traceback" in line for line in said)
    return said


def test_a_folder_that_becomes_read_only(bench: Bench, disk: Path) -> None:
    """After a kill: one line, exit 2, nothing touched; and the same command ends the study when it can write again."""
    out = disk / "out"
    process = bench.start(bench.path, "-s", f"out={out}")
    while len(list(out.glob("runs/*/result.json"))) < 3:
        assert process.exitcode is None
        time.sleep(0.002)
    process.kill()
    process.join()
    assert remount(disk, "ro")
    held = sorted((p, p.stat().st_mtime_ns) for p in out.rglob("*"))
    lines(bench)
    process = bench.start(bench.path, "-s", f"out={out}")
    process.join(300)
    last = lines(bench)[-1]
    assert process.exitcode == 2 and last.startswith("encoderlab: ")
    assert "cannot write in" in last and "Read-only file system" in last
    assert sorted((p, p.stat().st_mtime_ns) for p in out.rglob("*")) == held
    assert remount(disk, "rw")
    bench.finish(bench.start(bench.path, "-s", f"out={out}"))
    assert bench.same(out)


@pytest.mark.parametrize("size", ["400k", *(pytest.param(s, marks=pytest.mark.slow) for s in ("120k", "650k"))])
def test_a_disk_that_is_full(size: str, bench: Bench, disk: Path) -> None:
    """Wherever the study meets its end; three sizes meet it at three files."""
    out = disk / "out"
    assert remount(disk, f"size={size}")
    lines(bench)
    process = bench.start(bench.path, "-s", f"out={out}")
    process.join(300)
    assert process.exitcode == 2 and "the disk is full" in lines(bench)[-1]
    assert remount(disk, "size=20m")
    bench.finish(bench.start(bench.path, "-s", f"out={out}"))
    assert bench.same(out)


def test_a_clock_that_is_set_back(bench: Bench) -> None:
    """Killed, and gone on with years earlier by the wall clock, which moreover runs backwards."""
    path = bench.copy("earlier")
    out = path.parent / "out"
    process = bench.start(path)
    while not list(out.glob("runs/*/checkpoint/epoch-*.safetensors")):
        assert process.exitcode is None
        time.sleep(0.002)
    process.kill()
    process.join()
    bench.finish(bench.start(path, clock=1_000_000_000.0))
    assert bench.same(out)
    for result in map(read_json, out.glob("runs/*/result.json")):
        assert result["train_seconds"] >= 0 and (result["inference_ms_per_example"] or 0) >= 0
    for place in out.glob("runs/*/metrics.jsonl"):
        assert '"seconds": -' not in place.read_text()
