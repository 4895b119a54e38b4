"""The table that grows while a study runs: its cells, and how it is shown on a terminal, in a log and to nobody."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import pytest

from encoderlab.study import compare
from encoderlab.study.progress import Meter, Work
from encoderlab.study.standings import Standings
from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.training.run_record import Kind, RunRecord, SplitScores, Status
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)


def run(variant: str, seed: int, accuracy: float, seconds: float = 9.0, **others: object) -> RunRecord:
    splits = {name: SplitScores(rows=9, metrics={"accuracy": accuracy}) for name in ("validation", "test")}
    known = {"id": "1", "status": Status.DONE, "kind": Kind.RUN, "method": variant, "splits": splits}
    return RunRecord(**{**known, "variant": variant, "seed": seed, "train_seconds": seconds, **others})  # type: ignore[arg-type]


def words(lines: list[str]) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in lines]


def test_the_cells_say_what_is_known_so_far() -> None:
    table = Standings({"full": 3, "lora": 2, "head": 1}, ACCURACY)
    table.begin("full", "seed 0")
    assert words(table.lines(80, 9)) == [
        ["method", "seeds", "accuracy", "lowest-highest", "train", "now"],
        ["full", "0/3", "seed 0"],
        ["lora", "0/2"],
        ["head", "0/1"],
    ]
    for seed, accuracy in enumerate((0.8, 0.83)):
        assert not table.add(run("full", seed, accuracy, 10.0 + 5 * seed), chooses=False)
    assert words(table.lines(80, 9))[1] == ["full", "2/3", "81.5 %", "80.0-83.0", "12 s"]
    assert table.add(run("full", 2, 0.0, status=Status.FAILED, reason="why"), chooses=False)
    assert words(table.lines(80, 9))[1] == ["full", "2/3", "81.5 %", "80.0-83.0", "12 s", "1 failed"]
    assert words(table.lines(80, 9, complete=True)) == [
        ["method", "seeds", "accuracy", "lowest-highest", "train"],
        ["full", "2/3", "81.5 %", "80.0-83.0", "12 s"],
    ]
    assert not table.complete


def test_runs_that_choose_a_learning_rate_show_no_score() -> None:
    """A run of the race has a test score, which stays closed until the choice is made."""
    table = Standings({"lora": 2}, ACCURACY)
    table.add(run("lora", 0, 0.6, kind=Kind.TRIAL), chooses=True)
    assert words(table.lines(80, 9))[1] == ["lora", "0/2", "1 trial done"]
    table.add(run("lora", 0, 0.987), chooses=True)
    assert words(table.lines(80, 9))[1] == ["lora", "0/2", "2 trials done"]
    table.add(run("lora", 0, 0.9), chooses=False)
    assert words(table.lines(80, 9))[1] == ["lora", "1/2", "90.0 %", "9 s"]


def test_a_table_that_does_not_fit_lists_what_is_under_way_and_the_best() -> None:
    table = Standings({f"lora rank={rank}": 1 for rank in range(20)}, ACCURACY)
    for rank in range(15):
        table.add(run(f"lora rank={rank}", 0, rank / 20), chooses=False)
    table.begin("lora rank=17", "seed 0")
    lines = table.lines(80, 6)
    assert [line[0] for line in words(lines)] == [
        "method", "lora rank=12", "lora rank=13", "lora rank=14", "lora rank=17", "and 16 more"
    ]  # fmt: skip
    assert all(len(line) <= 30 for line in table.lines(30, 6))


class Screen(io.StringIO):
    """A terminal that never scrolls: `shown` is what a person sees."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    @property
    def shown(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[A|[\r\n]|[^\x1b\r\n]+", self.getvalue()):
            if part == "\x1b[A":
                row -= 1
            elif part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            else:
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines]


def terminal(monkeypatch: pytest.MonkeyPatch, height: int = 30) -> Screen:
    """A terminal as stderr. Not a fixture: pytest puts its own stderr back when a test begins."""
    found = Screen()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((100, height)))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    return found


WORK = [Work(group=label, title=f"{label} seed {seed}", trained=10, forward=0) for label in "ab" for seed in (0, 1)]


def opened() -> Meter:
    return Meter(WORK, standings=Standings({"a": 2, "b": 2}, ACCURACY))


def done(meter: Meter, number: int, accuracy: float) -> None:
    with meter.job(WORK[number], f"seed {number % 2}") as on_progress:
        on_progress(10, 0.5)
    meter.say(run(WORK[number].group, number % 2, accuracy))


def test_a_terminal_has_the_table_in_place_below_the_lines_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    meter = opened()
    done(meter, 0, 0.5)
    with meter.job(WORK[1], "seed 1"):
        said = screen.shown
        assert said[0].startswith("1/4  a  seed 0  test accuracy 0.5000")
        assert said[1] == ""
        assert words(said[2:5]) == [
            ["method", "seeds", "accuracy", "lowest-highest", "train", "now"],
            ["a", "1/2", "50.0 %", "9 s", "seed 1"],
            ["b", "0/2"],
        ]
        assert said[5].startswith("run 2/4 a seed 1:   25%|") and not any(said[6:])
    meter.say(run("a", 1, 0.7))
    for number in (2, 3):
        done(meter, number, 0.6)
    assert words(screen.shown[5:8])[1:] == [
        ["a", "2/2", "60.0 %", "50.0-70.0", "9 s"],
        ["b", "2/2", "60.0 %", "60.0-60.0", "9 s"],
    ]
    meter.close()
    assert [line[:3] for line in screen.shown if line] == ["1/4", "2/4", "3/4", "4/4"]


