"""What all runs of a study share, and what one run is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoderlab.core import hashing
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.distributed import ALONE, Ranks
from encoderlab.methods.base import Method
from encoderlab.tasks.base import Task
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import Kind
from encoderlab.training.settings import Train


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all runs of a study share: rows as tokens, the base model, precision and device, the folder of the runs.

    Attributes:
        model: The name or the path of the base model.
        fingerprint: What stands for the model in a run's id.
        index: {split: int64 (rows,)}, each row's number in its source.
        why: Why the precision is this one.
        folder: The folder of the runs' folders.
        track: The names of the experiment trackers.
        origins: {split: the name of its file or of its data set on the hub}.
        hub: The data sets on the hub among them.
        other_tests: {name: rows} of the test sets that are scored beside `test`.
        kept_back: {name: rows} of the set that confirms the recommendation. No run is scored on it.
        strided: {stride: training rows} as windows of another stride than the task's.
        since: When the command began, in seconds, as `time.time`.
        anew: Why the last layer of the checkpoint's own head is not used, or "".
    """

    model: str
    fingerprint: str
    tokenizer: Any
    task: Task
    class_names: list[str]
    train: TokenizedRows
    validation: TokenizedRows
    test: TokenizedRows
    index: Mapping[str, np.ndarray]
    settings: Train
    device: torch.device
    dtype: torch.dtype
    why: str
    folder: Path
    ranks: Ranks = ALONE
    track: tuple[str, ...] = ()
    study: str = "encoderlab"
    origins: Mapping[str, str] = field(default_factory=dict)
    hub: tuple[str, ...] = ()
    other_tests: Mapping[str, TokenizedRows] = field(default_factory=dict)
    kept_back: Mapping[str, TokenizedRows] = field(default_factory=dict)
    strided: Mapping[int, TokenizedRows] = field(default_factory=dict)
    since: float = -math.inf
    anew: str = ""

    @property
    def tokenized(self) -> dict[str, TokenizedRows]:
        """{split: rows} of every split."""
        return {"train": self.train, **dict(self.held_out), **self.kept_back}

    @property
    def held_out(self) -> list[tuple[str, TokenizedRows]]:
        """(name, rows) of every split on which runs are scored: validation, test, the other test sets."""
        return [("validation", self.validation), ("test", self.test), *self.other_tests.items()]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to do.

    Without a method it is a baseline: with a seed, the model before training; without one, the answer that is the same
    for every row.

    Attributes:
        name: The name of the method, or of the baseline.
        variant: The label of the method with its settings.
        stride: The stride of the windows in `train`. None where it is the task's.
        pruning: Whether the run may end before its last epoch.
    """

    kind: Kind
    name: str
    variant: str
    method: Method | None
    learning_rate: float | None
    seed: int | None
    settings: Train
    train: TokenizedRows
    stride: int | None = None
    pruning: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether this is the answer that is the same for every row."""
        return self.method is None and self.seed is None


def resolve(context: RunContext, job: Job) -> Mapping[str, Any]:
    """Return the resolved configuration of a job.

    All of it is hashed into the run's id, except the model's name: the fingerprint stands for the model.
    """
    settings = asdict(job.settings)
    for not_in_result in ("device", "precision", "trunk_cache"):
        settings.pop(not_in_result)
    method = None if job.method is None else asdict(replace(job.method, learning_rate=None))
    data = {
        split: {"fingerprint": tokenized.fingerprint, "labels": hashing.array_hash(tokenized.labels)}
        for split, tokenized in (("train", job.train), *context.held_out)
    }
    for split, _ in context.held_out:
        data[split]["index"] = hashing.array_hash(context.index[split])  # predictions of two runs are paired by it
    return {
        "kind": job.kind,
        "name": job.name,
        "model": {"name": context.model, "fingerprint": context.fingerprint},
        "task": asdict(context.task),  # type: ignore[call-overload]
        "class_names": context.class_names,
        "data": data,
        "train": settings,
        "precision": str(context.dtype).removeprefix("torch."),
        "device": context.device.type,
        "method": method,
        "learning_rate": job.learning_rate,
        "seed": job.seed,
        **({} if job.stride is None else {"stride": job.stride}),
        **({"pruning": "median"} if job.pruning else {}),
    }


def identify(context: RunContext, job: Job) -> tuple[str, Mapping[str, Any]]:
    """Return the run's id, and its resolved configuration as a JSON file gives it back."""
    config = hashing.as_json(resolve(context, job))
    return hashing.run_id({**config, "model": context.fingerprint}), config


def folder_of(context: RunContext, job: Job) -> RunFolder:
    """Return the folder of a job's run."""
    return RunFolder(context.folder / identify(context, job)[0])
