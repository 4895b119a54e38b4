"""Send the numbers of metrics.jsonl to experiment trackers as well, through the trackers of accelerate.

    tensorboard   OUT/tensorboard/<run>, for `tensorboard --logdir OUT/tensorboard`
    mlflow, trackio, wandb   a project (mlflow: an experiment) named after the study, with one entry for each run; their
                             own settings decide where it is stored (MLFLOW_TRACKING_URI, TRACKIO_DIR,
                             WANDB_MODE=offline, ...)

Trackers do not affect a run or its id. If one fails during training, encoderlab warns and stops using it in that run.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from accelerate import tracking

from encoderlab.core.errors import InputError, Problem, first_line


def problems(names: Sequence[str]) -> list[Problem]:
    """List the trackers whose package is not installed."""
    return [
        Problem("track", f"{name} is not installed", f"pip install {name}, or remove it from `track`")
        for name in names
        if importlib.util.find_spec(name) is None
    ]


@final
@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Which trackers a run uses, and what it is called there.

    Attributes:
        names: The trackers.
        project: The name of the study.
        title: What the run is called.
        number: The run's id.
        folder: The study's folder.
        about: The settings of the run, flat.
    """

    names: tuple[str, ...]
    project: str
    title: str
    number: str
    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)

    def open(self, step: int) -> Trackers:
        """Open the trackers for what comes after `step`.

        Raises:
            InputError: A tracker cannot start.
        """
        opened: dict[str, tracking.GeneralTracker] = {}
        for name in self.names:
            try:
                tracker = self._make(name, step)
                tracker.start()
                if name != "tensorboard":  # which makes a folder named after the time of it
                    tracker.store_init_configuration(dict(self.about))
            except Exception as error:  # a server, an account, a disk: theirs to say
                raise InputError(
                    f"track: {name} cannot start ({first_line(error)}); fix this, or remove it from `track`"
                ) from None
            opened[name] = tracker
        return Trackers(opened)

    def _make(self, name: str, step: int) -> tracking.GeneralTracker:
        title = f"{self.title} {self.number}"
        match name:
            case "tensorboard":
                place = self.folder / "tensorboard"  # purge_step: what a killed run told after its last checkpoint
                return tracking.TensorBoardTracker(title.replace("/", "-"), place, purge_step=step + 1)
            case "mlflow":
                return tracking.MLflowTracker(self.project, run_name=title)
            case "trackio":
                return tracking.TrackioTracker(self.project, name=title, resume="allow")
            case "wandb":
                return tracking.WandBTracker(self.project, name=title, id=self.number, resume="allow")
        raise ValueError(name)


@final
class Trackers:
    """Trackers that are open. `warnings`: those that failed, and why."""

    def __init__(self, opened: Mapping[str, tracking.GeneralTracker] | None = None) -> None:
        self.opened = dict(opened or {})
        self.warnings: list[str] = []

    def log(self, step: int, **values: Any) -> None:
        """Send numbers by name; a number inside a dict is called "dict/name"."""
        flat: dict[str, float] = {}
        for key, value in values.items():
            inner = {f"{key}/{part}": v for part, v in value.items()} if isinstance(value, Mapping) else {key: value}
            flat |= {name: float(v) for name, v in inner.items() if isinstance(v, int | float)}
        for name, tracker in list(self.opened.items()):
            try:
                tracker.log(flat, step=step)
            except Exception as error:
                del self.opened[name]
                self.warnings.append(f"{name} received nothing after step {step - 1} ({first_line(error)})")

    def close(self) -> None:
        """End the trackers; one that cannot end is left alone."""
        for tracker in self.opened.values():
            with contextlib.suppress(Exception):
                tracker.finish()
