"""The sections of a study file. The `Doc` of a key is what messages and docs/study-file.md say about it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, final

from annotated_types import Ge, Le, MinLen

from encoderlab.config.ranges import Range
from encoderlab.core.report_settings import Report
from encoderlab.core.types import Count, Doc
from encoderlab.data.source import DataConfig
from encoderlab.launch.settings import Launch
from encoderlab.methods.base import Method
from encoderlab.tasks.base import Task
from encoderlab.training.settings import Train, TrainOverrides


@final
@dataclass(frozen=True, kw_only=True)
class StudyHeader:
    """The keys above the first section."""

    model: Annotated[str, Doc("a model folder, or a name on the Hugging Face hub")]
    name: Annotated[str | None, Doc("name of the study; default: the name of its file")] = None
    seeds: Annotated[
        tuple[Annotated[int, Ge(0)], ...],
        MinLen(1),
        Doc("random seeds; every method is trained once with each of them"),
    ] = (0, 1, 2)
    out: Annotated[str | None, Doc("folder of the results; default: results/<name>")] = None
    reference: Annotated[
        str | None,
        Doc(
            "label or name of the method that the others are compared with; default: full, or the "
            "first method if the study does not have full"
        ),
    ] = None
    track: Annotated[
        tuple[Literal["tensorboard", "mlflow", "trackio", "wandb"], ...],
        Doc("experiment trackers that also receive the numbers in metrics.jsonl"),
    ] = ()


@final
@dataclass(frozen=True, kw_only=True)
class Search:
    """How the learning rate of each method is chosen: short trials, then a race of the best two, on validation rows."""

    candidates: Annotated[
        int,
        Ge(1),
        Le(100),
        Doc(
            "number of learning rates to try for a method that does not set its own; 1 takes the "
            "default of the method, without a trial"
        ),
    ] = 3
    factor: Annotated[
        float,
        Ge(1.1),
        Le(100),
        Doc("ratio of each candidate to the next lower one; the default of the method is in the middle"),
    ] = 3.0
    extend: Annotated[
        int,
        Ge(0),
        Le(10),
        Doc(
            "maximum number of further candidates, each tried if the best one so far is the lowest or "
            "the highest; candidates that a method sets itself are not extended"
        ),
    ] = 2
    race: Annotated[
        bool,
        Doc(
            "whether the best two candidates are trained at full length, with as many of the study's "
            "seeds as a candidate has trials, and the better one is chosen; its runs are kept"
        ),
    ] = True
    seeds: Annotated[
        tuple[Annotated[int, Ge(0)], ...],
        MinLen(1),
        Doc(
            "random seeds of the trials; every candidate is tried once with each of them, and judged "
            "by its mean; a seed also chooses which training rows the trial uses"
        ),
    ] = (0,)
    rows: Annotated[Count, Doc("maximum number of training rows in a trial")] = 1000
    epochs: Annotated[Count, Doc("number of epochs of a trial")] = 2
    trials: Annotated[
        Annotated[int, Ge(2), Le(10_000)] | None,
        Doc(
            "number of trials per method, which sample ranges of the learning rate and of other "
            "settings; they replace the candidates"
        ),
    ] = None
    pruning: Annotated[bool, Doc("whether a trial stops after an epoch if it is below the median of the others")] = True

    @property
    def races(self) -> bool:
        """Whether the best candidates are raced. Sampled settings are not."""
        return self.race and self.trials is None

    def around(self, rate: float) -> tuple[float, ...]:
        """Return the candidates: a geometric series centred on `rate`, ascending, with three digits each."""
        middle = (self.candidates - 1) / 2
        return tuple(float(f"{rate * self.factor ** (i - middle):.3g}") for i in range(self.candidates))


@final
@dataclass(frozen=True, kw_only=True)
class Variant:
    """One method with one choice of its settings.

    Attributes:
        method: the settings; a setting that is searched has one value of its range.
        label: the name of the method and the settings in which its variants differ, such as "lora rank=8".
        learning_rates: the candidates, in the order of the study file; of a searched range only the middle.
        space: the searched ranges, by key of the section.
        overrides: the epochs and the stride that the section sets.
    """

    method: Method
    label: str
    learning_rates: tuple[float, ...]
    space: tuple[tuple[str, Range], ...] = ()
    overrides: TrainOverrides = TrainOverrides()

    @property
    def tried_as(self) -> tuple[Method, int | None]:
        """The settings that a trial depends on: the method and the stride. All trials have the same epochs."""
        return self.method, self.overrides.stride


@final
@dataclass(frozen=True, kw_only=True)
class Study:
    """A complete study.

    Attributes:
        model: an absolute path, or a name on the hub.
        reference: the label of a variant.
        path: the study file.
        top: the keys above the first section, as written.
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
        """The folder of the study file, where relative paths start."""
        return self.path.parent


def resolved(study: Study) -> dict[str, Any]:
    """Return all settings of the study, defaults included, as JSON types. Paths stay as written."""
    sections = {key: asdict(getattr(study, key)) for key in ("task", "data", "train", "search", "report")}
    methods = [_as_written(variant) for variant in study.variants]
    top = {
        **asdict(study.top),
        "name": study.name,
        "out": study.top.out or f"results/{study.name}",
        "reference": study.reference,
    }
    return json.loads(json.dumps({**top, **sections, "method": methods}))


def _as_written(variant: Variant) -> dict[str, object]:
    own = asdict(replace(variant.method, learning_rate=variant.learning_rates))
    overrides = {key: value for key, value in asdict(variant.overrides).items() if value is not None}
    return {"label": variant.label, **own, **overrides, **{key: asdict(value) for key, value in variant.space}}
