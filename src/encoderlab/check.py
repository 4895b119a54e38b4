"""Everything about a study that can be checked without training: every problem at once, and what the study would do."""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from encoderlab import backbone as backbones
from encoderlab import config, files
from encoderlab.backbone import Backbone
from encoderlab.config import Draft, Regime, Study, Train, Variant
from encoderlab.data import DataConfig, Rows, Splits, example_rows, load_splits
from encoderlab.data.source import place
from encoderlab.errors import InputError, collecting
from encoderlab.methods.positions import usable
from encoderlab.tasks import Encoded, Task
from encoderlab.tasks.metric import ACCURACY
from encoderlab.tasks.windows import window_size
from encoderlab.training import track
from encoderlab.training.precision import choose_device, choose_precision
from encoderlab.variation import smallest_visible, what_halves_it


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """One split. rows: as they were read. labels: rows per class, or what else the task tells of them. tokens: what is
    left after cutting."""

    origin: str
    rows: int
    labels: dict[str, float]
    tokens: int
    rows_cut: int
    tokens_lost: int


@dataclass(frozen=True, kw_only=True)
class VariantReport:
    """One variant: trained parameters of the adapter and of the head, all parameters, and the learning rates to try."""

    label: str
    adapter: int
    head: int
    total: int
    learning_rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """A study without problems: what it would train, on what. `runs`: how many of each kind."""

    name: str
    path: str
    model: str
    max_length: int
    device: str
    precision: str
    splits: dict[str, SplitReport]
    examples: list[tuple[str, str]]
    variants: list[VariantReport]
    reference: str
    metric: str
    runs: dict[str, int]
    visible: str | None
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check(path: Path, overrides: Sequence[str] = ()) -> CheckReport:
    """Look at everything. InputError with every problem of file, data and model."""
    found = _look(config.read(path, overrides))
    study = found.study
    encoded = _encode(found)
    away = study.launch.gpu and study.train.device != "cpu"
    device = choose_device("cuda" if away else study.train.device)
    dtype, why = choose_precision(device, study.train.precision)
    tried = {variant.tried_as: len(variant.learning_rates) for variant in study.variants}
    grids = sum(count for count in tried.values() if count > 1)
    sampled = study.search.trials
    return CheckReport(
        name=study.name,
        path=str(path),
        model=study.model,
        max_length=study.train.max_length,
        device=str(device),
        precision=f"{str(dtype).removeprefix('torch.')} ({why})",
        splits={
            name: _split_report(rows, encoded[name], study.task, found.class_names)
            for name, rows in found.splits.items()
        },
        examples=example_rows(found.splits.train, study.task.label_column, by_label=study.task.has_classes),
        variants=[
            VariantReport(label=v.label, learning_rates=v.learning_rates, **found.counts[v.label])
            for v in study.variants
        ],
        reference=study.reference,
        metric=study.task.compared_by(found.class_names),
        runs={
            "trials": grids if sampled is None else sampled * len(study.variants),
            "runs": len(study.variants) * len(study.seeds),
            "baselines": (study.task.baseline is not None) + len(study.seeds),
        },
        visible=_visible(study, len(found.splits.test), found.class_names),
        warnings=_warnings(found, encoded),
    )


def _visible(study: Study, rows: int, class_names: Sequence[str]) -> str | None:
    """What difference the study can see, in words; None of a metric that is not a share of rows."""
    if study.task.metric(class_names) != ACCURACY or len(study.variants) < 2:
        return None
    seeds, sd = len(study.seeds), study.report.seed_sd / 100
    if seeds == 1:
        return "one seed a method: no difference between methods can be shown; use 3 seeds or more"
    more_rows, more_seeds = what_halves_it(rows, seeds, sd)
    ways = [
        f"{count:,} {what}" for count, what in ((more_rows, "test rows"), (more_seeds, "seeds")) if count is not None
    ]
    both = f"{4 * rows:,} test rows with {4 * seeds} seeds"
    least = 100 * smallest_visible(rows, seeds, sd)
    return (
        f"with {rows:,} test rows and {seeds} seeds, two methods have to be {least:.1f} points apart to be told apart "
        f"(80 % power, seeds differing by {100 * sd:g} points); "
        f"{' or '.join(ways) or both} would halve that"
    )


