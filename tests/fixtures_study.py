"""What several test files share with `test_study`."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

NOT_METRICS = ("train_seconds", "peak_memory_mb", "inference_ms_per_example")
WORDS = "good bad film the a was not very plot acting and".split()


def write_rows(path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(count):
            words = [str(w) for w in rng.choice(WORDS, size=rng.integers(2, 12))]
            writer.writerow([" ".join(words), "pos" if words.count("good") >= words.count("bad") else "neg"])


Write = Callable[..., Path]


def study_in(
    folder: Path,
    model: Path,
    more: str = "",
    *,
    seeds: str = "[0, 1]",
    epochs: int = 3,
    train: str = "",
    search: str = "epochs = 1",
) -> Path:
    """folder/study.toml and its rows. train, search: more keys of these sections; more: TOML at the end."""
    folder.mkdir()
    write_rows(folder / "train.csv", 90, 1)
    write_rows(folder / "test.csv", 40, 2)
    path = folder / "study.toml"
    path.write_text(
        f"""
model = {json.dumps(str(model))}
seeds = {seeds}
out = "out"
[task]
kind = "classification"
[data]
train = "train.csv"
test = "test.csv"
[train]
epochs = {epochs}
batch_size = 8
max_length = 32
{train}
[search]
rows = 40
{search}
{more}""",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def write_study(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Write:
    """write_study(name, more TOML, ...) -> the path of `study_in`."""
    return lambda name, *more, **others: study_in(tmp_path / name, tiny_model("bert"), *more, **others)


def metrics(out: Path) -> list[dict[str, str]]:
    """results.csv without times and memory."""
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k not in NOT_METRICS} for row in csv.DictReader(file)]


def mounted(folder: Path, size: str) -> bool:
    """A small file system of its own at `folder`, where this user may mount one."""
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"):
        return False
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
