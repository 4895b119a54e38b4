"""Experiment trackers: TensorBoard's own files read back, and what goes wrong with a tracker."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.tracking import TensorBoardTracker

from encoderlab.core.errors import InputError
from encoderlab.methods.lora import Lora
from encoderlab.study import compare, train
from encoderlab.training.settings import Train
from encoderlab.training.trackers import Tracking
from fixtures_checkpoint import Killed
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)
from fixtures_training import Build, build  # noqa: F401  (a fixture)

ONE = '[[method]]\nname = "lora"\nlearning_rate = 1e-3\n'
QUICK = ["search.candidates=1", "seeds=[0]", "train.epochs=2"]
TRACKED = 'track=["tensorboard"]'


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """{name: {step: value}} of an event folder, as TensorBoard itself reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        points = events.Scalars(name)
        found[name] = {point.step: point.value for point in points}
        assert len(found[name]) == len(points), f"{name}: a step occurs twice"
    return found


def lines(folder: Path, event: str) -> list[dict[str, Any]]:
    every = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in every if line["event"] == event]


def test_tensorboard_has_the_numbers_of_the_log_and_the_run_stays_itself(write_study: Write) -> None:  # noqa: F811
    path = write_study("study", ONE)
    run = train.train(path, [*QUICK, TRACKED], label="lora", seed=None, learning_rate=None)
    assert run is not None
    (place,) = (path.parent / "out" / "tensorboard").iterdir()
    assert place.name == f"lora seed 0 {run.name}"
    found = scalars(place)
    for name in ("loss", "learning_rate", "grad_norm"):
        wanted = {line["step"]: line[name] for line in lines(run, "step")}
        assert found[name] == pytest.approx(wanted, rel=1e-6) and len(wanted) > 10
    epochs = {line["step"]: line["validation"]["accuracy"] for line in lines(run, "epoch")}
    assert found["validation/accuracy"] == pytest.approx(epochs) and len(epochs) == 2
    assert train.train(path, QUICK, label="lora", seed=None, learning_rate=None) == run


@pytest.fixture
def tracked(build: Build, tmp_path: Path) -> Callable[..., Any]:  # noqa: F811
    tracking = Tracking(names=("tensorboard",), project="p", title="lora", number="0", folder=tmp_path / "out")
    settings = Train(epochs=3, batch_size=8)
    return lambda **more: build(Lora(), settings=settings, tracking=tracking, **more)


def test_a_run_that_goes_on_tells_no_step_twice(tracked: Callable[..., Any], tmp_path: Path) -> None:
    steps = 0

    def on_progress(tokens: int, loss: float | None) -> None:
        nonlocal steps
        steps += loss is not None
        if steps == 8:  # in the second epoch of five steps each
            raise Killed

    with pytest.raises(Killed):
        tracked(on_progress=on_progress).run()
    tracked().run()
    found = scalars(tmp_path / "out" / "tensorboard" / "lora 0")
    assert sorted(found["loss"]) == list(range(1, 16)) and sorted(found["train_loss"]) == [5, 10, 15]


def test_a_tracker_that_fails_costs_a_warning_and_nothing_else(
    tracked: Callable[..., Any],
    build: Build,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = build(Lora(), folder="plain", settings=Train(epochs=3, batch_size=8)).run()

    def lost(self: TensorBoardTracker, values: dict[str, float], step: int | None = None) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(TensorBoardTracker, "log", lost)
    got = tracked().run()
    assert got.warnings == ["tensorboard received nothing after step 0 (no route to host)"]
    assert all(torch.equal(tensor, got.tensors[name]) for name, tensor in wanted.tensors.items())


def test_a_tracker_that_cannot_start_is_one_line(tracked: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="track: tensorboard cannot start") as caught:
        tracked().run()
    assert "\n" not in str(caught.value)


def test_a_tracker_that_is_not_installed_stops_the_study_before_anything(write_study: Write) -> None:  # noqa: F811
    name = next((name for name in ("trackio", "mlflow", "wandb") if find_spec(name) is None), None)
    if name is None:
        pytest.skip("every tracker is installed")
    path = write_study("study", ONE)
    with pytest.raises(InputError, match=rf"track: {name} is not installed; pip install {name}"):
        compare.compare(path, [*QUICK, f'track=["{name}"]'])
    assert not (path.parent / "out").exists()
    with pytest.raises(InputError, match='expected a list of "tensorboard" or .*, got ..tensorbord'):
        compare.compare(path, [*QUICK, 'track=["tensorbord"]'])
