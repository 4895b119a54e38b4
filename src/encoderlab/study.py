"""A study: every variant with every seed, the learning rate of each chosen on validation, the baselines, one table,
one page.

Runs what is missing and nothing else: a finished run is taken from its folder, an interrupted one goes on from its
checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab import backbone as backbones
from encoderlab import check, config, files, locks, report, runs
from encoderlab.config import Study, Variant
from encoderlab.data import Rows, Splits
from encoderlab.execute import Bench, Job, execute
from encoderlab.randomness import numpy_generator
from encoderlab.tasks import Encoded
from encoderlab.timing import Meter, Work
from encoderlab.training.forward import choose_device, choose_precision

TRIAL_SEED = 0


def compare(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Run a whole study file; returns the path of the report. Raises InputError before anything is trained if
    anything is wrong, or another command works on its folder."""
    study = config.load(path, overrides)
    splits, class_names, warnings = check.prepare(study)
    with locks.hold(study.out, advice="wait until it is done, or stop it, or choose another folder with -s out=FOLDER"):
        return _compare(study, splits, class_names, warnings)


def _compare(study: Study, splits: Splits, class_names: list[str], warnings: Sequence[str]) -> Path:
    bench = open_bench(study, splits, class_names)
    meter = Meter(planned(study, bench), study.task.metric(class_names).key)
    header = _header(study, splits, bench, warnings)
    done: dict[str, dict[str, str]] = {}
    search: list[dict[str, Any]] = []

    def keep() -> None:
        account = {"runs": list(done), "labels": done, "search": search}
        files.write_json(study.out / "study.json", {**header, **account})

    def do(job: Job) -> dict[str, Any]:
        with meter.job(work_of(job, bench)) as tick:
            result = execute(bench, job, tick)
        done[result["id"]] = {"method": job.name, "variant": job.variant}
        meter.say(result)
        keep()
        return result

    try:
        for job in baselines(study, bench):
            do(job)
        for variant in study.variants:
            rate = _search(study, bench, variant, do, search)
            for seed in study.seeds:
                do(run_job(study, bench, variant, rate, seed))
        keep()
    finally:
        meter.close()
    return report.write(study.out)


def open_bench(study: Study, splits: Splits, class_names: list[str]) -> Bench:
    """Tokens (from the cache on disk where they are there), device and precision for a study's runs."""
    device = choose_device(study.train.device)
    dtype, why = choose_precision(device, study.train.precision)
    base = backbones.load(study.model, head=study.task.head, class_names=class_names, seed=0)
    cache = files.cache_folder() / "tokens"
    encoded = {
        name: study.task.encode(rows, base.tokenizer, study.train.max_length, class_names, cache)
        for name, rows in splits.items()
    }
    index = {name: _numbers(encoded[name], rows) for name, rows in splits.items()}
    origins = {name: rows.origin for name, rows in splits.items()}
    hub = tuple(dict.fromkeys(source.hub for source in study.data.sources.values() if source.hub))
    return Bench(
        model=study.model,
        fingerprint=" ".join(filter(None, (base.fingerprint, base.pooler_fingerprint, base.head_fingerprint))),
        task=study.task,
        class_names=class_names,
        train=encoded["train"],
        validation=encoded["validation"],
        test=encoded["test"],
        other_tests={name: encoded[name] for name in splits.others},
        index=index,
        settings=study.train,
        device=device,
        dtype=dtype,
        why=why,
        folder=study.out / "runs",
        origins={name: o if o.startswith(hub) else Path(o).name for name, o in origins.items()},
        hub=hub,
    )


def _numbers(encoded: Encoded, rows: Rows) -> np.ndarray:
    """Of each row that the model sees: in its source, or of the window."""
    return rows.index if encoded.index is None else encoded.index


def baselines(study: Study, bench: Bench) -> list[Job]:
    """The answer that is the same for every row, and the model before training, once per seed of its fresh head."""
    common: dict[str, Any] = {
        "kind": "baseline",
        "method": None,
        "learning_rate": None,
        "settings": study.train,
        "train": bench.train,
    }
    untrained = [Job(name="untrained", variant="untrained", seed=seed, **common) for seed in study.seeds]
    name = study.task.baseline
    return [*([Job(name=name, variant=name, seed=None, **common)] if name else []), *untrained]


def run_job(study: Study, bench: Bench, variant: Variant, rate: float, seed: int) -> Job:
    return Job(
        kind="run",
        name=variant.method.name,
        variant=variant.label,
        method=variant.method,
        learning_rate=rate,
        seed=seed,
        settings=study.train,
        train=bench.train,
    )


def trial_job(study: Study, bench: Bench, variant: Variant, rate: float) -> Job:
    """A short run on some of the training rows, the same rows for every method and rate."""
    settings = replace(study.train, epochs=study.search.epochs, patience=None)
    count = min(study.search.rows, len(bench.train))
    classes = bench.train.labels if study.task.has_classes else np.zeros(len(bench.train), dtype=np.int64)
    rows = some_rows(classes, count)
    job = run_job(study, bench, variant, rate, TRIAL_SEED)
    return replace(job, kind="trial", settings=settings, train=take(bench.train, rows))


