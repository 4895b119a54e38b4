"""Read and tokenize a study's rows, and collect every problem they have."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from encoderlab.config.load import Draft
from encoderlab.config.settings import Study, Variant
from encoderlab.core import files
from encoderlab.core.errors import InputError, Problem, collecting
from encoderlab.core.files import out_problem
from encoderlab.data.rows import Rows
from encoderlab.data.source import DataConfig, place
from encoderlab.data.splits import Splits, load_splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine import head_units
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.positions import usable
from encoderlab.study import confirm
from encoderlab.study.groups import grouped_by_label, single_texts
from encoderlab.tasks.base import Task
from encoderlab.tasks.windows import window_size
from encoderlab.training import trackers
from encoderlab.training.settings import Train, TrainOverrides


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """The size of one split.

    Attributes:
        origin: where the rows are from.
        rows: the rows as they were read.
        labels: rows per class, or other figures of the labels that the task gives.
        tokens: tokens that are left after truncation.
        rows_cut: rows that truncation shortens.
        tokens_lost: tokens that truncation removes.
    """

    origin: str
    rows: int
    labels: dict[str, float]
    tokens: int
    rows_cut: int
    tokens_lost: int


def prepare(study: Study) -> tuple[Splits, list[str], list[str]]:
    """Read and check everything that a study needs before training.

    Returns:
        The splits, the class names, and warnings.

    Raises:
        InputError: the study has problems; the error lists all of them.
    """
    found = look(study)
    return found.splits, found.class_names, warnings_of(found, _encode(found))


def _encode(found: Findings) -> dict[str, TokenizedRows]:
    """Tokenize every split, and keep the tokens on disk for the runs.

    Raises:
        InputError: listing every split that cannot be tokenized.
    """
    cache = files.cache_folder() / "tokens"
    task, tokenizer, max_length = found.study.task, found.encoder.tokenizer, found.study.train.max_length
    tokenized, problems = {}, list[Problem]()
    for name, rows in found.splits.items():
        with collecting(problems, f"{found.study.path}: {place(name)}"):
            tokenized[name] = task.tokenize(rows, tokenizer, max_length, found.class_names, cache)
    problems += [problem.at(str(found.study.path)) for problem in confirm.problems(found.study, tokenized)]
    if problems:
        raise InputError(*problems)
    return tokenized


def warnings_of(found: Findings, tokenized: dict[str, TokenizedRows]) -> list[str]:
    """Return the warnings of the data, and one for each split of which truncation removes much."""
    task, max_length = found.study.task, found.study.train.max_length
    cut = [
        f"{place(name)}: {line}"
        for name, rows in found.splits.items()
        if (line := task.cut_warning(tokenized[name], len(rows), max_length)) is not None
    ]
    own = [f"{place(name)}: {line}" for name, split in tokenized.items() for line in task.warnings(split)]
    own += [*confirm.warnings(found.study, found.splits), *grouped_by_label(found.study)]
    settled, _ = head_units.settle(found.encoder, task, tokenized["train"])
    model = [f"model: {line}" for line in settled.notes]
    return [*found.splits.warnings, *model, *cut, *own, *single_texts(tokenized), *_unlike(found.study)]


def _unlike(study: Study) -> list[str]:
    """Return a warning for each setting that differs between methods and so confounds their comparison."""
    usual = TrainOverrides.usual(study.train, study.task)
    found = []
    for key in ("epochs", "stride"):
        of_method: dict[str, list[str]] = {}
        for variant in study.variants:
            value = str(getattr(variant.overrides.over(usual), key) or "a whole window")
            known = of_method.setdefault(variant.method.name, [])
            known += [] if value in known else [value]
        if len({frozenset(values) for values in of_method.values()}) > 1:
            said = "; ".join(f"{name}: {', '.join(values)}" for name, values in of_method.items())
            found.append(f"not every method has the same {key} ({said}); compare variants that have the same")
    return found


def _split_report(rows: Rows, tokenized: TokenizedRows, task: Task, class_names: Sequence[str]) -> SplitReport:
    """Count the rows and the tokens of a split."""
    return SplitReport(
        origin=rows.origin,
        rows=len(rows),
        labels=task.label_counts(tokenized.labels, class_names),
        tokens=tokenized.tokens_kept,
        rows_cut=tokenized.rows_cut,
        tokens_lost=tokenized.tokens_lost,
    )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study without problems, with its rows and its model.

    Attributes:
        study: the study.
        splits: its rows, by split.
        class_names: the names of the classes.
        encoder: the base model, without a method.
        counts: for each variant's label, its numbers of parameters as `EncoderModel.counts` has them.
    """

    study: Study
    splits: Splits
    class_names: list[str]
    encoder: EncoderModel
    counts: dict[str, dict[str, int]]


