"""How close the search for a learning rate comes to the best rate of a wide grid: IMDB, BERT-tiny, full and LoRA.

Every rate of a wide grid is trained at full length with the first seed and scored on the test rows; those within 2
points of the best one are trained with every seed. The search then chooses a rate for each of several trial seeds, as
`compare` does: short trials, more at the edge, a race, all on validation rows. The rate it chooses is trained with the
same seeds. The gap is its mean test accuracy minus that of the wide grid's best rate. The best of a grid is chosen on
the test rows, so the gap is too large rather than too small.

    python benchmarks/learning_rates.py OUT [--model FOLDER] [--data FOLDER] [--seeds 3] [--trial-seeds 3]
                                        [--seeds-per-search 1] [--validation 500] [--set KEY=VALUE ...] [--json FILE]

A run that is in OUT is not done again, so a stopped benchmark resumes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab.config import load
from encoderlab.config.settings import Study, Variant
from encoderlab.core.machine import hardware
from encoderlab.results.searches import runs_of
from encoderlab.study import prepare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import JobSpec, Runs, seeded
from encoderlab.study.learning_rates import Grid
from encoderlab.training.epochs import ignore

SHARED = Path(__file__).resolve().parents[2] / "shared"
WIDE = {
    "full": (5e-5, 1.5e-4, 4.5e-4, 1.35e-3),
    "lora": (3.33e-4, 1e-3, 3e-3, 9e-3),
}
TRAINED = 2000  # rows
CLOSE = 0.02  # of the best rate, with the first seed
STUDY = """
model = {model}
seeds = {seeds}
out = {out}

[data]
train = {{ path = {train}, rows = {rows} }}
validation = {{ fraction = {fraction} }}
test = {test}

[train]
epochs = 3
max_length = 64
device = "cpu"

[[method]]
name = "full"

[[method]]
name = "lora"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=SHARED / "weights/bert-tiny-mlm")
    parser.add_argument("--data", type=Path, default=SHARED / "data/imdb")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trial-seeds", type=int, default=3)
    parser.add_argument("--seeds-per-search", type=int, default=1)
    parser.add_argument("--validation", type=int, default=500, help="validation rows, beside 2,000 training rows")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "study.toml"
    words = {
        "model": arguments.model.resolve(),
        "out": arguments.out.resolve(),
        "train": arguments.data.resolve() / "train.jsonl.gz",
        "test": arguments.data.resolve() / "test_5k.jsonl.gz",
    }
    quoted = {key: json.dumps(str(value)) for key, value in words.items()}
    rows = TRAINED + arguments.validation
    numbers = {"seeds": list(range(arguments.seeds)), "rows": rows, "fraction": arguments.validation / rows}
    path.write_text(STUDY.format(**quoted, **numbers), encoding="utf-8")
    wide = measure(path)
    each = arguments.seeds_per_search
    found = [
        search(path, wide, list(range(first, first + each)), arguments.set)
        for first in range(0, each * arguments.trial_seeds, each)
    ]
    print(table(wide, [one for searches in found for one in searches]))
    if arguments.json:
        content = {"wide": wide, "searches": found, "settings": arguments.set, "hardware": hardware()}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def opened(path: Path, overrides: Sequence[str]) -> tuple[Study, Runs]:
    """A study and its runs. The probe `head`, which every study has, takes no part."""
    study = load.load(path, overrides)
    splits, class_names, _ = prepare.prepare(study)
    return study, Runs(study=study, context=open_context(study, splits, class_names))


def measure(path: Path) -> dict[str, dict[str, list[float]]]:
    """{method: {rate: test accuracies, one per seed}} of the wide grid."""
    study, runs = opened(path, [])
    once, found = replace(study, seeds=study.seeds[:1]), {}
    for variant in study.variants:
        if variant.label in WIDE:
            first = {rate: at_full_length(once, runs, variant, rate) for rate in WIDE[variant.label]}
            close = max(first.values())[0] - CLOSE
            found[variant.label] = {
                f"{rate:g}": at_full_length(study, runs, variant, rate) if scores[0] >= close else scores
                for rate, scores in first.items()
            }
    return found


def at_full_length(study: Study, runs: Runs, variant: Variant, rate: float) -> list[float]:
    """The test accuracies of a learning rate, one per seed; 0 of a run that failed."""
    return [done(runs, spec).metric("test", "accuracy") or 0.0 for spec in seeded(study, variant, rate)]


def best_of(rates: Mapping[str, list[float]]) -> tuple[float, float]:
    """The best rate of a wide grid, among those with every seed, and its mean accuracy."""
    most = max(map(len, rates.values()))
    whole = {rate: float(np.mean(scores)) for rate, scores in rates.items() if len(scores) == most}
    rate = max(whole, key=lambda rate: whole[rate])
    return float(rate), whole[rate]


def done(runs: Runs, spec: JobSpec) -> Any:
    """The record of a job, which is in its folder or is done now."""
    start = time.perf_counter()
    record = runs.do(spec, ignore)
    if (seconds := time.perf_counter() - start) > 0.5:
        print(f"{spec.kind} {spec.name} {spec.rate:g} seed {spec.seed}: {seconds:.0f} s", flush=True)
    return record


def search(
    path: Path, wide: dict[str, dict[str, list[float]]], seeds: list[int], settings: Sequence[str]
) -> list[dict[str, Any]]:
    """What the search with these trial seeds chooses for each method, and how good that is."""
    study, runs = opened(path, [*settings, f"search.seeds={seeds}"])
    found = []
    for variant in study.variants:
        if variant.label not in wide:
            continue
        grid = Grid(study=study, context=runs.context, variant=variant)
        seconds = {}
        while grid.open:
            for spec in grid.next_jobs(1):
                record = done(runs, spec)
                seconds[record.id] = record.train_seconds
                grid.tell(spec, record)
        chosen = grid.record()
        accuracies = at_full_length(study, runs, variant, chosen.chosen)
        best_rate, best_accuracy = best_of(wide[variant.label])
        found.append(
            {
                "method": variant.label,
                "trial_seeds": seeds,
                **chosen.to_json(),
                "test": accuracies,
                "best_rate": best_rate,
                "gap": 100 * float(np.mean(accuracies) - best_accuracy),
                "seconds": sum(seconds[run] for run in runs_of(chosen)),
            }
        )
    return found


def table(wide: dict[str, dict[str, list[float]]], found: Sequence[dict[str, Any]]) -> str:
    """Both tables as Markdown."""
    lines = ["| method | learning rate | test accuracy | SD over seeds |", "| --- | --- | --- | --- |"]
    for method, rates in wide.items():
        for rate, scores in rates.items():
            sd = f"{100 * np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
            lines.append(f"| `{method}` | {rate} | {100 * np.mean(scores):.1f} | {sd} |")
    lines += ["", "| method | trial seeds | tried | raced | chosen | test accuracy | best rate | gap | seconds |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for one in sorted(found, key=lambda one: one["method"]):
        tried = ", ".join(f"{c['learning_rate']:g}" for c in one["candidates"])
        raced = ", ".join(f"{c['learning_rate']:g}" for c in one["race"])
        seeds = ", ".join(map(str, one["trial_seeds"]))
        lines.append(
            f"| `{one['method']}` | {seeds} | {tried} | {raced} | {one['chosen']:g} | "
            f"{100 * np.mean(one['test']):.1f} | {one['best_rate']:g} | {one['gap']:+.1f} | {one['seconds']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