def some_rows(labels: np.ndarray, count: int) -> np.ndarray:
    """`count` row numbers, ascending, each class with its share of them; the same for every method and rate."""
    order = numpy_generator(TRIAL_SEED, "trial rows").permutation(len(labels))
    share = np.empty(len(labels))  # how much of its class is taken before a row's turn
    for label in np.unique(labels):
        members = order[labels[order] == label]
        share[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(share[order], kind="stable")][:count])


def take(encoded: Encoded, rows: np.ndarray) -> Encoded:
    """Some rows of an encoded split, in the given order."""
    sequences = encoded.sequences(rows)
    spans = [slice(encoded.offsets[one], encoded.offsets[one + 1]) for one in sequences]
    types, groups = encoded.type_ids, encoded.groups
    return replace(
        encoded,
        ids=np.concatenate([encoded.ids[span] for span in spans]),
        offsets=np.concatenate([[0], np.cumsum(encoded.lengths[sequences])]).astype(np.int64),
        groups=None if groups is None else np.concatenate([[0], np.cumsum(encoded.sizes[rows])]).astype(np.int64),
        type_ids=None if types is None else np.concatenate([types[span] for span in spans]),
        labels=encoded.labels[rows],
        index=None if encoded.index is None else encoded.index[rows],
        fingerprint=f"{encoded.fingerprint}:{runs.array_hash(rows)}",
    )


def planned(study: Study, bench: Bench) -> list[Work]:
    """The work of every run of the study, for the time that is left."""
    jobs = baselines(study, bench)
    for variant in study.variants:
        first, *others = variant.learning_rates
        if others:
            jobs += [trial_job(study, bench, variant, rate) for rate in variant.learning_rates]
        jobs += [run_job(study, bench, variant, first, seed) for seed in study.seeds]
    return [work_of(job, bench) for job in jobs]


def work_of(job: Job, bench: Bench) -> Work:
    held_out = int(bench.validation.offsets[-1])
    forward = held_out * job.settings.epochs if job.method else 0
    if job.kind != "trial" and not job.is_constant:
        forward += sum(int(encoded.offsets[-1]) for _, encoded in bench.held_out)
    trained = int(job.train.offsets[-1]) * job.settings.epochs if job.method else 0
    seed = "" if job.seed is None or job.kind == "trial" else f" seed {job.seed}"
    rate = f" learning rate {job.learning_rate:.3g}" if job.kind == "trial" else ""
    return Work(group=job.variant, title=f"{job.variant}{rate}{seed}", trained=trained, forward=forward)


def _search(study: Study, bench: Bench, variant: Variant, do: Any, search: list[dict[str, Any]]) -> float:
    """The candidate with the best validation score in its trial; ties go to the lower loss. One candidate needs no
    trial."""
    entry: dict[str, Any] = {"method": variant.method.name, "variant": variant.label, "candidates": []}
    shown = dict.fromkeys(("accuracy", "loss", study.task.metric(bench.class_names).key))
    first, *others = variant.learning_rates
    if others:
        for rate in variant.learning_rates:
            result = do(trial_job(study, bench, variant, rate))
            scores = result["splits"].get("validation", {})
            entry["candidates"].append(
                {
                    "learning_rate": rate,
                    **{key: scores.get(key) for key in shown},
                    "run": result["id"],
                    "status": result["status"],
                }
            )
    else:
        entry["candidates"].append({"learning_rate": first, **shown, "run": None, "status": "not tried"})
    done = [c for c in entry["candidates"] if c["status"] == "done"]
    best = max(done, key=lambda c: (study.task.value(c), -c["loss"]), default=entry["candidates"][0])
    entry["chosen"] = best["learning_rate"]
    search.append(entry)
    return best["learning_rate"]


def _header(study: Study, splits: Splits, bench: Bench, warnings: Sequence[str]) -> dict[str, Any]:
    data, truncation = {}, {}
    for name, rows in splits.items():
        encoded = bench.encoded[name]
        data[name] = {
            "origin": rows.origin,
            "rows": len(rows),
            "fingerprint": rows.fingerprint,
            "labels": study.task.label_counts(encoded.labels, bench.class_names),
        }
        truncation[name] = {
            "rows": len(rows),
            "rows_cut": encoded.rows_cut,
            "tokens_lost": encoded.tokens_lost,
            "max_length": study.train.max_length,
        }
    return {
        "study": config.resolved(study),
        "warnings": list(warnings),
        "reference": study.reference,
        "data": data,
        "truncation": truncation,
        "precision": {"compute": str(bench.dtype).removeprefix("torch."), "why": bench.why},
        "versions": runs.versions(),
        "hardware": runs.hardware(),
    }
