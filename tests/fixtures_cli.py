"""A small study, and the command line run on it without a process of its own."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from encoderlab.cli import app

TRAIN = "text,label\n" + "".join(
    f"{text},{label}\n"
    for text, label in [
        ("good film", "pos"),
        ("bad film", "neg"),
        ("very good plot", "pos"),
        ("not good acting", "neg"),
    ]
    for _ in range(8)
)
STUDY = """
model = "{model}"
name = "tiny"
out = "out"
seeds = [0]
[data]
train = "train.csv"
test = "train.csv"
[train]
epochs = 1
max_length = 16
[search]
candidates = 1
[[method]]
name = "lora"
rank = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "train.csv").write_text(TRAIN)
    (folder / "study.toml").write_text(STUDY.format(model=tiny_model("bert")))
    return folder


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What the command line does with these arguments, without the seconds that a process of its own takes to start."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("ENCODERLAB_CACHE", str(cwd / "cache"))
        with pytest.raises(SystemExit) as stop:
            app.main(arguments)
    return subprocess.CompletedProcess(arguments, int(stop.value.code or 0), out.getvalue(), err.getvalue())
