"""The learning curve of one variant over its seeds, from the metrics.jsonl of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab.training.run_folder import RunFolder

BINS = 30  # of the training loss: a long run's curve is neither noise nor megabytes


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The validation metric after each epoch and the training loss: means over the seeds that reached that epoch."""

    epochs: tuple[float, ...]
    scores: tuple[float, ...]
    loss_epochs: tuple[float, ...]
    loss: tuple[float, ...]


def read_curve(folders: Sequence[RunFolder], key: str) -> Curve | None:
    """Read the curve of the metric `key` from the runs in `folders`. None if no run has finished an epoch."""
    scores: dict[float, list[float]] = {}
    times: list[float] = []
    losses: list[float] = []
    for folder in folders:
        events = _events(folder.metrics_log)
        epochs = [event for event in events if event.get("event") == "epoch"]
        if not epochs:
            continue
        for event in epochs:
            validation: Mapping[str, float | None] = event.get("validation") or {}
            score = validation.get(key)
            if score is not None:
                scores.setdefault(float(event["epoch"]), []).append(score)
        steps_per_epoch = epochs[-1]["step"] / epochs[-1]["epoch"]
        for event in events:
            if event.get("event") == "step" and event.get("loss") is not None:
                times.append(event["step"] / steps_per_epoch)
                losses.append(event["loss"])
    if not scores:
        return None
    at = sorted(scores)
    loss_epochs, loss = _binned(np.array(times), np.array(losses))
    return Curve(
        epochs=tuple(at),
        scores=tuple(float(np.mean(scores[epoch])) for epoch in at),
        loss_epochs=loss_epochs,
        loss=loss,
    )


def _binned(times: np.ndarray, values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the means of times and values over equal intervals of time."""
    if not times.size:
        return (), ()
    width = times.max() / BINS
    bins = np.minimum((times / width).astype(int), BINS - 1)
    filled = np.unique(bins)
    return (
        tuple(float(times[bins == b].mean()) for b in filled),
        tuple(float(values[bins == b].mean()) for b in filled),
    )


def _events(path: Path) -> list[Mapping[str, Any]]:
    if not path.is_file():
        return []
    events: list[Mapping[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:  # a line cut off by a kill
            continue
    return events
