"""One process at a time in a folder: two real processes, kill -9, a file system without locks."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from encoderlab.brain.encoding.embed import own
from encoderlab.core import locks
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json, remove_parts
from encoderlab.study import compare
from encoderlab.training import run
from encoderlab.training.run import execute
from encoderlab.training.run_context import Job, RunContext
from encoderlab.training.run_record import RunRecord
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)

ONE = '[[method]]\nname = "head"\nlearning_rate = 1e-3\n'
QUICK = ["search.candidates=1", "seeds=[0]", "train.epochs=1"]
HOLDER = """
import sys, time
from pathlib import Path
from encoderlab.core import locks
sys.argv = ["encoderlab", "compare", "other.toml"]
with locks.hold(Path(sys.stdin.readline().strip()), advice=""):
    print("held", flush=True)
    time.sleep(120)
"""

Holder = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def holder() -> Iterator[Holder]:
    """holder(folder): a process that holds the folder until it is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdin and process.stdout
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_second_says_who_holds_the_folder_since_when_and_what_to_do(holder: Holder, tmp_path: Path) -> None:
    process = holder(tmp_path / "out")
    with pytest.raises(InputError) as caught, locks.hold(tmp_path / "out", advice="wait for it"):
        pass
    line = str(caught.value)
    who = (
        rf"`encoderlab compare other.toml` \(process {process.pid} on \S+, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\S+\)"
    )
    assert re.fullmatch(rf"{re.escape(str(tmp_path / 'out'))}: in use by {who}; wait for it", line)
    assert caught.value.exit_code == 2


def test_a_lock_dies_with_its_process_and_leaves_nothing(holder: Holder, tmp_path: Path) -> None:
    process = holder(tmp_path)
    started = time.monotonic()
    with pytest.raises(InputError), locks.hold(tmp_path, advice="", wait=0.3):
        pass
    assert time.monotonic() - started >= 0.3
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / locks.NAME).exists()  # of the dead one; it locks nothing
    with locks.hold(tmp_path, advice=""):
        said = read_json(tmp_path / locks.NAME)
        assert said["process"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_many_processes_are_in_the_folder_one_after_the_other(tmp_path: Path) -> None:
    """Each adds one to a number, reading and writing it apart; none is lost, though lock files come and go."""
    script = """
import sys, time
from pathlib import Path
from encoderlab.core import locks
out = Path(sys.argv[1])
for _ in range(40):
    with locks.hold(out, advice="", wait=60):
        number = int((out / "n").read_text()) if (out / "n").exists() else 0
        time.sleep(0.001)
        (out / "n").write_text(str(number + 1))
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    several = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in several:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert (tmp_path / "n").read_text() == "160"


def test_what_a_killed_process_left_half_written_is_removed_by_the_next(tmp_path: Path) -> None:
    inner = tmp_path / "predictions"
    others = tmp_path / "runs" / "another"
    for folder in (inner, others):
        folder.mkdir(parents=True)
    left = [folder / ".result.json.4242.part" for folder in (tmp_path, inner, others)]
    for path in left:
        path.write_text("half")
    kept = tmp_path / "part"
    kept.touch()
    with locks.hold(tmp_path, advice="", inner=("predictions",)):
        assert [path.exists() for path in left] == [False, False, True]  # the last belongs to another holder
    assert kept.exists()


def test_what_is_left_in_a_shared_cache_is_removed_when_it_is_old(tmp_path: Path) -> None:
    young, old = tmp_path / ".a.1.part", tmp_path / ".b.2.part"
    for path in (young, old):
        path.touch()
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    remove_parts(tmp_path, older=24 * 3600)
    assert young.exists() and not old.exists()


def test_two_commands_on_one_study(write_study: Write, holder: Holder) -> None:  # noqa: F811
    path = write_study("study", ONE)
    out = path.parent / "out"
    process = holder(out)
    words = [sys.executable, "-m", "encoderlab", "compare", str(path), "-s", "search.candidates=1"]
    second = subprocess.run(words, capture_output=True, text=True, check=False)
    assert second.returncode == 2 and second.stdout == ""
    (line,) = (line for line in second.stderr.splitlines() if line.startswith("encoderlab:"))
    assert f"process {process.pid} on" in line and "-s out=FOLDER" in line
    assert not (out / "study.json").exists() and not (out / "runs").exists()


def test_a_run_that_another_process_does_is_not_done_twice(
    write_study: Write,  # noqa: F811
    holder: Holder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_study("study", ONE)
    out = path.parent / "out"
    folders: list[Path] = []

    def seen(context: RunContext, job: Job, *rest: Any, **more: Any) -> RunRecord:
        record = execute(context, job, *rest, **more)
        folders.append(context.folder / record.id)
        return record

    monkeypatch.setattr(run, "execute", seen)
    compare.compare(path, QUICK)
    last = folders[-1]
    (last / "result.json").unlink()
    holder(last)
    with pytest.raises(
        InputError, match=rf"{last.name}: in use by .*; that process is training this run; run the same command again"
    ):
        compare.compare(path, QUICK)
    assert not (last / "result.json").exists() and (out / "report.html").exists()


def refuse(file: int, how: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_file_system_without_locks_lends_none_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    # A private name: the warning comes once per device and process, and another test may have had it.
    monkeypatch.setattr(locks, "_warned", set())
    for folder in (tmp_path / "one", tmp_path / "two"):
        with locks.hold(folder, advice=""):
            pass
    (record,) = caplog.records
    assert "no locks" in record.getMessage()


def test_who_gets_no_lock_leaves_the_holders_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of locks may be full for one process and not for the next."""

    with locks.hold(tmp_path, advice=""):
        with monkeypatch.context() as patch:
            patch.setattr(locks.fcntl, "flock", refuse)
            with locks.hold(tmp_path, advice=""):
                pass
        with pytest.raises(InputError, match="in use by"), locks.hold(tmp_path, advice=""):
            pass


def test_a_lock_that_cannot_be_signed_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, said: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(locks.os, "write", full)
        with pytest.raises(InputError, match="the disk is full"), locks.hold(tmp_path, advice=""):
            pass
    with locks.hold(tmp_path, advice=""):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), locks.hold(tmp_path / "file" / "out", advice=""):
        pass


def test_an_encoding_study_owns_its_folder(holder: Holder, tmp_path: Path) -> None:
    class OnlyOut:
        out = tmp_path / "encoding"

    holder(OnlyOut.out)
    with pytest.raises(InputError, match="in use by"), own(OnlyOut()):  # type: ignore[arg-type]
        pass
