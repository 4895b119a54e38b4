"""The commands. Results go to stdout, messages to stderr.

Exit codes: 0 success, 1 failure, 2 wrong input, 130 interrupted.
A command imports what it needs inside its function, so that `--help` is fast.
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
    help="Compare fine-tuning methods for a BERT-family encoder on your own data, and use the best one.",
)

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)  # errors that stop a study midway

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
    here = "here"
    processes = "processes"
    slurm = "slurm"


On = Annotated[
    Place | None,
    typer.Option("--on", help="Where to run the study; [launch] of the study sets the sizes. Default: here."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. An expected error prints one line per problem to stderr, without a traceback."""
    try:
        try:
            app(arguments)
        finally:
            sys.stdout.flush()  # a closed pipe must raise here, where it is handled below
    except SystemExit as stop:
        if stop.code == 130:
            _say("interrupted; run the same command again to resume")
        raise
    except EncoderlabError as error:
        _say(*str(error).splitlines())
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout again at exit
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        what = error.strerror or str(error).partition("\n")[0] or type(error).__name__
        kept = "; finished work is kept, run the same command again to resume" if error.errno in WRITING else ""
        _say(f"{where}{what}{kept}")
        sys.exit(1)


def _say(*lines: str) -> None:
    for line in lines:
        print(f"encoderlab: {line}", file=sys.stderr)


def _quiet() -> None:
    """Silence the messages of the libraries. Call it before they are imported."""
    for library in ("httpx", "httpx2", "urllib3", "bitsandbytes"):  # bitsandbytes warns of a kernel not used here
        logging.getLogger(library).setLevel(logging.ERROR)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # waiting threads yield the core: docs/decisions/0004
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):  # kernels, one per shape: decisions/0009
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
    """Return whether this is a secondary process of torchrun or `accelerate launch`, which must not print results."""
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
        raise InputError(
            f"{context.invoked_subcommand}: cannot run under torchrun or accelerate; only train and compare can"
        )
    _quiet()


@app.command()
def compare(study: StudyFile, override: Overrides = None, on: On = None, json: Json = False) -> None:
    """Train every method of a study with every seed. Writes the report; resumes an interrupted study."""
    from encoderlab.study.compare import compare

    page = compare(study, _placed(override, on))
    if not _beside():
        _finish(page, json)


def _placed(override: list[str] | None, on: Place | None) -> list[str]:
    return [*(override or ()), *([] if on is None else [f"launch.on={on.value}"])]


def _finish(report: Path, json: bool) -> None:
    """Print the results of a study and, on the last line, the path of its report."""
    import json as codec

    from encoderlab.cli import tables

    if json:
        _print_json(codec.loads((report.parent / "summary.json").read_text(encoding="utf-8")))
        return
    settings = codec.loads((report.parent / "study.json").read_text(encoding="utf-8"))
    tables.summary(report.parent, settings["reference"])
    if count := len(settings["warnings"]):  # they were printed before the first run, which may be hours ago
        _say(f'{count} warning{"s" * (count > 1)} about data and settings: see "Warnings" in the report')
    print(report)


@app.command()
def train(
    study: StudyFile,
    method: Annotated[str | None, typer.Option(help="Label of the variant to train, e.g. 'lora rank=8'.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate. Default: the middle candidate of the study.")
    ] = None,
    override: Overrides = None,
) -> None:
    """Train one run of a study and print its folder. To use several processes, on one machine or more:
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
        bool, typer.Option("--time", help="Time a few steps of every method and estimate the time of the study.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a study or an encoding study before it runs. Reports all problems at once; if there are none, shows what
    the study would do."""
    from encoderlab.brain.encoding.load import is_encoding_study
    from encoderlab.cli import brain_tables, tables
    from encoderlab.study import check
    from encoderlab.study.estimate import estimate

    if is_encoding_study(study):
        from encoderlab.brain.encoding.check import check as check_encoding

        if time:
            raise InputError(f"--time: {study} is an encoding study; only a fine-tuning study can be timed")
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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of labelled rows, in any format of [data].")],
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
    _print_json(result) if json else tables.evaluated(result)


@app.command()
def predict(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of rows with the run's text column(s).")],
    out: Annotated[Path | None, typer.Option("-o", metavar="OUT", help="Output CSV file. Default: stdout.")] = None,
    force: Force = False,
    base: Base = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    columns: Columns = None,
) -> None:
    """Predict labels and probabilities for the rows of a file. Writes CSV."""
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
            raise InputError(f"-o {out}: expected a file name in an existing folder")
        if out.exists() and file.exists() and out.samefile(file):
            raise InputError(f"-o {out}: is the input file, which would be overwritten; choose another name")
        write_atomically(out, write)
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        rows = predict(run, source, sys.stdout, force=force, base=base, say=note)
    _say(f"{rows} rows")


@app.command()
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
    """Count the parameters that each method would train. Also counts the model's parameters by component; trains
    nothing."""
    from encoderlab.cli import tables
    from encoderlab.study import inspect as anatomy

    found = anatomy.inspect(model, method or (), settings or (), classes=task_classes)
    _print_json(found.as_dict()) if json else tables.anatomy(found)


@app.command()
def embed(study: EncodingStudyFile, override: Overrides = None, json: Json = False) -> None:
    """Compute the word vectors of every feature space and story. Skips vectors that are up to date."""
    from encoderlab.brain.encoding.embed import embed
    from encoderlab.cli import brain_tables

    stories, made = embed(study, override or ())
    if json:
        _print_json([one.as_dict() for one in made])
        return
    brain_tables.embedded(stories, made)


@app.command()
def encode(study: EncodingStudyFile, override: Overrides = None, on: On = None, json: Json = False) -> None:
    """Predict brain responses from every feature space. Predicts each story with models fitted to the others, and
    writes the report."""
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
        Path, typer.Argument(metavar="FILE", help="raw_text.pkl, .parquet, or a file or folder of timed words.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", metavar="OUT", help="Write the stories to this .parquet file.")
    ] = None,
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
    """Read stories and summarize them. With -o, saves them as Parquet, which is safe to share and to train on."""
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
    to: Annotated[str, typer.Option(metavar="FORMAT", help="Format: merged, peft, adapterhub or onnx.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="New or empty output folder. Default: RUN/FORMAT.")
    ] = None,
    force: Force = False,
    base: Base = None,
    json: Json = False,
) -> None:
    """Export a finished run to another format. Checks that the export gives the same logits."""
    from encoderlab.inference.export import export

    done = export(run, to, out, force=force, base=base)
    if json:
        _print_json(done.as_dict())
        return
    print(f"{done.format}: {done.bytes / 1e6:,.1f} MB")
    for line in done.checks():
        print(f"checked: {line}")
    print(f"load with: {done.load}")
    print(done.folder)


@app.command()
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
    """Compare five methods on movie reviews with a small encoder. Downloads both once."""
    from encoderlab.study import demo

    if encoder:
        print(demo.prepare().model)
        return
    _finish(demo.run(out), json)
