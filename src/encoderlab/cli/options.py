"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (TOML).")]


EncodingStudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY", help="An encoding study file (TOML): [stories], [[features]], [encode].")
]


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run: OUT/runs/ID.")]


Overrides = Annotated[
    list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Override a key of the study file. Repeatable.")
]


Force = Annotated[
    bool, typer.Option("--force", help="Use the base model even if it is not the one the run was trained on.")
]


Base = Annotated[
    str | None,
    typer.Option("--base", metavar="FOLDER", help="The base model's folder, if it was moved, or its hub name."),
]


Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", metavar="NAME", help="Encoding of a text file, e.g. cp1252. Default: detected, or UTF-8."
    ),
]


Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="CHAR", help="Field delimiter of a CSV or TSV file. Default: detected."),
]


Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="WORD,LABEL", help="Column numbers of a CoNLL file, e.g. 2,3."),
]


class Place(StrEnum):
    """The places where a study can run, as in `launch.on`."""

    here = "here"
    processes = "processes"
    slurm = "slurm"


On = Annotated[
    Place | None,
    typer.Option("--on", help="Where to run the study; [launch] of the study sets the sizes. Default: here."),
]


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def placed(override: list[str] | None, on: Place | None) -> list[str]:
    """Return the overrides of -s, with the place of --on as a further one."""
    return [*(override or ()), *([] if on is None else [f"launch.on={on.value}"])]
