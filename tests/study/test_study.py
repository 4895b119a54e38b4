"""A whole study through the real command: killed, gone on with, failed, and a disk that fills up."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.results.columns import COLUMNS
from encoderlab.study import compare
from fixtures_study import Write, metrics, mounted, write_study  # noqa: F401  (a fixture)

THREE = '[[method]]\nname = "full"\n[[method]]\nname = "lora"\nrank = [2, 4]\n[[method]]\nname = "head"\n'


@pytest.fixture
def command(tmp_path: Path) -> Callable[[Path], list[str]]:
    return lambda path: [sys.executable, "-m", "encoderlab", "compare", str(path)]


def test_a_study_gives_its_table_its_page_and_repeats_nothing(write_study: Write) -> None:
    path = write_study("whole", THREE)
    page = compare.compare(path)
    out = path.parent / "out"
    assert page == out / "report.html" and page.is_file()
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*COLUMNS, "balanced_accuracy", "brier", "ece")  # extra metrics follow behind all others
    variants = {"majority", "untrained", "full", "lora rank=2", "lora rank=4", "head"}
    assert {row["variant"] for row in rows} == variants
    assert len(rows) == 2 * (1 + 2 + 2 * 4)  # splits x (majority, untrained and four variants with two seeds)
    for row in rows:
        assert row["rows"] == ("40" if row["split"] == "test" else "9")
        assert math.isfinite(float(row["loss"]))

    kept = read_json(out / "study.json")
    results = [read_json(out / "runs" / i / "result.json") for i in kept["runs"]]
    for entry in kept["search"]:
        tried, raced = entry["candidates"], entry["race"]
        rates = [c["learning_rate"] for c in tried]
        assert 3 <= len(tried) <= 5 and rates == sorted(rates)
        assert all(b / a == pytest.approx(3, rel=0.02) for a, b in pairwise(rates))
        ranked = sorted(tried, key=lambda c: (-c["accuracy"], c["loss"]))
        assert entry["edge"] == (ranked[0]["learning_rate"] in (rates[0], rates[-1]))
        assert len(tried) == 5 or not entry["edge"]  # it goes on beyond the edge while it may
        assert {c["learning_rate"] for c in raced} == {c["learning_rate"] for c in ranked[:2]}
        winner = max(raced, key=lambda c: (c["accuracy"], -c["loss"]))
        assert entry["chosen"] == winner["learning_rate"] and winner["run"] in kept["runs"]
        assert not {c["run"] for c in raced if c is not winner} & set(kept["runs"])
        of_variant = [r for r in results if r["kind"] == "run" and r["variant"] == entry["variant"]]
        chosen = {r["learning_rate"] for r in of_variant}
        assert chosen == {entry["chosen"]}
        for candidate in entry["candidates"]:  # the test rows are looked at once, and not here
            assert set(read_json(out / "runs" / candidate["run"] / "result.json")["splits"]) == {"validation"}

    before = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}
    compare.compare(path)
    assert {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")} == before
    compare.compare(path, ["seeds=[0, 1, 2]"])
    after = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}
    assert before.items() < after.items() and len(after) - len(before) == 5  # untrained and four variants, seed 2
    assert not list(out.glob("runs/*/checkpoint"))


@pytest.mark.slow
def test_kill_9_in_the_middle_and_the_same_command_again(
    write_study: Write, command: Callable[[Path], list[str]]
) -> None:
    """results.csv equals an uninterrupted run's in every metric, to the bit; what was finished is not done again."""
    undisturbed = write_study("undisturbed", THREE)
    environment = {**os.environ, "ENCODERLAB_CACHE": str(undisturbed.parent / "cache")}
    subprocess.run(command(undisturbed), check=True, env=environment, capture_output=True)
    path = write_study("killed", THREE)
    out = path.parent / "out"
    process = subprocess.Popen(command(path), env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    # a later run is under way and has a checkpoint: earlier ones are finished, this one is not
    while len(list(out.glob("runs/*/result.json"))) < 8 or not list(out.glob("runs/*/checkpoint/epoch-*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}
    assert 8 <= len(finished) < 25 and not (out / "results.csv").exists()
    subprocess.run(command(path), check=True, env=environment, capture_output=True)
    assert metrics(out) == metrics(undisturbed.parent / "out")
    assert finished.items() <= {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}.items()


def test_a_run_that_fails_is_reported_and_the_study_goes_on(write_study: Write) -> None:
    more = '[[method]]\nname = "full"\nlearning_rate = 1e30\n[[method]]\nname = "lora"\nlearning_rate = 1e-3\n'
    path = write_study("failing", more, seeds="[0]")
    compare.compare(path, ["search.candidates=1"])
    out = path.parent / "out"
    by_method = {r["method"]: r for r in map(read_json, out.glob("runs/*/result.json"))}
    assert by_method["full"]["status"] == "failed" and "not finite at step" in by_method["full"]["reason"]
    assert by_method["lora"]["status"] == "done"
    assert "not finite" in (out / "report.html").read_text(encoding="utf-8")
    accuracy = {row["variant"]: row["accuracy"] for row in metrics(out) if row["split"] == "test"}
    assert accuracy["full"] == "" and accuracy["lora"]


@pytest.mark.slow
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(
    write_study: Write, command: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    if not mounted(disk, "700k"):
        pytest.skip("mounting a small file system needs root")
    try:
        path = write_study("small", '[[method]]\nname = "full"\n', seeds="[0]")
        words = [*command(path), "-s", f"out={disk / 'out'}", "-s", "search.candidates=1"]
        full = subprocess.run(words, capture_output=True, text=True, check=False)
        assert full.returncode == 2, full.stderr
        last = full.stderr.strip().splitlines()[-1]
        assert "the disk is full" in last and "checkpoint" in last and "same command again" in last
        assert "Traceback" not in full.stderr
        assert len(list(disk.glob("out/runs/*/result.json"))) == 2  # the baselines are kept
        assert not list(disk.glob("out/runs/*/checkpoint/.*"))  # and nothing half-written
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        subprocess.run(words, check=True, capture_output=True)
        assert (disk / "out" / "report.html").is_file()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_wrong_input_stops_before_anything_is_trained(write_study: Write) -> None:
    path = write_study("wrong", '[[method]]\nname = "lora"\nrank = 64\n')
    with pytest.raises(InputError, match="rank"):
        compare.compare(path)
    assert not (path.parent / "out").exists()


def test_what_changes_the_numbers_changes_the_id(write_study: Write) -> None:
    path = write_study("ids", '[[method]]\nname = "lora"\nlearning_rate = 1e-3\n', seeds="[0]", epochs=1)
    ids = set()
    lora = ["method.lora.alpha=3", "method.lora.learning_rate=2e-3"]
    for override in ["seeds=[0]", "seeds=[1]", "train.batch_size=4", *lora]:
        compare.compare(path, ["search.candidates=1", override])
        results = map(read_json, (path.parent / "out").glob("runs/*/result.json"))
        ids.add(frozenset(r["id"] for r in results if r["method"] == "lora"))
    assert len(ids) == 5 and len(max(ids, key=len)) == 5
