"""The commands on a finished run: evaluate, predict, export.

What a command needs is imported inside it, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from encoderlab.cli.options import (
    Base,
    Columns,
    Delimiter,
    Encoding,
    Force,
    Json,
    RunFolder,
)
from encoderlab.cli.output import print_json, say
from encoderlab.core.errors import InputError


def evaluate(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of labelled rows, in any format of [data].")],
    *,
    force: Force = False,
    base: Base = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    columns: Columns = None,
    json: Json = False,
) -> None:
    """Evaluate a finished run on a labelled file."""
    from encoderlab.cli import tables
    from encoderlab.inference import evaluate as inference_evaluate
    from encoderlab.inference import predict as inference_predict

    source = inference_predict.command_source(file, encoding, delimiter, columns)
    result = inference_evaluate.evaluate(run, source, force=force, base=base)
    print_json(result) if json else tables.evaluated(result)


def predict(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of rows with the run's text column(s).")],
    out: Annotated[Path | None, typer.Option("-o", metavar="OUT", help="Output CSV file. Default: stdout.")] = None,
    *,
    force: Force = False,
    base: Base = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    columns: Columns = None,
) -> None:
    """Predict labels and probabilities for the rows of a file, as CSV."""
    from encoderlab.core.files import write_atomically
    from encoderlab.inference.predict import command_source, predict

    rows = 0
    source = command_source(file, encoding, delimiter, columns)

    def note(line: str) -> None:
        say(f"note: {line}")

    def write(path: Path) -> None:
        nonlocal rows
        with path.open("w", encoding="utf-8", newline="") as stream:
            rows = predict(run, source, stream, force=force, base=base, say=note)

    if out is not None:
        if (out.exists() and not out.is_file()) or not out.parent.is_dir():  # a device must not be replaced
            raise InputError(f"-o {out}: expected a file name in an existing folder")
        if out.exists() and file.exists() and out.samefile(file):
            raise InputError(f"-o {out}: is the input file, which would be overwritten; choose another name")
        write_atomically(out, write)
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        rows = predict(run, source, sys.stdout, force=force, base=base, say=note)
    say(f"{rows} rows")


def export(
    run: RunFolder,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="Format: merged, peft, adapterhub or onnx.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="New or empty output folder. Default: RUN/FORMAT.")
    ] = None,
    force: Force = False,
    base: Base = None,
    json: Json = False,
) -> None:
    """Export a finished run to another format.

    The command checks that the export gives the same logits.
    """
    from encoderlab.inference.export import export

    done = export(run, to, out, force=force, base=base)
    if json:
        print_json(done.as_dict())
        return
    print(f"{done.format}: {done.bytes / 1e6:,.1f} MB")
    for line in done.checks():
        print(f"checked: {line}")
    print(f"load with: {done.load}")
    print(done.folder)
