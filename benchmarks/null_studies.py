"""How often real studies of equal methods claim a difference: from study file to page, on real rows.

A study trains LoRA with 12 seeds on bert-tiny and IMDB. Its runs are then dealt, in the order of their seeds, to four
methods of three seeds each: "lora a" has the first three seeds, "lora b" the next three. The four methods differ in
name and seeds alone, so every claim about a difference is false. A study file cannot say this, because a study trains
all methods with the same seeds. Dealing renames a run and renumbers its seed from 0, because runs are paired by seed.
`collect` and the page then read the dealt folder like that of any study. In memory, the runs of a study are also dealt
at random in 200 other ways: the share of these deals with a claim is more exact, though the deals share their runs.

Each study has training rows and seeds of its own: 600 reviews of its twentieth of the 25,000, of which a fifth
validates. The 5,000 test reviews are five parts of 1,000; every part serves four studies. The baselines `untrained`
and `head` are left out: "worse than the best" would be true of them.

    python benchmarks/null_studies.py [--studies 20] [--work FOLDER] [--out FILE.json]

A command that was stopped goes on where it stopped, in the same FOLDER. It needs the project's shared data.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta
from simulated_studies import fast_range

from encoderlab import report
from encoderlab.config.load import load
from encoderlab.core import statistics
from encoderlab.core.rng import numpy_generator
from encoderlab.core.variation import against_best
from encoderlab.report import headline
from encoderlab.results.collect import collect
from encoderlab.results.comparison import Variant, compare_all, read_variants
from encoderlab.results.study_record import Label, StudyRecord
from encoderlab.results.table import Table
from encoderlab.study import prepare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import Runs, baselines, seeded
from encoderlab.study.study_json import Account, header
from encoderlab.tasks.metric import Metric
from encoderlab.training.epochs import ignore
from encoderlab.training.run_folder import RunFolder

SHARED = Path(__file__).parents[2] / "shared"
METHODS = ("lora a", "lora b", "lora c", "lora d")
SEEDS = 3
STUDIES, TEST_PARTS = 20, 5
STUDY = """\
name  = "null-{number:02}"
model = "{shared}/weights/bert-tiny-mlm"
seeds = {seeds}
out   = "trained"

[data]
train      = {{ path = "{shared}/data/imdb/train.jsonl.gz", part = [{train[0]}, {train[1]}], rows = {rows} }}
validation = {{ fraction = 0.2 }}
test       = {{ path = "{shared}/data/imdb/test_5k.jsonl.gz", part = [{test[0]}, {test[1]}] }}

[train]
epochs     = {epochs}
max_length = {length}

[search]
candidates = 1

[[method]]
name = "lora"
learning_rate = {rate}
"""


def study_file(number: int, folder: Path, options: argparse.Namespace) -> Path:
    """Write the file of study `number` into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    runs, part = len(METHODS) * SEEDS, number % TEST_PARTS
    text = STUDY.format(
        number=number,
        shared=options.shared.resolve().as_posix(),
        seeds=list(range(runs * number, runs * (number + 1))),
        train=(number / STUDIES, (number + 1) / STUDIES),
        test=(part / TEST_PARTS, (part + 1) / TEST_PARTS),
        rows=options.rows,
        epochs=options.epochs,
        length=options.length,
        rate=options.rate,
    )
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def train(path: Path) -> None:
    """Do the runs of a study file that are missing, and write its study.json, as `encoderlab compare` does."""
    study = load(path)
    splits, class_names, warnings = prepare.prepare(study)
    context = open_context(study, splits, class_names)
    work = Runs(study=study, context=context)
    account = Account(study=study, header=header(study, splits, context, warnings))
    (lora,) = (variant for variant in study.variants if variant.label == "lora")
    constant = [spec for spec in baselines(study) if spec.name == study.task.baseline]
    for spec in (*constant, *seeded(study, lora, *lora.learning_rates)):
        account.add(spec, work.do(spec, ignore))
    account.keep()


