"""The epochs of a run: what each one gives, and who is told of them while the run trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from encoderlab.core.errors import EncoderlabError


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The end of one epoch, as metrics.jsonl and the checkpoint keep it.

    Attributes:
        epoch: Counted from 1.
        step: How many optimizer steps the run has made so far.
        train_loss: The mean loss of the training rows over the epoch.
        validation: {name: value} of the task's metrics on the validation rows.
        seconds: The time of all training steps so far.
    """

    epoch: int
    step: int
    train_loss: float
    validation: Mapping[str, float]
    seconds: float


# (tokens worked through, the loss of a training step or None): after each micro-batch.
OnProgress = Callable[[int, float | None], None]

# The epochs so far: before each epoch. It may raise Pruned.
OnEpoch = Callable[[Sequence[Epoch]], None]


def ignore(*_: object) -> None:
    """Do nothing with what a run reports."""


class Pruned(EncoderlabError):
    """A trial ended early, because other trials were better after as many epochs.

    Attributes:
        history: The epochs that the trial had.
    """

    def __init__(self, reason: str, history: Sequence[Epoch]) -> None:
        super().__init__(reason)
        self.history = history


def over_fitting(history: Sequence[Epoch]) -> list[str]:
    """Warn if the training loss still falls while the validation loss rises."""
    losses = [epoch.validation["loss"] for epoch in history]
    best, last = min(range(len(losses)), key=losses.__getitem__), len(losses) - 1
    if losses[last] <= 1.02 * losses[best] or history[last].train_loss >= history[best].train_loss:
        return []
    return [
        f"over-fitting: from epoch {best + 1} to {last + 1} the training loss fell from "
        f"{history[best].train_loss:.3f} to {history[last].train_loss:.3f}, that of validation rose from "
        f"{losses[best]:.3f} to {losses[last]:.3f}; fewer epochs, a lower rank or rate, or more text would help"
    ]
