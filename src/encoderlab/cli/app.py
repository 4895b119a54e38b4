"""The commands. Results go to stdout, talk to stderr; exit 0 done, 1 failed, 2 wrong input, 130 interrupted.

What a command needs is imported inside it, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from encoderlab import __version__
from encoderlab.core.errors import EncoderlabError, InputError

app = typer.Typer(
    name="encoderlab",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Compare ways of fine-tuning a BERT-family encoder on your own data, fairly; use the winner.",
)

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)  # errors that end a study half-way

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (TOML).")]
EncodingStudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY", help="An encoding study (TOML): [stories], [[features]], [encode].")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run: OUT/runs/ID.")]
Overrides = Annotated[
    list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Set a key of the study file; repeatable.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Take a base model that is not the one that the run was trained on.")
]


Base = Annotated[
    str | None,
    typer.Option("--base", metavar="FOLDER", help="Where the base model lies now, if it was moved (or its hub name)."),
]


Encoding = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Of a text file, e.g. cp1252. Default: found, or UTF-8."),
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", metavar="SIGN", help="Between fields of a CSV or TSV file. Default: found.")
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="WORD,LABEL", help="Of a CoNLL file: numbers of its columns, e.g. 2,3."),
]


class Place(StrEnum):
    here = "here"
    processes = "processes"
    slurm = "slurm"


On = Annotated[
    Place | None,
    typer.Option("--on", help="Where the work is done; sizes stand in [launch] of the study. Default: here."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits. What a user can meet becomes one line per problem on stderr."""
    try:
        try:
            app(arguments)
        finally:
            sys.stdout.flush()  # here, where it can still be answered that nobody reads any more
    except SystemExit as stop:
        if stop.code == 130:
            _say("interrupted; the same command goes on where it stopped")
        raise
    except EncoderlabError as error:
        _say(*str(error).splitlines())
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        what = error.strerror or str(error).partition("\n")[0] or type(error).__name__
        kept = "; what is finished is kept, the same command goes on from there" if error.errno in WRITING else ""
        _say(f"{where}{what}{kept}")
        sys.exit(1)


def _say(*lines: str) -> None:
    for line in lines:
        print(f"encoderlab: {line}", file=sys.stderr)


def _quiet() -> None:
    """Keeps the libraries' own talk out of the way. Before they are imported."""
    for library in ("httpx", "httpx2", "urllib3", "bitsandbytes"):  # the last: of a kernel that nothing here uses
        logging.getLogger(library).setLevel(logging.ERROR)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # threads that wait give way: docs/decisions/0004
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):  # of kernels, one a shape: decisions/0009
        os.environ.setdefault(cache, "128")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=1, ensure_ascii=False))


def _version(asked: bool) -> None:
    if asked:
        print(f"encoderlab {__version__}")
        raise typer.Exit


def _beside() -> bool:
    """Whether torchrun or `accelerate launch` started this process beside the one that tells what was done."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0"


@app.callback()
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and context.invoked_subcommand not in ("train", "compare"):
        if _beside():
            sys.exit(InputError.exit_code)
        raise InputError(f"{context.invoked_subcommand}: runs in one process; under torchrun only train and compare do")
    _quiet()


@app.command()
def compare(study: StudyFile, override: Overrides = None, on: On = None, json: Json = False) -> None:
    """Train every method of a study with every seed, and write the report. Goes on where it was stopped."""
    from encoderlab.study.compare import compare

    page = compare(study, _placed(override, on))
    if not _beside():
        _finish(page, json)


def _placed(override: list[str] | None, on: Place | None) -> list[str]:
    return [*(override or ()), *([] if on is None else [f"launch.on={on.value}"])]


def _finish(report: Path, json: bool) -> None:
    """Prints what a study found, its report's path last."""
    import json as codec

    from encoderlab.cli import tables

    if json:
        _print_json(codec.loads((report.parent / "summary.json").read_text(encoding="utf-8")))
        return
    settings = codec.loads((report.parent / "study.json").read_text(encoding="utf-8"))
    tables.summary(report.parent, settings["reference"])
    if count := len(settings["warnings"]):  # printed in full before the first run, which may be hours ago
        _say(f"{count} warning{'s' * (count > 1)} about data and settings: see the report, under Warnings")
    print(report)


