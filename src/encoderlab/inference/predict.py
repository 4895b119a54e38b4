"""Predict new rows with a finished run: read a file block by block, and write a CSV."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, final

import numpy as np

from encoderlab.core.errors import InputError
from encoderlab.data.readers import stream as read_stream
from encoderlab.data.rows import Rows, empty_texts
from encoderlab.data.source import Source
from encoderlab.engine.tuned_model import logits
from encoderlab.inference.load_run import load_run

log = logging.getLogger(__name__)

BLOCK = 512  # rows in memory at a time


def predict(
    run: Path,
    source: Path | Source,
    out: TextIO,
    *,
    force: bool = False,
    base: str | None = None,
    say: Callable[[str], None] = log.warning,
) -> int:
    """Write the predictions of a run for the rows of a file, as a CSV.

    The CSV has the columns of the file, then the task's predictions, such as label, probability and one probability per
    class. Rows keep their order. A new column whose name the file already has gets predicted_ in front, until it is
    free. Memory does not grow with the rows of a CSV, TSV or JSONL file; other formats are read whole.

    Args:
        run: the folder of a finished run.
        source: the file with the rows.
        out: where the CSV goes.
        force: whether a base other than the run's is allowed.
        base: where the base model lies now, if it was moved.
        say: gets a line about how the file was read, and about rows without a text.

    Returns:
        How many rows were written.

    Raises:
        InputError: the folder is not a run, a column is missing, or the file cannot be read.
    """
    loaded = load_run(run, force=force, base=base)
    columns, remaining = stream(source, say)
    origin = str(source.path if isinstance(source, Source) else source)
    form = _digits if loaded.task.problem_type == "regression" else "{:.6f}".format
    writer = csv.writer(_Lines(out), lineterminator="\r\n")
    count = empty = 0
    while block := list(islice(remaining, BLOCK)):
        table = dict(zip(columns, map(list, zip(*block, strict=True)), strict=True))
        rows = Rows(table, origin, np.arange(count, count + len(block)))
        rows = loaded.task.prepare(rows, labelled=False)
        empty += empty_texts(rows, loaded.task.text_columns)
        tokenized = loaded.task.tokenize(rows, loaded.tokenizer, loaded.max_length, loaded.class_names)
        answers = loaded.task.predictions(logits(loaded, tokenized), loaded.class_names, rows)
        if count == 0:
            writer.writerow([*map(_cell, columns), *(_free(name, columns) for name in answers)])
        ours = zip(*answers.values(), strict=True)
        for theirs, answer in zip(block, ours, strict=True):
            digits = [form(value) if isinstance(value, float) else _cell(value) for value in answer]
            writer.writerow([*map(_cell, theirs), *digits])
        count += len(block)
    if count == 0:
        raise InputError(f"{origin}: no rows; expected at least one")
    if empty:
        say(f"{origin}: {_without_text(empty, count)}; their predictions mean nothing")
    return count


def _free(name: str, taken: Container[str]) -> str:
    while name in taken:
        name = f"predicted_{name}"
    return name


def _cell(value: Any) -> str:
    """Write a value of the file as it was: text unchanged, a number with all digits, lists and objects as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return str(value).encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written


def _digits(value: float) -> str:
    """Write a number that is not a probability, with nine significant digits, as a float32 has.

    A number of 1e5 or more keeps all its digits, because only the last ones may distinguish it from others.
    """
    return f"{value:.9g}" if abs(value) < 1e5 else repr(value)


@final
class _Lines:
    r"""A file for `csv.writer` whose lines end with \n.

    The writer itself ends lines with \r\n, because only then it quotes a lone carriage return in a cell.
    """

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def write(self, line: str) -> int:
        return self.out.write(line.removesuffix("\r\n") + "\n")


def stream(
    source: Path | Source, say: Callable[[str], None] = log.warning
) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """Read a file record by record.

    Args:
        source: the file.
        say: gets a line about how the file was read, or what was left out.

    Returns:
        The column names, and the records one by one.
    """
    return read_stream(_as_source(source), Path(), say)


def _without_text(count: int, rows: int) -> str:
    return f"{count} of {rows} rows have an empty text, or none"


def command_source(file: Path, encoding: str | None, delimiter: str | None, columns: str | None) -> Source:
    """Build the source that the options of a command name.

    Args:
        file: the file.
        encoding: the value of --encoding; None: it is detected.
        delimiter: the value of --delimiter, a character, "tab" or a backslash and t; None: it is detected.
        columns: the value of --columns, two numbers with a comma; None: not given.

    Raises:
        InputError: the options do not fit the file.
    """
    signs = {"\\t": "\t", "tab": "\t"}
    try:
        numbers = None if columns is None else tuple(int(number) for number in columns.split(","))
    except ValueError:
        numbers = ()
    if numbers is not None and len(numbers) != 2:
        raise InputError(f"--columns {columns}: expected the numbers of two columns, [word, label], e.g. 2,3")
    source = Source(
        path=_as_source(file).path,
        encoding=encoding,
        delimiter=signs.get(delimiter or "", delimiter),
        columns=numbers,
    )
    if problems := source.form_problems(Path()):
        raise InputError(*(replace(problem, path=f"--{problem.path}") for problem in problems))
    return source


def _as_source(source: Path | Source) -> Source:
    """Make a source of a file as it was named. A leading ~ is kept, because the shell has expanded what it should."""
    if isinstance(source, Source):
        return source
    return Source(path=str(source.absolute() if str(source).startswith("~") else source))
