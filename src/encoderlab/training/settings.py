"""The section [train], and what a method may set differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

from annotated_types import Ge, Gt, Le

from encoderlab.core.types import Count
from encoderlab.tasks.base import Task


@final
@dataclass(frozen=True, kw_only=True)
class Train:
    """How every method trains.

    epochs: passes over the training rows; the best on validation is kept
    batch_size: rows of one optimizer step, on any hardware
    max_length: tokens of a row, special ones included; longer rows are cut, and counted
    warmup: share of the steps in which the learning rate rises; after that it falls linearly to zero
    weight_decay: AdamW's
    clip: largest norm of a step's gradient
    patience: stop after this many epochs without a better validation score; default: never
    precision: bf16 or fp32; auto chooses by device, and says why
    token_budget: tokens of one micro-batch, padding included; less takes less memory, and results differ only by the
        draw of dropout masks
    device: cpu or cuda; auto takes the GPU if there is one
    trunk_cache: GB of disk, in the folder of the results, for what frozen layers in front of the first trained one
        give: it is computed once for all runs; 0 computes it anew each time, with the same results
    """

    epochs: Count = 3
    batch_size: Count = 16
    max_length: Annotated[int, Ge(8)] = 256
    warmup: Annotated[float, Ge(0), Le(1)] = 0.1
    weight_decay: Annotated[float, Ge(0)] = 0.01
    clip: Annotated[float, Gt(0)] = 1.0
    patience: Count | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    token_budget: Count = 2048
    device: Literal["auto", "cpu", "cuda"] = "auto"
    trunk_cache: Annotated[float, Ge(0)] = 4.0


@final
@dataclass(frozen=True, kw_only=True)
class TrainOverrides:
    """How the runs of one [[method]] section train differently. Trials keep search.epochs.

    epochs: of the method's runs; default: train.epochs
    stride: of a masked-lm task, tokens from one training window to the next; default: task.stride. Validation and test
        keep the windows of the task, so that all variants are scored on the same ones
    """

    epochs: Count | None = None
    stride: Count | None = None

    @classmethod
    def usual(cls, train: Train | None, task: Task | None) -> TrainOverrides:
        """Return what holds in a study where a section says nothing."""
        return cls(epochs=None if train is None else train.epochs, stride=getattr(task, "stride", None))

    def over(self, usual: TrainOverrides) -> TrainOverrides:
        """Return these overrides, completed by `usual`."""
        return TrainOverrides(epochs=self.epochs or usual.epochs, stride=self.stride or usual.stride)
