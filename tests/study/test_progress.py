"""The time left of a study: tokens still to do, at the speed each variant has shown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from encoderlab.study import progress
from encoderlab.study.progress import TRAINING_COST, Meter, Work
from encoderlab.training.run_record import Kind, RunRecord, Status


def test_time_left_follows_each_variants_own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    fast = Work(group="fast", title="fast", trained=100, forward=60)
    slow = Work(group="slow", title="slow", trained=100, forward=60)
    unseen = Work(group="unseen", title="unseen", trained=10, forward=0)
    meter = Meter([fast, fast, slow, slow, unseen])
    assert math.isnan(meter.seconds_left())
    for work, seconds in ((fast, 1.0), (slow, 10.0)):
        with meter.job(work) as on_progress:
            clock[0] += 0.9 * seconds
            on_progress(100, 0.5)
            clock[0] += 0.1 * seconds
            on_progress(60, None)
    units = 100 * TRAINING_COST + 60
    mean = 11.0 / (2 * units)
    assert meter.seconds_left() == pytest.approx(1.0 + 10.0 + 10 * TRAINING_COST * mean)
    with meter.job(fast):
        pass  # was finished already: nothing ticked, and it leaves the account
    assert meter.seconds_left() == pytest.approx(10.0 + 10 * TRAINING_COST * mean)
    meter.close()


def test_a_trial_that_two_variants_share_is_timed_once() -> None:
    own, shared = (Work(group=group, title="", trained=trained, forward=0) for group, trained in (("a", 10), ("b", 0)))
    meter = Meter([own, shared, Work(group="b", title="", trained=10, forward=0)])
    for work in (own, shared):
        meter.collect(work, 6.0)
    assert meter.seconds_left() == pytest.approx(6.0)
    meter.close()


def test_a_warning_of_a_run_is_said_once_below_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter([])
    kinds = (Kind.TRIAL, ("short",)), (Kind.RUN, ("over-fitting",)), (Kind.RUN, ("over-fitting", "torn"))
    for kind, warnings in kinds:
        record = RunRecord(id="1", status=Status.DONE, kind=kind, method="lora", variant="lora", warnings=warnings)
        meter.say(replace(record, seed=0, learning_rate=1e-3))
    meter.close()
    said = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert [line for line in said if line.startswith("warning")] == ["warning: over-fitting", "warning: torn"]
    assert said[2] == "warning: over-fitting" and len(said) == 5
