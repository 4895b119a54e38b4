"""Torn checkpoints: the state before is used, else the run starts over, and the numbers are the undisturbed run's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from encoderlab.methods.full import Full
from encoderlab.methods.lora import Lora
from encoderlab.training import checkpoint
from encoderlab.training.loop import Trained
from encoderlab.training.settings import Train
from fixtures_checkpoint import Killed, cut, flip
from fixtures_training import Build, build  # noqa: F401  (a fixture)

SETTINGS = Train(epochs=4, batch_size=8)
RATE = 1e-4  # so small that every epoch is better than the one before


def killed_in_epoch(build: Build, number: int, folder: str) -> None:  # noqa: F811
    steps = 0

    def on_progress(tokens: int, loss: float | None) -> None:
        nonlocal steps
        steps += loss is not None
        if steps == 5 * (number - 1) + 2:
            raise Killed

    with pytest.raises(Killed):
        build(Lora(), folder=folder, settings=SETTINGS, learning_rate=RATE, on_progress=on_progress).run()


def equal(a: Trained, b: Trained) -> bool:
    same = all(torch.equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items())
    losses = [[entry.train_loss for entry in trained.history] for trained in (a, b)]
    return same and losses[0] == losses[1] and a.best_epoch == b.best_epoch


@pytest.fixture
def run(build: Build, tmp_path: Path) -> Callable[[str], Trained]:  # noqa: F811
    return lambda folder: build(Lora(), folder=folder, settings=SETTINGS, learning_rate=RATE).run()


def test_the_last_two_states_are_kept_with_their_best_files(build: Build, tmp_path: Path) -> None:  # noqa: F811
    killed_in_epoch(build, 4, "cut")
    names = sorted(path.name for path in (tmp_path / "cut" / "checkpoint").iterdir())
    assert names == [f"{kind}-{n}.safetensors" for kind in ("best", "epoch") for n in (2, 3)]


@pytest.mark.parametrize("kind", ["epoch", "best"])
def test_the_state_before_stands_in_for_a_torn_one(
    kind: str,
    build: Build,  # noqa: F811
    run: Callable[[str], Trained],
    tmp_path: Path,
) -> None:
    wanted = run("whole")
    assert wanted.best_epoch == 4 and not wanted.warnings
    killed_in_epoch(build, 4, "cut")
    draw = np.random.default_rng(7)
    for number, damage in enumerate([cut, flip]):
        folder = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "cut", folder)
        damage(folder / "checkpoint" / f"{kind}-3.safetensors", draw)
        got = run(folder.name)
        assert equal(got, wanted)
        (said,) = got.warnings
        assert f"checkpoint/{kind}-3.safetensors is damaged" in said and "resumed from the end of epoch 2" in said


def test_a_run_without_a_whole_checkpoint_starts_over_and_says_so(
    build: Build,  # noqa: F811
    run: Callable[[str], Trained],
    tmp_path: Path,
) -> None:
    wanted = run("whole")
    killed_in_epoch(build, 4, "cut")
    draw = np.random.default_rng(8)
    for number in (2, 3):
        cut(tmp_path / "cut" / "checkpoint" / f"epoch-{number}.safetensors", draw)
    got = run("cut")
    assert equal(got, wanted)
    (said,) = got.warnings
    assert "epoch-3.safetensors" in said and "epoch-2.safetensors" in said and said.endswith("started over")


def test_no_byte_of_a_checkpoint_can_change_unnoticed(build: Build, tmp_path: Path) -> None:  # noqa: F811
    """200 places each, anywhere in the file: header, tensors' names, numbers."""
    killed_in_epoch(build, 3, "cut")
    folder = tmp_path / "cut" / "checkpoint"
    path = folder / "epoch-2.safetensors"
    whole = path.read_bytes()
    assert checkpoint.read(folder)[0].epoch == 2
    draw = np.random.default_rng(9)
    for damage in (cut, flip):
        for _ in range(200):
            path.write_bytes(whole)
            damage(path, draw)
            assert checkpoint.read(folder)[0].epoch == 1
    path.write_bytes(whole)
    assert checkpoint.read(folder)[0].epoch == 2


def test_a_state_of_another_version_is_passed_over(build: Build, tmp_path: Path) -> None:  # noqa: F811
    killed_in_epoch(build, 3, "cut")
    folder = tmp_path / "cut" / "checkpoint"
    checkpoint._write(folder / "epoch-3.safetensors", {}, {"epoch": 3, "mood": "good"})
    found = checkpoint.read(folder)[0]
    assert found.epoch == 2 and "epoch-3.safetensors was written by another version" in found.warnings[0]


def test_a_state_restores_moments_of_every_dtype_and_shape(build: Build, tmp_path: Path) -> None:  # noqa: F811
    """Scalars (Adam's step) and bf16 among them."""
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(2.5), "c": torch.ones(3, dtype=torch.bfloat16)}
    trainer = build(Full())
    progress = checkpoint.Progress(epoch=1, step=5, best_epoch=1, best_score=(1.0, 0.5, -0.25))
    checkpoint.save(tmp_path, progress, tensors, {"m": torch.zeros(0)}, trainer.optimizer)
    found, state = checkpoint.read(tmp_path)
    assert found == progress
    empty = {name: torch.full_like(tensor, 9) for name, tensor in tensors.items()}
    checkpoint.restore(state, empty, {"m": torch.zeros(0)}, trainer.optimizer)
    for name, tensor in tensors.items():
        assert torch.equal(empty[name], tensor) and torch.equal(checkpoint.best(tmp_path, found)[name], tensor)
