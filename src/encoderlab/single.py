"""One run of a study, by itself: `encoderlab train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from encoderlab import check, config
from encoderlab.config import Study, Variant
from encoderlab.errors import InputError, RunFailed
from encoderlab.execute import execute
from encoderlab.study import open_bench, run_job, work_of
from encoderlab.timing import Meter


def train(
    path: Path, overrides: Sequence[str], *, label: str | None, seed: int | None, learning_rate: float | None
) -> Path:
    """Trains one variant with one seed and evaluates it, or finds it done; returns its folder.

    label, seed: may be None where the study has only one. learning_rate: None takes the study's middle candidate.
    Raises InputError as `check`, and RunFailed if the run failed."""
    study = config.load(path, overrides)
    variant, seed = _variant(study, label), _seed(study, seed)
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise InputError(f"--learning-rate {learning_rate:g}: expected a number above 0")
    splits, class_names, warnings = check.prepare(replace(study, variants=(variant,)))
    if learning_rate is None:
        learning_rate = variant.learning_rates[len(variant.learning_rates) // 2]
        if len(variant.learning_rates) > 1:
            print(f"learning rate {learning_rate:g}, the middle candidate; `compare` tries them all", file=sys.stderr)
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    bench = open_bench(study, splits, class_names)
    job = run_job(study, bench, variant, learning_rate, seed)
    meter = Meter([work_of(job, bench)], study.task.metric(class_names).key)
    try:
        with meter.job(work_of(job, bench)) as tick:
            result = execute(bench, job, tick)
        meter.say(result)
    finally:
        meter.close()
    if result["status"] != "done":
        raise RunFailed(f"{bench.folder / result['id']}: {result['reason']}")
    return bench.folder / result["id"]


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
