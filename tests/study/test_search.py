"""`[search] trials`: settings sampled and pruned on validation, the same ones whatever was killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.launch.queue import Queue
from encoderlab.study import compare
from encoderlab.training import run as training_run
from fixtures_launch import environment, start, until, write_study  # noqa: F401  (fixtures)
from fixtures_study import WORDS, Write, metrics, write_rows

LORA = """[[method]]
name = "lora"
rank = { low = 1, high = 8, log = true }
target = { choices = [["query"], ["value"]] }
learning_rate = { low = 1e-4, high = 1e-1 }
"""
WIDE = '[[method]]\nname = "head"\nlearning_rate = { low = 1e-3, high = 1.0 }\n'


def search(path: Path) -> list[dict[str, Any]]:
    return read_json(path.parent / "out" / "study.json")["search"]


def write_balanced(path: Path, count: int) -> None:
    rng = np.random.default_rng(4)
    lines = []
    for label in ("pos", "neg") * (count // 2):
        words = [str(word) for word in rng.choice(WORDS[2:], size=rng.integers(2, 6))]
        words.insert(int(rng.integers(len(words))), {"pos": "good", "neg": "bad"}[label])
        lines.append(f"{' '.join(words)},{label}\n")
    path.write_text("text,label\n" + "".join(lines), encoding="utf-8")


@pytest.fixture
def write_search(write_study: Write) -> Write:  # noqa: F811
    """write_search(name, trials) -> a study in which settings matter: more rows, half of them for validation, and both
    labels as frequent."""

    def write(name: str, trials: int) -> Path:
        path = write_study(name, LORA + WIDE, seeds="[0]", search=f"trials = {trials}")
        write_balanced(path.parent / "train.csv", 300)
        text = path.read_text().replace("rows = 40", "rows = 120")
        path.write_text(text.replace("[data]", "[data]\nvalidation = { fraction = 0.5 }"))
        return path

    return write


def without_runs(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was tried and found, without the ids, into which the test rows go."""
    return [{**e, "candidates": [{k: v for k, v in c.items() if k != "run"} for c in e["candidates"]]} for e in entries]


def test_trials_are_sampled_pruned_and_counted_and_the_best_one_is_run(write_search: Write) -> None:
    path = write_search("whole", 16)
    page = compare.compare(path, ["search.epochs=4"])
    entries = search(path)
    assert [e["variant"] for e in entries] == ["lora", "head"]
    for entry in entries:
        tried = entry["candidates"]
        assert entry["trials"] == len(tried) == 16 and len({c["learning_rate"] for c in tried}) > 6
        assert entry["pruned"] == sum(c["status"] == "pruned" for c in tried)
        low, high = {"lora": (1e-4, 1e-1), "head": (1e-3, 1.0)}[entry["variant"]]
        assert all(low <= c["learning_rate"] <= high for c in tried)
        done = [c for c in tried if c["status"] == "done"]
        best = max(done, key=lambda c: (c["accuracy"], -c["loss"]))
        assert (entry["chosen"], entry["chosen_settings"]) == (best["learning_rate"], best["settings"])
    assert sum(entry["pruned"] for entry in entries) > 0
    settings = [c["settings"] for c in entries[0]["candidates"]]
    assert {type(s["rank"]) for s in settings} == {int} and {s["rank"] for s in settings} <= set(range(1, 9))
    assert len({s["rank"] for s in settings}) > 2 and {s["target"][0] for s in settings} == {"query", "value"}
    results = [read_json(p) for p in path.parent.glob("out/runs/*/result.json")]
    (run,) = [r for r in results if (r["kind"], r["variant"]) == ("run", "lora")]
    assert run["learning_rate"] == entries[0]["chosen"]
    assert run["config"]["method"]["rank"] == entries[0]["chosen_settings"]["rank"]
    for result in results:
        if result["status"] == "pruned":
            assert 1 <= result["epochs"] < 4 and "below the median" in result["reason"]
    text = page.read_text(encoding="utf-8")
    assert "16 trials" in text and f"{sum(e['pruned'] for e in entries)} trials were pruned" in text


