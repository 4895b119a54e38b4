"""The sections of a study file. What a key means stands in its class's docstring; messages and tests read it there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, final

from annotated_types import Ge, Le, MinLen

from encoderlab.config.ranges import Range
from encoderlab.core.report_settings import Report
from encoderlab.core.types import Count
from encoderlab.data.source import DataConfig
from encoderlab.launch.settings import Launch
from encoderlab.methods.base import Method
from encoderlab.tasks.base import Task
from encoderlab.training.settings import Train, TrainOverrides


@final
@dataclass(frozen=True, kw_only=True)
class StudyHeader:
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
    regime: TrainOverrides = TrainOverrides()

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
    top: StudyHeader = field(repr=False)

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