def look(study: Study | Draft) -> Findings:
    """Read the rows, load the model, and insert every method into a copy of it.

    Args:
        study: a study, or the draft of a study file with its problems.

    Raises:
        InputError: listing every problem of the file, the data and the model.
    """
    file = study.path
    problems = [*study.problems] if isinstance(study, Draft) else []
    wrong: list[Problem] = []  # their paths are keys of the study file
    complete = study.study if isinstance(study, Draft) else study
    if study.out is not None and (line := out_problem(study.out)):
        wrong.append(Problem("out", line))
    away = complete is not None and complete.launch.gpu and complete.train.device != "cpu"
    if away and study.train is not None and study.train.precision == "auto" and not torch.cuda.is_available():
        message = '"auto" depends on the GPU, and only the jobs have one'
        wrong.append(Problem("train.precision", message, 'use "bf16" or "fp32"'))
    if study.train is not None and study.train.device == "cuda" and not (away or torch.cuda.is_available()):
        wrong.append(Problem("train.device", "torch finds no CUDA device here", 'use "auto" or "cpu"'))
    if complete is not None:
        if complete.search.trials is not None and find_spec("optuna") is None:
            wrong.append(Problem("search.trials", "needs optuna: pip install 'encoderlab[sweep]'"))
        wrong += trackers.problems(complete.top.track)
    splits, class_names = None, ["0", "1"]  # two classes stand in where the data says nothing
    if study.data is not None and study.task is not None:
        with collecting(wrong):
            splits, class_names = rows_of(study.data, study.task, file.parent)
    encoder, counts = None, {}
    if study.model is not None and study.task is not None:
        with collecting(wrong):
            encoder = load.load(study.model, head=study.task.head, class_names=class_names, seed=0)
    if encoder is not None:
        wrong += [Problem("model", line) for line in (study.task.model_problems(encoder) if study.task else ())]
        for variant in study.variants:
            with collecting(wrong, f"method.{variant.label}"):
                counts[variant.label] = [_insert(encoder, one) for one in _ends(variant)][0]
        if study.task is not None and study.train is not None:
            wrong += study.task.length_problems(encoder.tokenizer, study.train.max_length)
        fitting = (variant for variant in study.variants if variant.label in counts)
        wrong += _length_problems(encoder, study.train, fitting)
        wrong += _stride_problems(encoder, study.train, study.variants)
    problems += [problem.at(str(file)) for problem in wrong]
    if problems or complete is None or splits is None or encoder is None:
        raise InputError(*problems)
    return Findings(study=complete, splits=splits, class_names=class_names, encoder=encoder, counts=counts)


def rows_of(data: DataConfig, task: Task, base: Path) -> tuple[Splits, list[str]]:
    """Read the splits of a study.

    Args:
        data: the data section.
        task: the task of the study.
        base: the folder from which relative paths count.

    Returns:
        The splits, and the names of the classes.
    """
    splits = load_splits(
        data,
        text=task.text_columns,
        label=task.label_column,
        base=base,
        prepare=lambda rows: task.prepare(rows, labelled=True),
        stratify=task.has_classes,
    )
    return splits, task.class_names(splits)


def _length_problems(encoder: EncoderModel, train: Train | None, variants: Iterable[Variant]) -> list[Problem]:
    """Return what is wrong with `max_length` for the model, and for variants that take up positions of their own."""
    limit = usable(encoder.base_model)
    if train is None:
        return []
    found = []
    if train.max_length > limit:
        message = f"{train.max_length}, but {encoder.name} has {limit} positions"
        found.append(Problem("train.max_length", message, f"use at most {limit}"))
    for variant in variants:
        taken = variant.method.positions_taken()
        if taken and train.max_length > limit - taken:
            message = (
                f"{train.max_length}, but method.{variant.label} takes {taken} of the {limit} positions of "
                f"{encoder.name}"
            )
            found.append(Problem("train.max_length", message, f"use at most {limit - taken}"))
    return found


def _stride_problems(encoder: EncoderModel, train: Train | None, variants: Iterable[Variant]) -> list[Problem]:
    """Return a problem for each stride of training windows that would leave out tokens between two windows."""
    if train is None:
        return []
    window = window_size(encoder.tokenizer, train.max_length)
    return [
        Problem(
            f"method.{variant.label}",
            f"stride = {stride}, but a window has {window} tokens (train.max_length = {train.max_length}, special ones "
            "included)",
            f"use at most {window}",
        )
        for variant in variants
        if (stride := variant.overrides.stride) is not None and stride > window
    ]


def _ends(variant: Variant) -> list[Variant]:
    """Return the variant, and a copy of it at each end of each searched range."""
    found = [variant]
    for key, space in variant.space:
        if key != "learning_rate":
            found += [replace(variant, method=replace(variant.method, **{key: value})) for value in space.ends]
    return found


def _insert(encoder: EncoderModel, variant: Variant) -> dict[str, int]:
    """Insert the variant into a copy of the model and count its parameters.

    Raises:
        InputError: the method does not fit the model.
    """
    if problems := variant.method.problems(encoder):
        raise InputError(*problems)
    trial = replace(encoder, model=copy.deepcopy(encoder.model))
    variant.method.inject(trial, 0)
    return trial.counts()
