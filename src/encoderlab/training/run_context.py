"""What all runs of a study share, and what one run is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from encoderlab.core import hashing
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.distributed import ALONE, Ranks
from encoderlab.methods.base import Method
from encoderlab.tasks.base import Task
from encoderlab.training.settings import Train

Kind = Literal["run", "trial", "baseline"]


def unwatched(history: list[dict[str, Any]]) -> None:
    """The watch of a run that is not pruned."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What all runs of a study share: rows as tokens, the base model's name, fingerprint and tokenizer, precision,
    device, the folder of the runs.

    other_tests: test sets by name that are scored beside `test`.
    strided: the training rows as windows of another stride than the task's, by stride.
    index: per split, int64 (rows,): each row's number in its source.
    origins: per split, the name of the file or of the hub's data set. hub: the hub's data sets among them.
    since: when the command began, seconds, as `time.time`.
    anew: why the last layer of the checkpoint's own head is not used, or "".
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
    strided: Mapping[int, TokenizedRows] = field(default_factory=dict)
    since: float = -math.inf
    anew: str = ""

    @property
    def tokenized(self) -> dict[str, TokenizedRows]:
        """Every split by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test, **self.other_tests}

    @property
    def held_out(self) -> list[tuple[str, TokenizedRows]]:
        """(name, rows) of every split that is predicted: validation, test, the other test sets."""
        return list(self.tokenized.items())[1:]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to do. Without a method it is a baseline: without a seed, too, the answer that is the same for every row;
    with one, the model before training. stride: of the windows in `train`, where it is not the task's. pruning: it may
    end before its last epoch."""

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
        return self.method is None and self.seed is None


def resolve(bench: RunContext, job: Job) -> dict[str, Any]:
    """The resolved config of a job. All of it but the model's name is hashed into the run's id: the fingerprint
    stands for the model."""
    settings = asdict(job.settings)
    for not_in_result in ("device", "precision", "trunk_cache"):
        settings.pop(not_in_result)
    method = None if job.method is None else asdict(replace(job.method, learning_rate=None))
    data = {
        split: {"fingerprint": tokenized.fingerprint, "labels": hashing.array_hash(tokenized.labels)}
        for split, tokenized in (("train", job.train), *bench.held_out)
    }
    for split, _ in bench.held_out:
        data[split]["index"] = hashing.array_hash(bench.index[split])  # predictions of two runs are paired by it
    return {
        "kind": job.kind,
        "name": job.name,
        "model": {"name": bench.model, "fingerprint": bench.fingerprint},
        "task": asdict(bench.task),  # type: ignore[call-overload]
        "class_names": bench.class_names,
        "data": data,
        "train": settings,
        "precision": str(bench.dtype).removeprefix("torch."),
        "device": bench.device.type,
        "method": method,
        "learning_rate": job.learning_rate,
        "seed": job.seed,
        **({} if job.stride is None else {"stride": job.stride}),
        **({"pruning": "median"} if job.pruning else {}),
    }


def identify(bench: RunContext, job: Job) -> tuple[str, dict[str, Any]]:
    """The run's id and its resolved config, as a JSON file gives it back."""
    config = hashing.as_json(resolve(bench, job))
    return hashing.run_id({**config, "model": bench.fingerprint}), config
