"""The commands of the encoding part: embed, encode, stories.

What a command needs is imported inside it, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encoderlab.cli.options import (
    EncodingStudyFile,
    Json,
    On,
    Overrides,
    placed,
)
from encoderlab.cli.output import print_json
from encoderlab.core.errors import InputError


def embed(study: EncodingStudyFile, override: Overrides = None, json: Json = False) -> None:
    """Compute the word vectors of every feature space and story.

    Vectors that are up to date are skipped.
    """
    from encoderlab.brain.encoding.embed import embed
    from encoderlab.cli import brain_tables

    stories, made = embed(study, override or ())
    if json:
        print_json([one.as_dict() for one in made])
        return
    brain_tables.embedded(stories, made)


def encode(study: EncodingStudyFile, override: Overrides = None, on: On = None, json: Json = False) -> None:
    """Predict brain responses from every feature space.

    Each story is predicted with models that were fitted to the other stories. The command also writes the report.
    """
    import json as codec

    from encoderlab.brain.encoding.encode import encode
    from encoderlab.cli import brain_tables

    report = encode(study, placed(override, on))
    account = codec.loads((report.parent / "encoding.json").read_text(encoding="utf-8"))
    if json:
        print_json(account["rows"])
        return
    brain_tables.encoded(account)
    print(report)


def stories(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="raw_text.pkl, .parquet, or a file or folder of timed words.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", metavar="OUT", help="Write the stories to this .parquet file.")
    ] = None,
    *,
    tier: Annotated[str | None, typer.Option(help="Name or number of the tier with the words.")] = None,
    mark: Annotated[
        list[str] | None, typer.Option(help="A text that is not a spoken word, as in stories.marks. Repeatable.")
    ] = None,
    tr: Annotated[float, typer.Option(help="Repetition time (TR) in seconds, for timed words.")] = 2.0,
    before: Annotated[float, typer.Option(help="Seconds from the first TR to the start of the recording.")] = 10.0,
    after: Annotated[
        float, typer.Option(help="Seconds from the end of the recording to the end of the last TR.")
    ] = 10.0,
    json: Json = False,
) -> None:
    """Read stories and summarize them.

    With -o, the stories are saved as Parquet, which is safe to share and to read.
    """
    from encoderlab.brain.stories.read import read
    from encoderlab.brain.stories.saved import save
    from encoderlab.cli import brain_tables

    found = read(source, tier=tier, marks=mark or (), tr=tr, before=before, after=after)
    if out is not None:
        if out.suffix != ".parquet":
            raise InputError(f"-o {out}: expected a file name that ends with .parquet")
        save(found, out)
    if json:
        print_json([{"story": s.name, "words": len(s), "trs": len(s.tr_times), "notes": s.notes} for s in found])
        return
    brain_tables.stories(found)
