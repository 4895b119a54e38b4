"""The command line itself: help, exit codes, interruptions, what goes where."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import encoderlab
from encoderlab.cli import app
from encoderlab.config import load
from encoderlab.study import prepare
from fixtures_cli import TRAIN, command, folder  # noqa: F401  (a fixture)


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = """
import sys, time
from encoderlab.cli import app as cli
try:
    cli.main(["--help"])
except SystemExit as stop:
    heavy = {"torch", "transformers", "datasets", "sklearn", "pydantic", "numpy", "rich"} & set(sys.modules)
    sys.exit(f"{heavy=} {time.process_time()=}" if heavy or stop.code or time.process_time() > 0.5 else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(
        name in done.stdout for name in ("compare", "train", "check", "evaluate", "predict", "inspect", "export")
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        app.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"encoderlab {encoderlab.__version__}\n"


def test_check_shows_the_study_and_its_cost(folder: Path) -> None:
    done = command("check", "study.toml", "--time", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for shown in (
        "tiny: ",
        "label neg",
        "rows truncated",
        "good film",
        "lora",
        "0.001",
        "0 trials, 2 runs, 2 baselines",
    ):
        assert shown in done.stdout
    assert "warning: data.test is the same data as data.train" in done.stdout
    assert "whole study" in done.stdout and "MB" in done.stdout
    assert not (folder / "out").exists()


def test_check_json_counts_what_trains(folder: Path) -> None:
    done = command("check", "study.toml", "--json", "-s", "method.lora.rank=[2, 4]", cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # 2 layers, query and value, A and B of 32 x rank each; the head is 32 x 2 + 2 and the fresh pooler 32 x 32 + 32
    adapters = {one["label"]: one["adapter"] for one in report["variants"]}
    assert adapters == {"lora rank=2": 512, "lora rank=4": 1024, "head": 0}
    assert report["splits"]["test"]["labels"] == {"neg": 16, "pos": 16}
    assert report["runs"] == {"trials": 0, "runs": 3, "baselines": 2}
    assert report["expected"] is None


def test_usage_errors_exit_2(folder: Path) -> None:
    for arguments in (("compare",), ("compare", "study.toml", "--nonsense"), ("nonsense",)):
        done = command(*arguments, cwd=folder)
        assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error, code, said",
    [
        (KeyboardInterrupt(), 130, "encoderlab: interrupted; run the same command again to resume"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x/y"),
            1,
            "encoderlab: x/y: No space left on device; finished",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x/y"), 1, "encoderlab: x/y: Permission denied; finished"),
        (OSError(errno.EIO, "Input/output error", "x/y"), 1, "encoderlab: x/y: Input/output error"),
        (ConnectionError("no route to hub\nmore"), 1, "encoderlab: no route to hub"),
        (TimeoutError(), 1, "encoderlab: TimeoutError"),
    ],
)
def test_interruptions_are_one_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from encoderlab.study import compare

    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(compare, "compare", stop)
    with pytest.raises(SystemExit) as exit:
        app.main(["compare", "study.toml"])
    assert exit.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said) and line.endswith((said, "run the same command again to resume"))


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_reader_that_left_is_no_error(size: int) -> None:
    """As in `encoderlab ... | head -1`: what is printed fits in a buffer, or does not."""
    code = f"""
from encoderlab.cli import app as cli
@cli.app.command()
def much():
    print("x" * {size})
cli.main(["much"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


def test_libraries_do_not_talk_about_the_network() -> None:
    code = """
import logging
from encoderlab.cli import app as cli
try:
    cli.main(["check", "absent.toml"])
except SystemExit:
    import huggingface_hub  # sets the level of its own logger
    for name in ("huggingface_hub.utils._http", "httpx", "urllib3.connectionpool"):
        logging.getLogger(name).warning("retrying")
"""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_VERBOSITY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr.splitlines() == ["encoderlab: absent.toml: no such file"]


def test_compare_and_train_hear_of_what_truncation_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(folder / "cache"))
    (folder / "long.csv").write_text(TRAIN.replace("good film", "good film " * 9))
    _, _, warnings = prepare.prepare(load.load(folder / "study.toml", ["data.train=long.csv"]))
    line = next(line for line in warnings if "longer than" in line)
    assert line.startswith("data.train: ") and "train.max_length = 16" in line and "of the tokens are lost" in line