@app.command()
def train(
    study: StudyFile,
    method: Annotated[str | None, typer.Option(help="Which variant, by its label, e.g. 'lora rank=8'.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which seed.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Default: the middle candidate of the study.")] = None,
    override: Overrides = None,
) -> None:
    """Do one run of a study and print its folder. In several processes, on one machine or more:
    torchrun --nproc-per-node 2 -m encoderlab train STUDY."""
    from encoderlab.study.train import train

    folder = train(study, override or (), label=method, seed=seed, learning_rate=learning_rate)
    if folder is not None:
        print(folder)


@app.command()
def check(
    study: StudyFile,
    override: Overrides = None,
    time: Annotated[
        bool, typer.Option("--time", help="Time a few steps of every method; say how long the study takes.")
    ] = False,
    json: Json = False,
) -> None:
    """Report every problem of a study, of either kind, at once; if there is none, what it would do, and on what."""
    from encoderlab.brain.encoding.load import is_encoding_study
    from encoderlab.cli import brain_tables, tables
    from encoderlab.study import check
    from encoderlab.study.estimate import estimate

    if is_encoding_study(study):
        from encoderlab.brain.encoding.check import check as check_encoding

        if time:
            raise InputError(f"--time: {study} is an encoding study; only what a fine-tuning study takes can be timed")
        found = check_encoding(study, override or ())
        _print_json(found.as_dict()) if json else brain_tables.encoding_checked(found)
        return
    report = check.check(study, override or ())
    expected = estimate(study, override or ()) if time else None
    if json:
        _print_json({**report.as_dict(), "expected": expected.as_dict() if expected else None})
        return
    tables.checked(report)
    if expected:
        tables.estimated(expected)


@app.command()
def evaluate(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labelled rows, in any format of [data].")],
    force: Force = False,
    base: Base = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    columns: Columns = None,
    json: Json = False,
) -> None:
    """Score a finished run on a labelled file."""
    from encoderlab.cli import tables
    from encoderlab.inference import evaluate as inference_evaluate
    from encoderlab.inference import predict as inference_predict

    source = inference_predict.command_source(file, encoding, delimiter, columns)
    result = inference_evaluate.evaluate(run, source, force=force, base=base)
    _print_json(result) if json else tables.evaluated(result)


@app.command()
def predict(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows with the text column(s) of the run.")],
    out: Annotated[Path | None, typer.Option("-o", metavar="OUT", help="A CSV file; default: stdout.")] = None,
    force: Force = False,
    base: Base = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    columns: Columns = None,
) -> None:
    """Add a label and probabilities to the rows of a file; writes CSV."""
    from encoderlab.core.files import write_atomically
    from encoderlab.inference.predict import command_source, predict

    rows = 0
    source = command_source(file, encoding, delimiter, columns)

    def note(line: str) -> None:
        _say(f"note: {line}")

    def write(path: Path) -> None:
        nonlocal rows
        with path.open("w", encoding="utf-8", newline="") as stream:
            rows = predict(run, source, stream, force=force, base=base, say=note)

    if out is not None:
        if (out.exists() and not out.is_file()) or not out.parent.is_dir():  # a device must not be replaced
            raise InputError(f"-o {out}: expected the name of a file, in a folder that exists")
        if out.exists() and file.exists() and out.samefile(file):
            raise InputError(f"-o {out}: the file that is read; name another one, and nothing of yours is overwritten")
        write_atomically(out, write)
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        rows = predict(run, source, sys.stdout, force=force, base=base, say=note)
    _say(f"{rows} rows")