def test_no_model_sees_a_test_row_before_the_last_choice(write_search: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from encoderlab.training import fit, scoring

    path = write_search("unseen", 6)
    events: list[str] = []
    trained, scored = fit.fit, scoring.score_held_out

    def trains(context: Any, job: Any, *rest: Any) -> Any:
        events.append(job.kind)
        return trained(context, job, *rest)

    def scores(*arguments: Any) -> Any:
        events.append("test")
        return scored(*arguments)

    monkeypatch.setattr(fit, "fit", trains)
    monkeypatch.setattr(scoring, "score_held_out", scores)
    compare.compare(path)
    assert events.count("trial") == 12 and "trial" not in events[events.index("test") :]
    for result in map(read_json, path.parent.glob("out/runs/*/result.json")):
        assert result["kind"] != "trial" or set(result["splits"]) <= {"validation"}

    other = write_search("other", 6)
    write_rows(other.parent / "test.csv", 30, 9)
    compare.compare(other)
    assert without_runs(search(other)) == without_runs(search(path))


@pytest.mark.slow
def test_one_worker_tries_the_same_settings_whether_it_was_stopped_or_not(
    write_search: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_search("undisturbed", 14)
    compare.compare(whole)
    path = write_search("stopped", 14)
    real = training_run.execute
    for stop in (3, 7, 25):
        count = 0

        def stops(*arguments: Any, at: int = stop, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                raise KeyboardInterrupt
            return real(*arguments, **more)

        monkeypatch.setattr(training_run, "execute", stops)
        with pytest.raises(KeyboardInterrupt):
            compare.compare(path)
    monkeypatch.setattr(training_run, "execute", real)
    compare.compare(path)
    assert search(path) == search(whole)
    assert metrics(path.parent / "out") == metrics(whole.parent / "out")


@pytest.mark.slow
def test_twenty_trials_over_two_workers_with_the_command_and_a_worker_killed(
    write_search: Write,
    start: Callable[..., subprocess.Popen],  # noqa: F811
) -> None:
    path = write_search("killed", 20)
    out = path.parent / "out"
    queue = Queue(out / "launch")

    def results() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in out.glob("runs/*/result.json")}

    process = start(path, "--on", "processes")
    until(lambda: len(results()) >= 6 and len(queue.alive()) == 2, process)
    os.kill(next(iter(queue.alive().values())), signal.SIGKILL)
    until(lambda: len(results()) >= 12, process)
    process.kill()
    process.wait()
    for number in list(queue.alive().values())[:1]:
        os.kill(number, signal.SIGKILL)
    finished = results()
    assert 12 <= len(finished) < 40
    assert start(path, "--on", "processes").wait(300) == 0
    assert finished.items() <= results().items()
    for entry in search(path):
        assert entry["trials"] == 20 and entry["failed"] == 0
        assert {c["status"] for c in entry["candidates"]} <= {"done", "pruned"}
        assert len({(c["learning_rate"], str(c["settings"])) for c in entry["candidates"]}) == 20
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("rank = { low = 8, high = 4 }", "method.lora.rank: a range from 8 to 4; expected low below high"),
        ("rank = { low = 1.5, high = 4 }", "method.lora.rank: expected a whole number as the end of a range, got 1.5"),
        ("rank = { low = 1, hi = 4 }", "method.lora.rank: a range has no key hi; did you mean 'high'?"),
        ("rank = { low = 1 }", "method.lora.rank: a range needs low and high, or choices"),
        ("rank = { choices = [1] }", "method.lora.rank.choices: expected a list of two values or more"),
        ("dropout = { low = 0, high = 0.5, log = true }", "method.lora.dropout: a range with log = true starts at 0"),
        ("learning_rate = 1e-3", "method.lora: one learning rate and no range, while the others are searched"),
        ("rank = { low = 1, high = 400 }", "method.lora.*: rank"),
    ],
)
def test_a_range_that_cannot_be_searched(write_study: Write, method: str, line: str) -> None:  # noqa: F811
    path = write_study("wrong", f'[[method]]\nname = "lora"\n{method}\n', search="trials = 4")
    with pytest.raises(InputError, match=line):
        compare.compare(path)


def test_a_range_needs_trials_and_trials_need_optuna(write_study: Write, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    path = write_study("wrong", LORA)
    with pytest.raises(InputError, match="method.lora.rank: a range; it needs search.trials"):
        compare.compare(path)
    monkeypatch.setattr("encoderlab.study.prepare.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"search.trials: needs optuna: pip install 'encoderlab\[sweep\]'"):
        compare.compare(path, ["search.trials=3"])