def test_the_table_of_a_study_that_stops_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    meter = opened()
    done(meter, 0, 0.5)
    meter.close()
    assert words([line for line in screen.shown if line])[1:] == [
        ["method", "seeds", "accuracy", "lowest-highest", "train", "now"],
        ["a", "1/2", "50.0 %", "9 s"],
        ["b", "0/2"],
    ]


@pytest.mark.parametrize(
    ("name", "value", "height"),
    [("JPY_PARENT_PID", "1", 30), ("TERM", "dumb", 30), ("TERM", "xterm", 8)],
    ids=["notebook", "dumb", "low"],
)
def test_a_terminal_whose_cursor_cannot_go_up_gets_lines(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, height: int
) -> None:
    screen = terminal(monkeypatch, height)
    monkeypatch.setenv(name, value)
    meter = opened()
    for number in range(4):
        done(meter, number, 0.6)
    meter.close()
    assert "\x1b[A" not in screen.getvalue()
    assert [line.split()[0] for line in screen.shown if line] == ["1/4", "2/4", "method", "a", "3/4", "4/4"]


def test_a_log_gets_the_table_when_a_variant_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    meter = opened()
    for number in range(4):
        done(meter, number, 0.6)
    meter.close()
    lines = capsys.readouterr().err.splitlines()
    assert words(lines[2:4]) == [
        ["method", "seeds", "accuracy", "lowest-highest", "train"],
        ["a", "2/2", "60.0 %", "60.0-60.0", "9 s"],
    ]
    assert [line.split()[0] for line in lines] == ["1/4", "2/4", "method", "a", "3/4", "4/4"]


def test_the_tables_of_a_log_take_no_more_lines_than_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    labels = [f"lora rank={rank}" for rank in range(60)]
    work = [Work(group=label, title=label, trained=10, forward=0) for label in labels]
    meter = Meter(work, standings=Standings(dict.fromkeys(labels, 1), ACCURACY))
    for one in work:
        meter.collect(one, 2.0)
        meter.say(run(one.group, 0, 0.6))
    meter.close()
    lines = capsys.readouterr().err.splitlines()
    tables = [line for line in lines if line.startswith("    ")]
    assert 20 < len(tables) <= 60 and len(lines) == 60 + len(tables)
    assert tables[-1] == "    and 49 more" or re.fullmatch(r"    and \d\d more", tables[-1])


def test_runs_that_were_done_before_bring_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    meter = opened()
    for number, one in enumerate(WORK):
        with meter.job(one):
            pass
        meter.say(run(one.group, number % 2, 0.6))
    meter.close()
    assert [line[:3] for line in capsys.readouterr().err.splitlines()] == ["1/4", "2/4", "3/4", "4/4"]


def test_the_winner_of_a_race_completes_its_variant(capsys: pytest.CaptureFixture[str]) -> None:
    """Its run is there already when it becomes a run of the study, but it was trained since the last table."""
    meter = Meter(WORK, standings=Standings({"a": 1, "b": 2}, ACCURACY))
    for done_before in (False, True):
        with meter.job(WORK[0]) as on_progress:
            if not done_before:
                on_progress(10, 0.5)
        meter.say(run("a", 0, 0.6), validation=not done_before)
    meter.close()
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["1/4", "2/4", "method", "a"]


def test_a_silent_meter_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    meter = Meter(WORK, silent=True, standings=Standings({"a": 2, "b": 2}, ACCURACY))
    done(meter, 0, 0.5)
    meter.close()
    assert screen.getvalue() == ""


METHODS = '[[method]]\nname = "lora"\nrank = 2\n[[method]]\nname = "head"\n'


def test_the_table_of_a_study_and_of_the_study_again(write_study: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the learning rate of a method is open, its runs of the race show no test score."""
    screen = terminal(monkeypatch)
    path = write_study("study", METHODS, search="epochs = 1\ncandidates = 2\nextend = 0", epochs=1)
    seen: dict[str, None] = {}
    write = screen.write

    def watch(text: str) -> int:
        seen.update(dict.fromkeys(part.rstrip() for part in re.split(r"[\r\n]|\x1b\[A", text)))
        return write(text)

    screen.write = watch  # type: ignore[method-assign]
    compare.compare(path)
    rows = [line for line in seen if re.match(r"lora +\d/2 ", line)]
    raced = [line for line in rows if "at full length" in line]
    assert [words([line])[0][:2] for line in rows if "trying rate" in line][:1] == [["lora", "0/2"]]
    assert len(raced) == 2 and not any("%" in line for line in raced)
    final = rows[-1]
    assert re.fullmatch(r"lora +2/2 +\d+\.\d % +\d+\.\d-\d+\.\d( +\d+ s)?", final)

    screen.truncate(0)
    screen.seek(0)
    seen.clear()
    compare.compare(path)  # every run is there
    assert words([line for line in seen if re.match(r"lora +2/2 ", line)])[-1][:4] == words([final])[0][:4]


@pytest.mark.slow
def test_workers_show_the_same_table(write_study: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_study("study", METHODS, search="candidates = 1", epochs=1)
    compare.compare(path, ["launch.on=processes", "launch.workers=2", "launch.threads=1"])
    tables = [line for line in capsys.readouterr().err.splitlines() if line.startswith("    ")]
    assert words(tables)[0] == ["method", "seeds", "accuracy", "lowest-highest", "train"]
    assert {line[0] for line in words(tables)[1:]} <= {"method", "lora", "head", "untrained", "majority"}
