"""metrics.jsonl of a variant's runs -> one learning curve, averaged over seeds; time is counted in epochs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BINS_PER_CURVE = 30


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The metric on validation after each epoch and training loss over epochs, means over the seeds that got so far."""

    epochs: list[float]
    scores: list[float]
    loss_epochs: list[float]
    loss: list[float]


def read(folders: Sequence[Path], key: str) -> Curve | None:
    """The curve of the runs in `folders`, of the metric `key`; None if none of them has written an epoch."""
    found: dict[float, list[float]] = {}
    times, losses = [], []
    for folder in folders:
        events = _events(folder / "metrics.jsonl")
        epochs = [e for e in events if e.get("event") == "epoch"]
        if not epochs:
            continue
        for event in epochs:
            score = (event.get("validation") or {}).get(key)
            if score is not None:
                found.setdefault(float(event["epoch"]), []).append(score)
        steps_per_epoch = epochs[-1]["step"] / epochs[-1]["epoch"]
        for event in events:
            if event.get("event") == "step" and event.get("loss") is not None:
                times.append(event["step"] / steps_per_epoch)
                losses.append(event["loss"])
    if not found:
        return None
    at = sorted(found)
    loss_epochs, loss = _binned(np.array(times), np.array(losses))
    return Curve(epochs=at, scores=[float(np.mean(found[epoch])) for epoch in at], loss_epochs=loss_epochs, loss=loss)


def _binned(times: np.ndarray, values: np.ndarray) -> tuple[list[float], list[float]]:
    """Means over equal stretches of time, so that a long run's curve is neither noise nor megabytes."""
    if not times.size:
        return [], []
    width = times.max() / BINS_PER_CURVE
    bins = np.minimum((times / width).astype(int), BINS_PER_CURVE - 1)
    filled = np.unique(bins)
    return (
        [float(times[bins == b].mean()) for b in filled],
        [float(values[bins == b].mean()) for b in filled],
    )


def _events(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:  # a line cut off by a kill
            continue
    return events