def prepare(study: Study) -> tuple[Splits, list[str], list[str]]:
    """Splits, class names and warnings of a study that has no problem; InputError with all of them otherwise."""
    found = _look(study)
    return found.splits, found.class_names, _warnings(found, _encode(found))


def say(warnings: Iterable[str]) -> None:
    """Print what `prepare` noticed, before anything is trained."""
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)


def _encode(found: _Found) -> dict[str, Encoded]:
    """Tokens of every split, kept on disk for `study.open_bench`. InputError for each of which there can be none."""
    cache = files.cache_folder() / "tokens"
    task, tokenizer, max_length = found.study.task, found.backbone.tokenizer, found.study.train.max_length
    encoded, problems = {}, []
    for name, rows in found.splits.items():
        with collecting(problems, f"{found.study.path}: {place(name)}: "):
            encoded[name] = task.encode(rows, tokenizer, max_length, found.class_names, cache)
    if problems:
        raise InputError(*problems)
    return encoded


def _warnings(found: _Found, encoded: dict[str, Encoded]) -> list[str]:
    """What the data says about itself, and the splits of which truncation takes much."""
    task, max_length = found.study.task, found.study.train.max_length
    cut = [
        f"{place(name)}: {line}"
        for name, rows in found.splits.items()
        if (line := task.cut_warning(encoded[name], len(rows), max_length)) is not None
    ]
    own = [f"{place(name)}: {line}" for name, split in encoded.items() for line in task.warnings(split)]
    model = [f"model: {line}" for line in found.backbone.notes]
    return [*found.splits.warnings, *model, *cut, *own, *_unlike(found.study)]


def _unlike(study: Study) -> list[str]:
    """Where a comparison of methods is one of how long they trained, or on which windows, as well."""
    usual = Regime.usual(study.train, study.task)
    found = []
    for key in ("epochs", "stride"):
        of_method: dict[str, list[str]] = {}
        for variant in study.variants:
            value = str(getattr(variant.regime.over(usual), key) or "a whole window")
            known = of_method.setdefault(variant.method.name, [])
            known += [] if value in known else [value]
        if len({frozenset(values) for values in of_method.values()}) > 1:
            said = "; ".join(f"{name}: {', '.join(values)}" for name, values in of_method.items())
            found.append(f"not every method has the same {key} ({said}); compare variants that have the same")
    return found


