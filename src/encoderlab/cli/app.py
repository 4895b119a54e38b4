"""The command line: `encoderlab COMMAND`.

Results go to stdout, messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from encoderlab import __version__
from encoderlab.cli import brain_commands, run_commands, study_commands
from encoderlab.cli.output import is_beside, quieten_libraries, say
from encoderlab.core.errors import EncoderlabError, InputError, first_line

app = typer.Typer(
    name="encoderlab",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Compare fine-tuning methods for a BERT-family encoder on your own data, and use the best one.",
)

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)  # errors that stop a study midway


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. An expected error prints one line per problem to stderr, without a traceback."""
    try:
        try:
            app(arguments)
        finally:
            sys.stdout.flush()  # a closed pipe must raise here, where it is handled below
    except SystemExit as stop:
        if stop.code == 130:
            say("interrupted; run the same command again to resume")
        raise
    except EncoderlabError as error:
        say(*str(error).splitlines())
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout again at exit
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        what = error.strerror or first_line(error)
        kept = "; finished work is kept, run the same command again to resume" if error.errno in WRITING else ""
        say(f"{where}{what}{kept}")
        sys.exit(1)


def _version(asked: bool) -> None:
    if asked:
        print(f"encoderlab {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and context.invoked_subcommand not in ("train", "compare"):
        if is_beside():
            sys.exit(InputError.exit_code)
        raise InputError(
            f"{context.invoked_subcommand}: cannot run under torchrun or accelerate; only train and compare can"
        )
    quieten_libraries()


COMMANDS = (
    study_commands.compare,
    study_commands.train,
    study_commands.check,
    run_commands.evaluate,
    run_commands.predict,
    study_commands.inspect,
    brain_commands.embed,
    brain_commands.encode,
    brain_commands.stories,
    run_commands.export,
    study_commands.demo,
)
for command in COMMANDS:
    app.command()(command)
