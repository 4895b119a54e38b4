"""The section [train], and the keys of it that a method may set for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

from annotated_types import Ge, Gt, Le

from encoderlab.core.types import Count, Doc
from encoderlab.tasks.base import Task


@final
@dataclass(frozen=True, kw_only=True)
class Train:
    """The settings of training, the same for every method."""

    epochs: Annotated[
        Count, Doc("number of passes over the training rows; the epoch with the best validation score is kept")
    ] = 3
    batch_size: Annotated[Count, Doc("number of rows in one optimizer step, on any hardware")] = 16
    max_length: Annotated[
        int,
        Ge(8),
        Doc("maximum number of tokens in a row, special tokens included; longer rows are truncated and counted"),
    ] = 256
    warmup: Annotated[
        float,
        Ge(0),
        Le(1),
        Doc("share of the steps in which the learning rate rises; after that it falls linearly to zero"),
    ] = 0.1
    weight_decay: Annotated[float, Ge(0), Doc("weight decay of AdamW")] = 0.01
    clip: Annotated[float, Gt(0), Doc("maximum norm of the gradient of one step")] = 1.0
    patience: Annotated[
        Count | None,
        Doc(
            "number of epochs without a better validation score after which training stops; default: no early stopping"
        ),
    ] = None
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Doc("number format of the computation; auto chooses by device and reports why")
    ] = "auto"
    token_budget: Annotated[
        Count,
        Doc(
            "maximum number of tokens in a micro-batch, padding included; a smaller number takes less "
            "memory, and changes results only through other random dropout masks"
        ),
    ] = 2048
    device: Annotated[Literal["auto", "cpu", "cuda"], Doc("cpu or cuda; auto uses the GPU if there is one")] = "auto"
    trunk_cache: Annotated[
        float,
        Ge(0),
        Doc(
            "gigabytes of disk for the outputs of the frozen layers below the first trained one; they "
            "are computed once for all runs and stored in the folder of the results. 0 computes them "
            "again each time, with the same results"
        ),
    ] = 4.0


@final
@dataclass(frozen=True, kw_only=True)
class TrainOverrides:
    """The training settings that a [[method]] section may set for its own runs. Trials use `search.epochs`."""

    epochs: Annotated[Count | None, Doc("number of epochs of the runs of this method; default: train.epochs")] = None
    stride: Annotated[
        Count | None,
        Doc(
            "number of tokens from one training window to the next, for a masked-lm task; default: "
            "task.stride. Validation and test keep the windows of the task, so all variants are "
            "scored on the same ones"
        ),
    ] = None

    @classmethod
    def usual(cls, train: Train | None, task: Task | None) -> TrainOverrides:
        """Return the values that hold for a section without these keys."""
        return cls(epochs=None if train is None else train.epochs, stride=getattr(task, "stride", None))

    def over(self, usual: TrainOverrides) -> TrainOverrides:
        """Return these values, with those of `usual` for keys that are not set."""
        return TrainOverrides(epochs=self.epochs or usual.epochs, stride=self.stride or usual.stride)