def _split_report(rows: Rows, encoded: Encoded, task: Task, class_names: Sequence[str]) -> SplitReport:
    return SplitReport(
        origin=rows.origin,
        rows=len(rows),
        labels=task.label_counts(encoded.labels, class_names),
        tokens=encoded.tokens_kept,
        rows_cut=encoded.rows_cut,
        tokens_lost=encoded.tokens_lost,
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A study without problems, with its rows and its model; counts: {label of a variant: parameters}."""

    study: Study
    splits: Splits
    class_names: list[str]
    backbone: Backbone
    counts: dict[str, dict[str, int]]


def _look(study: Study | Draft) -> _Found:
    """Opens rows and model, inserts every method into a copy of the model. InputError with every problem."""
    file = study.path
    problems = list(study.problems) if isinstance(study, Draft) else []
    complete = study.study if isinstance(study, Draft) else study
    if study.out is not None and (line := out_problem(study.out)):
        problems.append(f"{file}: out: {line}")
    whole = study.study if isinstance(study, Draft) else study
    away = whole is not None and whole.launch.gpu and whole.train.device != "cpu"
    if away and study.train is not None and study.train.precision == "auto" and not torch.cuda.is_available():
        problems.append(
            f'{file}: train.precision: "auto" asks the GPU, and only the jobs have one; use "bf16" or "fp32"'
        )
    if study.train is not None and study.train.device == "cuda" and not (away or torch.cuda.is_available()):
        problems.append(f'{file}: train.device: torch finds no CUDA device here; use "auto" or "cpu"')
    if complete is not None:
        if complete.search.trials is not None and find_spec("optuna") is None:
            problems.append(f"{file}: search.trials: needs optuna: pip install 'encoderlab[sweep]'")
        problems += [f"{file}: {line}" for line in track.problems(complete.top.track)]
    splits, class_names = None, ["0", "1"]  # two classes stand in where the data says nothing
    if study.data is not None and study.task is not None:
        with collecting(problems, f"{file}: "):
            splits, class_names = _rows(study.data, study.task, file.parent)
    backbone, counts = None, {}
    if study.model is not None and study.task is not None:
        with collecting(problems, f"{file}: "):
            backbone = backbones.load(study.model, head=study.task.head, class_names=class_names, seed=0)
    if backbone is not None:
        problems += [f"{file}: model: {line}" for line in (study.task.model_problems(backbone) if study.task else ())]
        for variant in study.variants:
            with collecting(problems, f"{file}: method.{variant.label}: "):
                counts[variant.label] = [_insert(backbone, one) for one in _ends(variant)][0]
        if study.task is not None and study.train is not None:
            lines = study.task.length_problems(backbone.tokenizer, study.train.max_length)
            problems += [f"{file}: {line}" for line in lines]
        fitting = (variant for variant in study.variants if variant.label in counts)
        problems += [f"{file}: {line}" for line in _length_problems(backbone, study.train, fitting)]
        problems += [f"{file}: {line}" for line in _stride_problems(backbone, study.train, study.variants)]
    if problems or complete is None or splits is None or backbone is None:
        raise InputError(*dict.fromkeys(problems))
    return _Found(study=complete, splits=splits, class_names=class_names, backbone=backbone, counts=counts)


def _rows(data: DataConfig, task: Task, base: Path) -> tuple[Splits, list[str]]:
    splits = load_splits(
        data,
        text=task.text_columns,
        label=task.label_column,
        base=base,
        prepare=lambda rows: task.prepare(rows, labelled=True),
        stratify=task.has_classes,
    )
    return splits, task.class_names(splits)


def _length_problems(backbone: Backbone, train: Train | None, variants: Iterable[Variant]) -> list[str]:
    """What is wrong with `max_length` for the model, and for the variants that take positions of it for themselves."""
    limit = usable(backbone.trunk)
    if train is None:
        return []
    found = []
    if train.max_length > limit:
        found.append(
            f"train.max_length: {train.max_length}, but {backbone.name} has {limit} positions; use at most {limit}"
        )
    for variant in variants:
        taken = variant.method.positions_taken()
        if taken and train.max_length > limit - taken:
            found.append(
                f"train.max_length: {train.max_length}, but method.{variant.label} takes {taken} of the {limit} "
                f"positions of {backbone.name}; use at most {limit - taken}"
            )
    return found


def _stride_problems(backbone: Backbone, train: Train | None, variants: Iterable[Variant]) -> list[str]:
    """Strides of training windows that would leave tokens out between one window and the next."""
    if train is None:
        return []
    window = window_size(backbone.tokenizer, train.max_length)
    return [
        f"method.{variant.label}: stride = {stride}, but a window has {window} tokens (train.max_length = "
        f"{train.max_length}, special ones included); use at most {window}"
        for variant in variants
        if (stride := variant.regime.stride) is not None and stride > window
    ]


def _ends(variant: Variant) -> list[Variant]:
    """The variant, and with each end of each range that is searched."""
    found = [variant]
    for key, space in variant.space:
        if key != "learning_rate":
            found += [replace(variant, method=replace(variant.method, **{key: value})) for value in space.ends]
    return found


def _insert(backbone: Backbone, variant: Variant) -> dict[str, int]:
    """Parameters of the variant, from a copy of the model; InputError if the method does not fit."""
    if problems := variant.method.problems(backbone):
        raise InputError(*problems)
    trial = replace(backbone, model=copy.deepcopy(backbone.model))
    variant.method.inject(trial, 0)
    return trial.counts()


def out_problem(out: Path) -> str | None:
    """Why results cannot be written to `out`, as one line, or None; tried with a folder that vanishes again."""
    whole = Path(os.path.abspath(out))
    there = next(folder for folder in (whole, *whole.parents) if os.path.exists(folder))  # false for a wrong name
    if not there.is_dir():
        return f"{there} is a file; expected a folder, or a name that is free"
    try:
        with tempfile.TemporaryDirectory(dir=there) as folder:
            trial = Path(folder)
            try:
                (trial / whole.relative_to(there)).mkdir(parents=True, exist_ok=True)
            except (OSError, ValueError) as error:  # too long, or with a character that no name can have
                return f"{str(out)!r} cannot be a folder ({_reason(error)}); choose another name"
            (trial / "x").write_bytes(b"x")
    except OSError as error:
        return f"cannot write in {there} ({_reason(error)}); choose another folder, e.g. with -s out=FOLDER"
    return None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
