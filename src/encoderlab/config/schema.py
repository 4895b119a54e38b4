"""The sections of a study file. What a key means stands in its class's docstring; messages and tests read it there."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, final

from annotated_types import Ge, Gt, Le, MinLen

from encoderlab.config.launch import Launch
from encoderlab.config.ranges import Range
from encoderlab.data import DataConfig
from encoderlab.methods import Method
from encoderlab.reporting import Report
from encoderlab.tasks import Task

Count = Annotated[int, Ge(1)]


@final
@dataclass(frozen=True, kw_only=True)
class Top:
    """The keys above the first section.

    model: a model folder, or a name on the Hugging Face hub
    name: of the study; default: the name of its file
    seeds: one run per method and seed
    out: folder of the results; default: results/<name>
    reference: label or name of the method to compare with; default: full if it is there, else the first
    track: experiment trackers that are told the numbers of metrics.jsonl too: tensorboard, mlflow, trackio, wandb
    """

    model: str
    name: str | None = None
    seeds: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = (0, 1, 2)
    out: str | None = None
    reference: str | None = None
    track: tuple[Literal["tensorboard", "mlflow", "trackio", "wandb"], ...] = ()


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
class Search:
    """How the learning rate of each method is chosen: short trials, then a race of the best two, on validation.

    candidates: learning rates per method that names none itself; with 1 it is the method's default, without a trial
    factor: between one candidate and the next; the method's default is the middle one, or half a step from the two
        middle ones if their number is even
    extend: while the best candidate is the lowest or the highest, one more beyond it is tried, at most so many times;
        of candidates that a method names itself, never
    race: the best two candidates train at full length with the first seed, and the better one is taken; its run is kept
    rows: training rows of a trial, at most
    epochs: of a trial
    trials: per method, over ranges of the learning rate and of settings; instead of the candidates
    pruning: a trial that is below the median of the others after an epoch goes no further
    """

    candidates: Annotated[int, Ge(1), Le(100)] = 3
    factor: Annotated[float, Ge(1.1), Le(100)] = 3.0
    extend: Annotated[int, Ge(0), Le(10)] = 2
    race: bool = True
    rows: Count = 1000
    epochs: Count = 2
    trials: Annotated[int, Ge(2), Le(10_000)] | None = None
    pruning: bool = True

    @property
    def races(self) -> bool:
        """Whether candidates are raced: those of sampled settings are not."""
        return self.race and self.trials is None

    def around(self, rate: float) -> tuple[float, ...]:
        """The candidates: geometric, centred on `rate`, ascending, three digits each."""
        middle = (self.candidates - 1) / 2
        return tuple(float(f"{rate * self.factor ** (i - middle):.3g}") for i in range(self.candidates))


@final
@dataclass(frozen=True, kw_only=True)
class Regime:
    """What a [[method]] section may say of how its own runs train, besides the method's settings. Trials keep
    search.epochs.

    epochs: of the method's runs; default: train.epochs
    stride: of a masked-lm task, tokens from one training window to the next; default: task.stride. Validation and test
        keep the windows of the task, so that all variants are scored on the same ones
    """

    epochs: Count | None = None
    stride: Count | None = None

    @classmethod
    def usual(cls, train: Train | None, task: Task | None) -> Regime:
        """That of a study, where a section says nothing."""
        return cls(epochs=None if train is None else train.epochs, stride=getattr(task, "stride", None))

    def over(self, usual: Regime) -> Regime:
        """What holds: this, and `usual` where nothing is said."""
        return Regime(epochs=self.epochs or usual.epochs, stride=self.stride or usual.stride)


@final
@dataclass(frozen=True, kw_only=True)
class Variant:
    """One method with one choice of its settings.

    label: the method's name and the settings in which the study's variants of it differ, "lora rank=8"
    learning_rates: the candidates, in the order of the study file; of a searched range its middle alone
    space: what is searched, by key of the section; `method` has a value of each in its place
    regime: what the section says of its runs' epochs and stride
    """

    method: Method
    label: str
    learning_rates: tuple[float, ...]
    space: tuple[tuple[str, Range], ...] = ()
    regime: Regime = Regime()

    @property
    def tried_as(self) -> tuple[Method, int | None]:
        """What tells the trials of one variant from those of another: they have epochs of their own."""
        return self.method, self.regime.stride


@final
@dataclass(frozen=True, kw_only=True)
class Study:
    """A study file, complete and ready to use; `top` has model and out as they are written.

    model: an absolute path, or a name on the hub
    reference: the label of a variant
    path: the study file; relative paths start at its `folder`
    """

    name: str
    model: str
    seeds: tuple[int, ...]
    out: Path
    reference: str
    task: Task
    data: DataConfig
    train: Train
    search: Search
    launch: Launch
    report: Report
    variants: tuple[Variant, ...]
    path: Path
    top: Top = field(repr=False)

    @property
    def folder(self) -> Path:
        return self.path.parent


def resolved(study: Study) -> dict[str, Any]:
    """Everything the study says, defaults filled in, as JSON types. Paths stay as written."""
    sections = {key: asdict(getattr(study, key)) for key in ("task", "data", "train", "search", "report")}
    methods = [_as_written(variant) for variant in study.variants]
    top = {
        **asdict(study.top),
        "name": study.name,
        "out": study.top.out or f"results/{study.name}",
        "reference": study.reference,
    }
    return json.loads(json.dumps({**top, **sections, "method": methods}))


def _as_written(variant: Variant) -> dict[str, Any]:
    own = asdict(replace(variant.method, learning_rate=variant.learning_rates))
    regime = {key: value for key, value in asdict(variant.regime).items() if value is not None}
    return {"label": variant.label, **own, **regime, **{key: asdict(value) for key, value in variant.space}}


def meanings(section: type) -> dict[str, str]:
    """{key: what it means}, from `key: meaning` in the docstrings of a section and its bases."""
    found: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        names = "|".join(f.name for f in fields(cls)) if is_dataclass(cls) else ""
        if names:
            text = "\n\n".join(
                " ".join(part.split()) for part in re.split(rf"\n\s*\n|\n(?=\s*(?:{names}): )", cls.__doc__ or "")
            )
            for key, meaning in re.findall(rf"(?:^|[;.] )({names}): (.+?)(?=[;.] (?:{names}): |[;.]?$)", text, re.M):
                found[key] = meaning
    return found
