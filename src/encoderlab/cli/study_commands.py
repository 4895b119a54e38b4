"""The commands on studies: compare, train, check, inspect, demo.

What a command needs is imported inside it, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from encoderlab.cli.options import (
    Json,
    On,
    Overrides,
    StudyFile,
    placed,
)
from encoderlab.cli.output import is_beside, print_json, say
from encoderlab.core.errors import InputError

if TYPE_CHECKING:
    from encoderlab.results.table import Table


def compare(study: StudyFile, override: Overrides = None, on: On = None, json: Json = False) -> None:
    """Train every method with every seed, and write the report.

    Run the same command again to resume an interrupted study.
    """
    from encoderlab.study.compare import compare

    found: list[Table] = []
    page = compare(study, placed(override, on), found.append)
    if not is_beside():
        print_study(page, found[0], json)


def print_study(report: Path, table: Table, json: bool) -> None:
    """Print the results of a study and, on the last line, the path of its report."""
    import json as codec

    from encoderlab.cli import tables

    if json:
        print_json(codec.loads((report.parent / "summary.json").read_text(encoding="utf-8")))
        return
    tables.summary(table)
    if count := len(table.study.warnings):  # they were printed before the first run, which may be hours ago
        say(f'{count} warning{"s" * (count > 1)} about data and settings: see "Warnings" in the report')
    print(report)


def train(
    study: StudyFile,
    method: Annotated[str | None, typer.Option(help="Label of the variant to train, e.g. 'lora rank=8'.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate. Default: the middle candidate of the study.")
    ] = None,
    override: Overrides = None,
) -> None:
    """Train one run of a study and print its folder.

    To use several processes: torchrun --nproc-per-node 2 -m encoderlab train STUDY
    """
    from encoderlab.study.train import train

    folder = train(study, override or (), label=method, seed=seed, learning_rate=learning_rate)
    if folder is not None:
        print(folder)


def check(
    study: StudyFile,
    override: Overrides = None,
    time: Annotated[
        bool, typer.Option("--time", help="Time a few steps of every method and estimate the time of the study.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a study or an encoding study before it runs.

    The command reports all problems at once. If there are none, it shows what the study would do.
    """
    from encoderlab.brain.encoding.load import is_encoding_study
    from encoderlab.cli import brain_tables, tables
    from encoderlab.study import check
    from encoderlab.study.estimate import estimate

    if is_encoding_study(study):
        from encoderlab.brain.encoding.check import check as check_encoding

        if time:
            raise InputError(f"--time: {study} is an encoding study; only a fine-tuning study can be timed")
        found = check_encoding(study, override or ())
        print_json(found.as_dict()) if json else brain_tables.encoding_checked(found)
        return
    report = check.check(study, override or ())
    expected = estimate(study, override or ()) if time else None
    if json:
        print_json({**report.as_dict(), "expected": expected.as_dict() if expected else None})
        return
    tables.checked(report)
    if expected:
        tables.estimated(expected)


def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model folder (config.json is enough) or a hub name.")
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method name, as in [[method]]. Repeatable. Default: all methods with their defaults."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Set a key of the chosen methods. Repeatable.")
    ] = None,
    task_classes: Annotated[int, typer.Option(help="Number of classes of the head.")] = 2,
    json: Json = False,
) -> None:
    """Count the parameters that each method would train.

    The command also counts the parameters of the model by component. It trains nothing.
    """
    from encoderlab.cli import tables
    from encoderlab.study import inspect as inspection

    found = inspection.inspect(model, method or (), settings or (), classes=task_classes)
    print_json(found.as_dict()) if json else tables.inspection(found)


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the study and the results of the demo.")] = Path(
        "encoderlab-demo"
    ),
    encoder: Annotated[
        bool,
        typer.Option("--encoder", help="Print the folder of the demo encoder and exit, to use it in your own study."),
    ] = False,
    json: Json = False,
) -> None:
    """Compare five methods on movie reviews with a small encoder.

    Reviews and encoder are downloaded once.
    """
    from encoderlab.study import demo

    if encoder:
        print(demo.prepare().model)
        return
    found: list[Table] = []
    print_study(demo.run(out, found.append), found[0], json)