def deal(trained: Path, dealt: Path) -> None:
    """Write a folder in which the LoRA runs of `trained` are four methods of three seeds each."""
    shutil.rmtree(dealt, ignore_errors=True)
    study = StudyRecord.read(trained)
    runs = [RunFolder(trained / "runs" / number).record() for number in study.runs]
    lora = sorted((run for run in runs if run.method == "lora" and run.is_done), key=lambda run: run.seed or 0)
    if len(lora) != len(METHODS) * SEEDS:
        raise SystemExit(f"{trained}: {len(lora)} finished runs of lora, expected {len(METHODS) * SEEDS}")
    kept = [run for run in runs if run.method == "majority"]
    for place, run in enumerate(lora):
        name = METHODS[place // SEEDS]
        kept.append(replace(run.labelled(name, name), seed=place % SEEDS))
    for run in kept:
        folder = dealt / "runs" / run.id
        shutil.copytree(trained / "runs" / run.id, folder, ignore=shutil.ignore_patterns("adapter", "checkpoint"))
        run.write(folder)
    labels = {run.id: Label(method=run.method, variant=run.variant) for run in kept}
    replace(study, reference=METHODS[0], runs=tuple(labels), labels=labels, search=()).write(dealt)


def claims(table: Table) -> dict[str, Any]:
    """What a dealt study says about its methods."""
    choice, metric = table.recommendation, table.metric
    assert choice is not None and len(choice.finalists) == len(METHODS)
    variants = read_variants(table.out, table.runs, table.measures.metrics.values())
    best = next(variant for variant in variants if variant.name == choice.best)
    to_best = [one.estimate for name, one in compare_all(variants, best, metric).items() if name in choice.finalists]
    words = headline.sentences(table)
    return {
        "accuracy": {row.variant: row.metric.mean for row in table.summary},
        "sd over seeds": {row.variant: row.metric.sd for row in table.summary if row.is_trained},
        "least Holm p": min(row.holm_p for row in table.summary if row.holm_p is not None),
        "least p against the best": min(against_best(e, len(METHODS)).p or 0.0 for e in to_best if e is not None),
        "worse than the reference": [r.variant for r in table.summary if r.holm_p is not None and r.holm_p < 0.05],
        "worse than the best": list(choice.worse),
        "headline claims a difference": any("Significantly worse" in sentence for sentence in words),
        "headline": words,
    }


def redealt(table: Table, number: int, deals: int) -> dict[str, float]:
    """Deal the runs of a study at random, and return the share of deals that claim a difference."""
    variants = read_variants(table.out, table.runs, table.measures.metrics.values())
    methods = [variant for variant in variants if variant.is_trained]
    runs = [(record, method.test[record.seed]) for method in methods for record in method.done]
    reference = best = either = 0
    for deal_number in range(deals):
        order = numpy_generator(number, "deal", deal_number).permutation(len(runs)).reshape(len(methods), SEEDS)
        dealt = [
            replace(
                method,
                done=tuple(replace(runs[i][0], seed=seed) for seed, i in enumerate(mine)),
                test={seed: runs[i][1] for seed, i in enumerate(mine)},
            )
            for method, mine in zip(methods, order, strict=True)
        ]
        worse = [fails(dealt, table.metric), loses(dealt, table.metric)]
        reference, best, either = reference + worse[0], best + worse[1], either + any(worse)
    kinds = {"worse than the reference": reference, "worse than the best": best, "any of them": either}
    return {kind: count / deals for kind, count in kinds.items()}


def fails(methods: Sequence[Variant], metric: Metric) -> bool:
    """Whether any method differs from the first one, by Holm's p."""
    p = [one.p for one in compare_all(methods, methods[0], metric).values()]
    return bool(min(statistics.holm([1.0 if one is None else one for one in p])) < 0.05)


def loses(methods: Sequence[Variant], metric: Metric) -> bool:
    """Whether any method is worse than the best, by the studentized range."""
    means = [np.mean([metric.value(run.statistics[metric.key]) for run in m.test.values()]) for m in methods]
    compared = compare_all(methods, methods[int(np.argmax(means))], metric).values()
    return any(against_best(one.estimate, len(methods)).high < 0 for one in compared if one.estimate is not None)


def exact(count: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    low = float(beta.ppf(0.025, count, of - count + 1)) if count else 0.0
    return low, float(beta.ppf(0.975, count + 1, of - count)) if count < of else 1.0


def summary(studies: list[dict[str, Any]]) -> dict[str, Any]:
    """How many studies claim what, with the exact interval of the share."""
    kinds = ("worse than the reference", "worse than the best", "headline claims a difference")
    found = {kind: sum(bool(study[kind]) for study in studies) for kind in kinds}
    found["any of them"] = sum(any(study[kind] for kind in kinds) for study in studies)
    counted = {kind: {"studies": count, "interval": exact(count, len(studies))} for kind, count in found.items()}
    shares = {kind: float(np.mean([s["other deals"][kind] for s in studies])) for kind in studies[0]["other deals"]}
    return {"of": len(studies), **counted, "share of other deals": shares}


def one(number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train, deal and read one study. What is done already is read from its folder."""
    folder = options.work / f"null-{number:02}"
    start = time.perf_counter()
    train(study_file(number, folder, options))
    deal(folder / "trained", folder / "dealt")
    table = collect(folder / "dealt")
    report.write(table)
    seconds = round(time.perf_counter() - start, 1)
    with fast_range():
        other = redealt(table, number, options.deals)
    return {"study": number, "seconds": seconds, **claims(table), "other deals": other}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=STUDIES, choices=range(1, STUDIES + 1), metavar="1..20")
    parser.add_argument("--rows", type=int, default=600, help="training rows of a study, validation included")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--length", type=int, default=48, help="max_length of a row")
    parser.add_argument("--deals", type=int, default=200, help="other deals of the runs of a study")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--work", type=Path, default=Path("null-studies"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    settings = {name: getattr(options, name) for name in ("rows", "epochs", "length", "rate", "deals")}
    studies = finished(options.out, settings)[: options.studies]
    for number in range(len(studies), options.studies):
        studies.append(one(number, options))
        print(json.dumps({key: value for key, value in studies[-1].items() if key != "headline"}), flush=True)
        if options.out:
            done = {"settings": settings, "studies": studies, "summary": summary(studies)}
            options.out.write_text(json.dumps(done, indent=1), encoding="utf-8")
    print(json.dumps(summary(studies), indent=1))


def finished(out: Path | None, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The studies of an earlier command with these settings, as it wrote them."""
    earlier = json.loads(out.read_text(encoding="utf-8")) if out and out.is_file() else {}
    return list(earlier["studies"]) if earlier.get("settings") == settings else []


if __name__ == "__main__":
    main()
