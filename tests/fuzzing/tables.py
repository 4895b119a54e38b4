"""Data files: a small valid one of each form, damage to it, and what holds of the rows that are read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from encoderlab.core.errors import InputError
from encoderlab.data.conll import DOCUMENT
from encoderlab.data.readers import read, stream
from encoderlab.data.rows import Rows
from encoderlab.data.source import TEXT_FORMATS, Source, file_format
from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.tasks.multiple_choice import MultipleChoice
from encoderlab.tasks.regression import Regression
from encoderlab.tasks.token_classification import TokenClassification

from .guard import fault
from .mutate import CELLS, chance, damaged, dumps, hole, pick
from .parquet import COLUMNS, arrow, parquet, records
from .run import Target

TASKS: tuple[Task, ...] = (
    Classification(),
    Classification(label="answer"),
    Classification(text=("text", "label"), label="score"),
    Regression(label="score"),
    TokenClassification(words="words", labels="tags"),
    TokenClassification(),
    MultipleChoice(question="text", choices=("label", "score")),
    MaskedLM(),
)
Case = tuple[Path, int | None]  # the file; how many rows it has, where that is known


def _flat(record: Sequence[Any]) -> list[str]:
    return [json.dumps(cell) if isinstance(cell, list) else str(cell) for cell in record]


def _table(ending: str, delimiter: str) -> Callable[[Generator], tuple[bytes, int | None]]:
    def make(draw: Generator) -> tuple[bytes, int | None]:
        lines: list[list[str]] = [list(COLUMNS), *map(_flat, records(draw))]
        count: int | None = len(lines) - 1
        for _ in range(int(draw.integers(0, 5))):
            record = pick(draw, lines[1:])
            record[int(draw.integers(len(record)))] = pick(draw, CELLS)
        if chance(draw, 0.4):  # the shape itself
            count = None
            place = int(draw.integers(len(lines)))
            match int(draw.integers(9)):
                case 0:
                    lines[place].append(pick(draw, CELLS))
                case 1:
                    lines[place].pop()
                case 2:
                    lines[0][int(draw.integers(6))] = pick(
                        draw, ["", "text", "label", " text ", "\ufefftext", "1", "\ud800"]
                    )
                case 3:
                    lines.insert(place, list(COLUMNS))
                case 4:
                    lines.insert(place, [pick(draw, ["", " ", "sep=;", "# comment"])])
                case 5:
                    lines = [["", *record] for record in lines]
                case 6:
                    del lines[int(draw.integers(1, 3)) :]
                case 7:
                    lines = [[pick(draw, CELLS) for _ in range(6)] for _ in range(4)]
                case 8:
                    lines = [record + [""] * int(draw.integers(1, 4)) for record in lines]
        text = io.StringIO(newline="")
        ends = pick(draw, ["\n", "\n", "\r\n", "\r"])
        apart = delimiter if chance(draw, 0.9) else pick(draw, [";", "|", "\t", ","])
        count = count if apart == delimiter and ends != "\r" else None
        quoting = pick(draw, [csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
        if chance(draw, 0.2):
            text.write("".join(apart.join(record) + ends for record in lines))
            count = None
        else:
            csv.writer(text, delimiter=apart, lineterminator=ends, quoting=quoting).writerows(lines)
        if any("\0" in cell or "\ud83d" in cell for record in lines for cell in record):
            count = None
        return text.getvalue().encode("utf-8", "surrogatepass"), count

    return make


def _objects(draw: Generator) -> tuple[list[dict[str, Any]], dict[str, str]]:
    objects: list[dict[str, Any]] = [dict(zip(COLUMNS, record, strict=True)) for record in records(draw)]
    raw: dict[str, str] = {}
    for _ in range(int(draw.integers(0, 4))):
        one = pick(draw, objects)
        key = pick(draw, COLUMNS)
        match int(draw.integers(6)):
            case 0:
                one.pop(key, None)
            case 1:
                one[pick(draw, ["", "more", "\ud800", "a" * 300, "0"])] = hole(raw, draw)
            case 2:
                one["label"] = {"text": ["a", "b"], "label": ["A", hole(raw, draw)]}
            case _:
                one[key] = hole(raw, draw)
    return objects, raw


def _jsonl(draw: Generator) -> tuple[bytes, int | None]:
    objects, raw = _objects(draw)
    lines = [dumps(one, raw, ensure_ascii=chance(draw, 0.5)) for one in objects]
    count: int | None = len(lines)
    if chance(draw, 0.2):
        count = None
        lines[int(draw.integers(len(lines)))] += pick(draw, [",", "{}", "[]", "]", " // no", "\x00", "\x0c"])
    end = pick(draw, ["\n", "\n", "\n\n", "\r\n"])
    return (end.join(lines) + end).encode("utf-8", "surrogatepass"), count


def _json(draw: Generator) -> tuple[bytes, int | None]:
    objects, raw = _objects(draw)
    count: int | None = len(objects)
    whole: Any = objects
    if chance(draw, 0.4):
        count = None
        columns = {name: [one.get(name) for one in objects] for name in COLUMNS}
        others = [
            {"data": objects},
            {"data": [objects]},
            {"rows": objects},
            columns,
            objects[0],
            [],
            [objects],
            {"data": None},
        ]
        whole = pick(draw, [*others, {str(i): one for i, one in enumerate(objects)}, [*objects, hole(raw, draw)]])
    text = dumps(whole, raw, indent=pick(draw, [None, 1]), ensure_ascii=chance(draw, 0.5))
    if chance(draw, 0.1):
        text, count = text.replace("}", "},") + pick(draw, ["", "]", "\n[]"]), None
    return text.encode("utf-8", "surrogatepass"), count


def _conll(draw: Generator) -> tuple[bytes, int | None]:
    lines: list[str] = []
    apart = pick(draw, [" ", "\t", "  "])
    for _ in range(int(draw.integers(1, 5))):
        lines += [apart.join(["Anna", "NN", "B-PER"]), apart.join(["ran", "VB", "O"]), ""]
    for _ in range(int(draw.integers(0, 4))):
        place = int(draw.integers(len(lines)))
        match int(draw.integers(5)):
            case 0:
                fields = lines[place].split(apart)
                fields[int(draw.integers(len(fields)))] = pick(draw, CELLS)
                lines[place] = apart.join(fields)
            case 1:
                lines.insert(
                    place, pick(draw, ["# sent_id = 1", "#\tO", "-DOCSTART- -X- O", "-DOCSTART-", " ", "\t", "\x0c"])
                )
            case 2:
                lines[place] = pick(
                    draw, ["Anna", "Anna B-PER", "Anna NN X B-PER", "1-2\tdu\t_\t_", "a\xa0b NN O", "a NN -100"]
                )
            case 3:
                lines[place] = lines[place].replace(
                    "B-", pick(draw, ["E-", "S-", "M-", "L-", "U-", "", "-", "B_", "X-"])
                )
            case 4:
                del lines[place]
                lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass"), None


MAKERS: dict[str, Callable[[Generator], tuple[bytes, int | None]]] = {
    "csv": _table("csv", ","),
    "tsv": _table("tsv", "\t"),
    "json": _json,
    "jsonl": _jsonl,
    "conll": _conll,
    "parquet": parquet,
    "arrow": arrow,
}


def _writer(ending: str) -> Callable[[Generator, Path, Any], Case]:
    def write(draw: Generator, folder: Path, shared: Any) -> Case:
        data, count = MAKERS[ending](draw)
        if chance(draw, 0.5):
            data, count = damaged(data, draw), None
        name = f"rows.{ending}"
        if ending in TEXT_FORMATS and chance(draw, 0.08):
            data, name = gzip.compress(data, mtime=0), f"{name}.gz"
            if chance(draw, 0.5):
                data, count = damaged(data, draw), None
        (folder / name).write_bytes(data)
        return folder / name, count

    return write


def check(case: Case, shared: Any) -> list[str]:
    """Read the file, prepare it for every task, stream it. A file that no task can use is refused as the first says."""
    path, count = case
    rows = read(Source(path=str(path)), Path())
    whole(rows)
    assert count is None or len(rows) == count, f"{len(rows)} of {count} rows were read"
    rows.fingerprint  # noqa: B018 (every value can be written down)
    names, records = stream(Source(path=str(path)), Path(), lambda note: None)
    streamed = sum(1 for _ in records)
    names = [name for name in names if name] if names.count("") > 1 else names  # what predict passes on, unread
    of_file = [name for name in rows.columns if name != DOCUMENT or file_format(path) != "conll"]  # counted
    assert list(names) == of_file, f"streamed the columns {names}"
    assert streamed == len(rows), f"streamed {streamed} rows, read {len(rows)}"
    notes, problems, used = [*rows.notes], [], False
    for task in TASKS:
        for labelled in (True, False):
            try:
                prepared = task.prepare(rows, labelled=labelled)
            except InputError as error:
                problems += error.lines
                continue
            used = True
            whole(prepared)
            assert len(prepared) == len(rows) or prepared.notes, f"{len(prepared)} of {len(rows)} rows and no note"
            usable(prepared, task, labelled)
            notes += prepared.notes
    if problems and not used:
        raise InputError(*problems)
    for line in problems:
        assert not (wrong := fault(line, path.name)), f"a task refuses with {wrong}: {line[:300]!a}"
    return notes


def whole(rows: Rows) -> None:
    sizes = {name: len(column) for name, column in rows.columns.items()}
    assert set(sizes.values()) <= {len(rows)}, f"columns of unequal length: {sizes}"
    assert len(rows) > 0, "no rows"


def usable(rows: Rows, task: Task, labelled: bool) -> None:
    """Texts and labels can be written as UTF-8, numbers are finite, words have a label each."""
    for column in rows.columns.values():
        for cell in column:
            for text in _strings(cell):
                text.encode()  # a lone surrogate cannot be written
    if not labelled:
        return
    labels = rows.columns[task.label_column]
    if isinstance(task, Classification):
        assert all(isinstance(name, str) and name for name in labels), "a label that is no name"
    elif isinstance(task, Regression):
        assert np.isfinite(np.array(labels, dtype=np.float64)).all(), "a label that is not finite"
    elif isinstance(task, TokenClassification):
        words = rows.columns["words"]
        assert all(len(a) == len(b) > 0 for a, b in zip(words, labels, strict=True)), (
            "words and labels differ in number"
        )


def _strings(cell: Any) -> list[str]:
    if isinstance(cell, str):
        return [cell]
    return [text for one in cell for text in _strings(one)] if isinstance(cell, list | tuple) else []


TARGETS = {ending: Target(write=_writer(ending), read=check, named="rows.") for ending in MAKERS}
