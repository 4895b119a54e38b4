"""`check --time`: what a run will do is what is timed, frozen layers once for all runs included."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoderlab.study import estimate
from encoderlab.study.progress import Work
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)

LAST = '[[method]]\nname = "lora"\nrank = 2\nlayers = "last"\n'
SEVERAL = LAST + '[[method]]\nname = "lora"\nrank = 1\nlayers = "last"\n[[method]]\nname = "head"\n'


def speeds(path: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> dict[str, estimate._Speed]:
    found: dict[str, estimate._Speed] = {}
    real = estimate._measure

    def measure(study, context, variant):
        found[variant.label] = real(study, context, variant)
        return found[variant.label]

    with monkeypatch.context() as patch:
        # A private name: the estimate adds up the measured parts, and only `_measure` has them one by one.
        patch.setattr(estimate, "_measure", measure)
        estimate.estimate(path, overrides)
    return found


def test_frozen_layers_count_once(write_study: Write, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    path = write_study("frozen", SEVERAL + '[[method]]\nname = "full"\n')
    one, two, head, full = speeds(path, monkeypatch).values()
    assert one.states > 0 and head.states > 0 and full.states == 0
    assert one.frozen == two.frozen != head.frozen and full.frozen is None
    assert all(speed.frozen is None for speed in speeds(path, monkeypatch, "train.trunk_cache=0").values())
    assert not (path.parent / "out").exists()


def test_states_are_added_to_the_first_variant_that_has_them(
    write_study: Write,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_study("added", SEVERAL)
    trunks = iter(["a", "a", "b"])

    def measure(*_):
        return estimate._Speed(load=0, trained=0, forward=0, memory_mb=1.0, frozen=next(trunks), states=100.0)

    # A private name: measured seconds differ in every run, and the sums below need known ones.
    monkeypatch.setattr(estimate, "_measure", measure)
    found = estimate.estimate(path)
    seconds = {cost.label: cost.seconds for cost in found.costs}
    assert seconds == {
        "majority": 0,
        "untrained": 0,
        "lora rank=2": 100.0,
        "lora rank=1": 0,
        "head": 100.0,
    }
    assert found.seconds == 200.0


def test_seconds_of_a_run() -> None:
    speed = estimate._Speed(load=1.0, trained=0.1, forward=0.01, memory_mb=None, frozen=None, states=0.0)
    assert speed.seconds(Work(group="a", title="", trained=100, forward=1000)) == pytest.approx(2 + 10 + 10)
    assert speed.seconds(Work(group="a", title="", trained=0, forward=1000)) == pytest.approx(1 + 10)