@app.command()
def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model folder (config.json is enough), or a hub name.")
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method of [[method]]; repeatable. Default: every one, with its defaults."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Set a key of the methods named; repeatable.")
    ] = None,
    task_classes: Annotated[int, typer.Option(help="Classes of the head.")] = 2,
    json: Json = False,
) -> None:
    """Count a model's parameters by component, and what each method would train of it. Trains nothing."""
    from encoderlab.cli import tables
    from encoderlab.study import inspect as anatomy

    found = anatomy.inspect(model, method or (), settings or (), classes=task_classes)
    _print_json(found.as_dict()) if json else tables.anatomy(found)


@app.command()
def embed(study: EncodingStudyFile, override: Overrides = None, json: Json = False) -> None:
    """Make the vectors of every word of every story, in every feature space. What is there already is left alone."""
    from encoderlab.brain.encoding.embed import embed
    from encoderlab.cli import brain_tables

    stories, made = embed(study, override or ())
    if json:
        _print_json([one.as_dict() for one in made])
        return
    brain_tables.embedded(stories, made)


@app.command()
def encode(study: EncodingStudyFile, override: Overrides = None, on: On = None, json: Json = False) -> None:
    """Predict the responses to every story from the others, in every feature space, and write the report."""
    import json as codec

    from encoderlab.brain.encoding.encode import encode
    from encoderlab.cli import brain_tables

    report = encode(study, _placed(override, on))
    account = codec.loads((report.parent / "encoding.json").read_text(encoding="utf-8"))
    if json:
        _print_json(account["rows"])
        return
    brain_tables.encoded(account)
    print(report)


@app.command()
def stories(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="raw_text.pkl, .parquet, or a file or folder of words with times.")
    ],
    out: Annotated[Path | None, typer.Option("-o", metavar="OUT", help="Write them to this .parquet file.")] = None,
    tier: Annotated[str | None, typer.Option(help="The tier that holds the words: its name or number.")] = None,
    mark: Annotated[
        list[str] | None, typer.Option(help="A text that nobody said, as stories.marks. Repeatable.")
    ] = None,
    tr: Annotated[float, typer.Option(help="Seconds of a TR, for files of words.")] = 2.0,
    before: Annotated[float, typer.Option(help="Seconds from the first TR to the start of the recording.")] = 10.0,
    after: Annotated[float, typer.Option(help="Seconds from its end to that of the last TR.")] = 10.0,
    json: Json = False,
) -> None:
    """Read stories and say what is in them; with -o keep them in a form that is safe to share, and to train on."""
    from encoderlab.brain.stories.read import read
    from encoderlab.brain.stories.saved import save
    from encoderlab.cli import brain_tables

    found = read(source, tier=tier, marks=mark or (), tr=tr, before=before, after=after)
    if out is not None:
        if out.suffix != ".parquet":
            raise InputError(f"-o {out}: expected a name that ends in .parquet")
        save(found, out)
    if json:
        _print_json([{"story": s.name, "words": len(s), "trs": len(s.tr_times), "notes": s.notes} for s in found])
        return
    brain_tables.stories(found)


@app.command()
def export(
    run: RunFolder,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="merged, peft, adapterhub or onnx.")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="New or empty; default: RUN/FORMAT.")] = None,
    force: Force = False,
    base: Base = None,
    json: Json = False,
) -> None:
    """Write a finished run in a format of others, and check that it gives the run's logits."""
    from encoderlab.inference.export import export

    done = export(run, to, out, force=force, base=base)
    if json:
        _print_json(done.as_dict())
        return
    print(f"{done.format}: {done.bytes / 1e6:,.1f} MB")
    for line in done.checks():
        print(f"checked: {line}")
    print(f"load it: {done.load}")
    print(done.folder)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the demo's study and results.")] = Path(
        "encoderlab-demo"
    ),
    encoder: Annotated[
        bool,
        typer.Option("--encoder", help="Print the folder of the demo's encoder and stop, for a study of your own."),
    ] = False,
    json: Json = False,
) -> None:
    """Compare five methods on movie-review sentences, with a small encoder; fetches both once."""
    from encoderlab.study import demo

    if encoder:
        print(demo.prepare().model)
        return
    _finish(demo.run(out), json)
