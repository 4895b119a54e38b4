"""One run of a study, by itself: `encoderlab train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from encoderlab.config import load
from encoderlab.config.settings import Study, Variant
from encoderlab.core.errors import InputError, RunFailed
from encoderlab.engine.device import choose_device
from encoderlab.engine.distributed import Ranks, alike, open_ranks
from encoderlab.study import check, prepare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import run_job, work_of
from encoderlab.study.progress import Meter
from encoderlab.training.run import execute
from encoderlab.training.run_context import RunContext


def train(
    path: Path, overrides: Sequence[str], *, label: str | None, seed: int | None, learning_rate: float | None
) -> Path | None:
    """Train and score one variant with one seed, or find the run done; return its folder.

    Under torchrun several processes do the run together; all but the first return None.

    Args:
        path: The study file.
        overrides: `key=value` settings that replace those of the file.
        label: The variant. None if the study has only one.
        seed: None if the study has only one.
        learning_rate: None takes the middle candidate of the study.

    Raises:
        InputError: As `check`.
        RunFailed: The run failed.
    """
    study, variant, seed = alike(lambda: _chosen(path, overrides, label, seed, learning_rate))
    ranks = open_ranks(choose_device(study.train.device))
    context, warnings = ranks.one_after_another(lambda: _prepared(study, variant, ranks))
    notes = []
    if learning_rate is None:
        learning_rate = variant.learning_rates[len(variant.learning_rates) // 2]
        if len(variant.learning_rates) > 1:
            notes.append(f"learning rate {learning_rate:g}, the middle candidate; `compare` tries them all")
    job = run_job(study, context, variant, learning_rate, seed)
    if not ranks.first:
        return None if execute(context, job).is_done else ranks.leave(RunFailed.exit_code)
    check.say(warnings)
    for line in notes:
        print(line, file=sys.stderr)
    meter = Meter([work_of(job, context)], study.task.metric(context.class_names).key)
    try:
        with meter.job(work_of(job, context)) as on_progress:
            record = execute(context, job, on_progress)
        meter.say(record)
    finally:
        meter.close()
    if not record.is_done:
        raise RunFailed(f"{context.folder / record.id}: {record.reason}")
    return context.folder / record.id


def _chosen(
    path: Path, overrides: Sequence[str], label: str | None, seed: int | None, learning_rate: float | None
) -> tuple[Study, Variant, int]:
    study = load.load(path, overrides)
    variant, seed = _variant(study, label), _seed(study, seed)
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise InputError(f"--learning-rate {learning_rate:g}: expected a number above 0")
    if searched := [key for key, _ in variant.space if key != "learning_rate"]:
        example = f"method.{variant.method.name}.{searched[0]}={dict(variant.space)[searched[0]].ends[0]}"
        raise InputError(
            f"{path}: method.{variant.label}: {', '.join(searched)} is a range, which `compare` searches; for one run "
            f"give a value, e.g. -s {example}"
        )
    return study, variant, seed


def _prepared(study: Study, variant: Variant, ranks: Ranks) -> tuple[RunContext, list[str]]:
    study = replace(study, variants=(variant,))
    splits, class_names, warnings = prepare.prepare(study)
    context = replace(open_context(study, splits, class_names), ranks=ranks)
    return context, warnings


def _variant(study: Study, label: str | None) -> Variant:
    labels = [variant.label for variant in study.variants]
    if label is None and len(labels) > 1:
        raise InputError(f"{study.path}: several methods; choose one with --method: {', '.join(map(repr, labels))}")
    if label is not None and label not in labels:
        raise InputError(f"--method {label}: not in {study.path}, which has {', '.join(map(repr, labels))}")
    return next(variant for variant in study.variants if label in (None, variant.label))


def _seed(study: Study, seed: int | None) -> int:
    if seed is None and len(study.seeds) > 1:
        raise InputError(f"{study.path}: several seeds; choose one with --seed: {', '.join(map(str, study.seeds))}")
    if seed is not None and seed < 0:
        raise InputError(f"--seed {seed}: expected a whole number from 0 up")
    return next(iter(study.seeds)) if seed is None else seed
