"""A regression head that predicts in another unit than the labels is found by its predictions and reinitialized."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine import head_units
from encoderlab.inference.export import export
from encoderlab.model.encoder import EncoderModel
from encoderlab.study import check
from encoderlab.study.compare import compare
from encoderlab.tasks.regression import Regression
from fixtures_heads import NUMBER, SEQUENCE, checkpoint, loaded, named, results, study

SAME = "model: the checkpoint's own head is used: it predicts 'score', in the unit of the labels"


def said_by(path: Path) -> list[str]:
    return [line for line in check.check(path).warnings if line.startswith("model:")]


def test_the_next_study_in_another_unit_starts_from_a_new_head(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "cache"))
    compare(study(tmp_path / "first", tiny_model("bert"), NUMBER, method="full"))
    merged = tmp_path / "merged"
    export(tmp_path / "first" / "out" / "runs" / results(tmp_path / "first")["full"]["id"], "merged", merged)
    assert said_by(study(tmp_path / "same", merged, NUMBER)) == [SAME]
    other = study(tmp_path / "other", merged, NUMBER, unit=0.4, centre=4.5)
    (note,) = said_by(other)
    assert "does not predict in the unit of the labels" in note and note.endswith("its last layer is newly initialized")
    compare(other)
    after = {name: one["splits"]["test"]["mse"] for name, one in results(tmp_path / "other").items()}
    assert after["untrained"] < 5.5**2 and after["lora"] < 5.5**2  # a fresh head answers about 0, or near the labels
    assert json.loads((tmp_path / "other" / "out" / "study.json").read_text())["warnings"][:1] == [note]


def tokenized(made: EncoderModel, labels: np.ndarray) -> tuple[Regression, TokenizedRows]:
    task = Regression(text="text", label="score")
    texts = [f"{'very ' * (i % 5)}good {'film' if i % 2 else 'plot'}" for i in range(len(labels))]
    rows = Rows({"text": texts, "score": labels.tolist()}, "rows", np.arange(len(labels)))
    return task, task.tokenize(rows, made.tokenizer, 16, ["score"])


@pytest.mark.parametrize("names", [["score"], ["LABEL_0"]])
@pytest.mark.parametrize(
    ("unit", "shift", "becomes"),
    [
        (1.0, 0.0, "kept"),
        (1.0, 0.5, "kept"),
        (1.0, 2.0, "doubtful"),
        (1.0, 100.0, "anew"),
        (0.01, 0.0, "anew"),
        (1e-9, 0.0, "anew"),
        (1e9, 1e12, "anew"),
    ],
)
def test_what_the_answers_are_held_to(
    unit: float, shift: float, becomes: str, names: list[str], tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """Labels are the head's own answers in another unit, moved by `shift` standard deviations."""
    made = loaded(checkpoint(tiny_model("bert"), tmp_path, SEQUENCE, 1, **named(*names)), SEQUENCE, ["score"])
    with torch.no_grad():
        made.model.get_submodule(made.output_layer()).weight.mul_(10)
    task, first = tokenized(made, np.arange(60.0))
    own = np.empty(60)
    order = np.arange(60)
    own[order] = head_units._answers(made, first, order)
    labels = unit * (own + shift * own.std())
    task, train = tokenized(made, labels)
    settled, anew = head_units.settle(made, task, train)
    if becomes == "anew":
        assert anew in settled.notes and not any("own head is used" in line for line in settled.notes)
        assert f"{made.output_layer()}.weight" in settled.newly_initialized
        assert settled.fingerprint == made.fingerprint and settled.head_fingerprint != made.head_fingerprint
    else:
        assert (
            not anew
            and settled.newly_initialized == made.newly_initialized
            and settled.head_fingerprint == made.head_fingerprint
        )
        assert any("may predict in another unit" in line for line in settled.notes) == (becomes == "doubtful")
