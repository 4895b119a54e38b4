"""Read a whole file, folder or hub data set into rows. `delimited` and `records` read record by record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from encoderlab.core.errors import InputError, first_line
from encoderlab.data import arrow, delimited, records
from encoderlab.data.conll import DOCUMENT, read_conll
from encoderlab.data.records import Columns
from encoderlab.data.rows import IGNORED, Rows
from encoderlab.data.source import Source, file_format, path_problem
from encoderlab.data.suspects import header_note, is_header, repeated_headers, swallowed_rows, text_notes
from encoderlab.data.text import TextFile, open_text


@final
@dataclass(frozen=True)
class _Read:
    """The result of a reader: columns, notes, and the numbers of the kept rows if some were left out."""

    columns: Columns
    notes: tuple[str, ...] = ()
    index: list[int] | None = None


def read(source: Source, base: Path, *, labelled: bool = True) -> Rows:
    """Read all rows and columns of a file, a `datasets` folder or a hub data set.

    Args:
        source: the source; its `rows` is not applied here.
        base: the folder that relative paths start at.
        labelled: whether a CoNLL file must have labels.

    Raises:
        InputError: the source does not exist, is not readable, or has no rows.
    """
    if source.hub is not None:
        found, origin = _Read(_read_hub(source)), _hub_origin(source)
    elif source.path is not None:
        path, origin = source.location(base), source.path
        if problem := path_problem(path):
            raise InputError(problem)
        found = _Read(_read_folder(path, source.split)) if path.is_dir() else _read_file(path, source, labelled)
    else:
        raise ValueError("a source that is cut from the training rows has nothing to read")
    count = len(next(iter(found.columns.values()), []))
    if count == 0:
        names = f" (columns: {', '.join(map(repr, found.columns))})" if found.columns else ""
        raise InputError(f"{origin}: no rows{names}; expected at least one labelled row")
    index = np.arange(count, dtype=np.int64) if found.index is None else np.array(found.index, dtype=np.int64)
    notes = (*found.notes, *text_notes(found.columns))
    return Rows(found.columns, origin, index, tuple(f"{origin}: {note}" for note in notes))


def stream(source: Source, base: Path, say: Callable[[str], None]) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """Read a file record by record. Memory does not grow with the rows of a CSV, TSV or JSONL file.

    Args:
        source: the source of the file.
        base: the folder that relative paths start at.
        say: receives each note on how the file is read, before the first or after the last record.

    Returns:
        The column names, and an iterator over the records. Rows that repeat the header are left out.

    Raises:
        InputError: the file does not exist or is not readable.
    """
    path = source.location(base)
    if problem := path_problem(path):
        raise InputError(problem)
    form = None if path.is_dir() else file_format(path)
    if form in ("csv", "tsv"):
        table = delimited.table(open_text(path, source.encoding), source.delimiter)
        names, notes, found = table.names, table.notes, iter(table.records)
    elif form == "jsonl" and records.by_lines(file := open_text(path, source.encoding)):
        names, notes = records.column_names(records.objects(file)), file.notes
        found = ([value.get(name) for name in names] for value in records.objects(file))
    else:
        rows = read(source, base, labelled=False)
        for note in rows.notes:
            say(note)
        return list(rows.columns), zip(*rows.columns.values(), strict=True)
    for note in notes:
        say(f"{path}: {note}")
    return names, _records_alone(names, found, lambda note: say(f"{path}: {note}"))


def _records_alone(
    names: list[str], found: Iterable[Sequence[Any]], say: Callable[[str], None]
) -> Iterator[Sequence[Any]]:
    """Yield the records, without rows that repeat the header."""
    repeats = []
    for i, record in enumerate(found):
        if is_header(names, record):
            repeats.append(i)
        else:
            yield record
    if repeats:
        say(header_note(repeats))


def _read_file(path: Path, source: Source, labelled: bool) -> _Read:
    form = file_format(path)
    if form == "parquet":
        return _without_headers(_read_parquet(path), ())
    if form in ("arrow", "feather"):
        return _without_headers(_read_arrow(path, "Arrow", arrow.read_table), ())
    file = open_text(path, source.encoding)
    if form == "conll":
        found = read_conll(file, source.columns, labelled=labelled)
        tags = {} if found.tags is None else {"tags": found.tags}
        documents = {DOCUMENT: found.documents} if labelled and found.documents is not None else {}
        return _Read({"tokens": found.words, **tags, **documents}, found.notes)
    if form in ("csv", "tsv"):
        return _read_table(file, source.delimiter)
    if form == "jsonl" and records.by_lines(file):
        return _without_headers(records.from_objects(records.objects(file)), file.notes)
    columns, notes = records.whole(file, lines=form == "jsonl")
    return _without_headers(columns, (*file.notes, *notes))


def _read_table(file: TextFile, delimiter: str | None) -> _Read:
    """Read a CSV or TSV file, without rows that repeat the header and, if several, without unnamed columns."""
    table = delimited.table(file, delimiter)
    cells: list[list[str]] = [[] for _ in table.names]
    for fields in table.records:
        for column, cell in zip(cells, fields, strict=True):
            column.append(cell)
    notes = list(table.notes)
    pairs = list(zip(table.names, cells, strict=True))
    if table.names.count("") > 1:
        filled = sum(any(row) for row in zip(*(column for name, column in pairs if not name), strict=True))
        if filled:
            notes.append(
                f"{filled} row{'s have' if filled > 1 else ' has'} text in columns without a name, which are not read; "
                "should a text be quoted there?"
            )
        pairs = [(name, column) for name, column in pairs if name]
    columns = dict(pairs)
    if columns and (swallowed := swallowed_rows(columns, table.delimiter)):
        notes.append(swallowed)
    return _without_headers(columns, tuple(notes))


def _without_headers(columns: Columns, notes: tuple[str, ...]) -> _Read:
    """Leave out rows that repeat the header."""
    if not (repeats := repeated_headers(columns)):
        return _Read(columns, notes)
    left = set(repeats)
    index = [i for i in range(len(next(iter(columns.values())))) if i not in left]
    return _Read(
        {n: [column[i] for i in index] for n, column in columns.items()}, (*notes, header_note(repeats)), index
    )


def _read_parquet(path: Path) -> Columns:
    import pyarrow.parquet

    return _read_arrow(path, "Parquet", pyarrow.parquet.read_table)


def _read_arrow(path: Path, kind: str, read_table: Callable[[Path], Any]) -> Columns:
    """Read an Arrow table with `read_table`. Class names come from the metadata of `datasets`, if there are any."""
    import pyarrow

    try:
        table = read_table(path)
        columns = table.to_pydict()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a readable {kind} file: {first_line(error, named=True)}") from None
    for name, cells in columns.items():
        if cells and isinstance(cells[0], bytes):
            columns[name] = _decoded(cells)
    return _with_class_names(columns, _features((table.schema.metadata or {}).get(b"huggingface")))


def _decoded(cells: list) -> list:
    """Decode cells that are bytes of UTF-8. If one is not, all cells stay unchanged."""
    try:
        return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]
    except UnicodeDecodeError:
        return cells


def _features(written: bytes | None) -> dict[str, Any]:
    """Return the features in the metadata of `datasets`, by column; empty without such metadata."""
    from datasets import Features

    if written is None:
        return {}
    try:
        return dict(Features.from_dict(json.loads(written)["info"]["features"]))
    except Exception:  # another version of `datasets`, or damaged; the columns can be read without it
        return {}


def _read_folder(path: Path, split: str | None) -> Columns:
    from datasets import load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except Exception as error:  # a damaged folder raises many kinds of exceptions
        raise InputError(f"{path}: `datasets` cannot load this folder: {first_line(error, named=True)}") from None
    return _from_datasets(loaded, split, str(path))


def _hub_origin(source: Source) -> str:
    """Return the name of a hub data set for messages: NAME/CONFIG@REVISION[SPLIT]."""
    config = f"/{source.config}" if source.config else ""
    revision = f"@{source.revision}" if source.revision else ""
    split = f"[{source.split}]" if source.split else ""
    return f"{source.hub}{config}{revision}{split}"


def _read_hub(source: Source) -> Columns:
    from datasets import load_dataset
    from huggingface_hub import constants

    name = source.hub or ""
    try:
        loaded = load_dataset(name, source.config, revision=source.revision)
    except Exception as error:  # no network, no such name, no such config, a gated set: each with its own exception
        where = f"hub data set {_hub_origin(source)!r}"
        if constants.HF_HUB_OFFLINE:
            raise InputError(
                f"{where} is not in the local cache, and HF_HUB_OFFLINE forbids the download; unset HF_HUB_OFFLINE, "
                "or use a file with `path`"
            ) from None
        if isinstance(error, ConnectionError):
            raise InputError(
                f"{where} is not in the local cache, and the hub cannot be reached; connect to the network, or copy "
                "the cache (HF_HOME) from a machine that has one, or use a file with `path`"
            ) from None
        raise InputError(f"{where} cannot be loaded: {first_line(error, named=True)}") from None
    return _from_datasets(loaded, source.split, _hub_origin(source))


def _from_datasets(loaded: Any, split: str | None, where: str) -> Columns:
    """Return the columns of a Dataset, or of one split of a DatasetDict."""
    from datasets import DatasetDict

    table: Any = loaded
    if isinstance(loaded, DatasetDict):
        names = [str(name) for name in loaded]
        name = names[0] if split is None and len(names) == 1 else split
        if name not in names:
            asked = f"no split {split!r}" if split else "it has several splits"
            raise InputError(f"{where}: {asked}; set `split` to one of {', '.join(map(repr, names))}")
        table = loaded[name]
    return _with_class_names(dict(table.to_dict()), table.features)


def _with_class_names(columns: Columns, features: Mapping[str, Any]) -> Columns:
    """Replace the numbers of named labels (ClassLabel), and lists of them, with the names."""
    from datasets import ClassLabel

    for name, feature in features.items():
        if name not in columns:
            continue
        if isinstance(feature, ClassLabel):
            columns[name] = [_label_name(feature, value) for value in columns[name]]
        elif isinstance(each := _items(feature), ClassLabel):
            columns[name] = [None if cell is None else [_word_label(each, v) for v in cell] for cell in columns[name]]
    return columns


def _items(feature: Any) -> Any:
    """Return the feature of the items of a list: x of List(x), or of [x] in older files."""
    return feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)


def _label_name(feature: Any, value: Any) -> Any:
    """Return the name of a label, or None for a number without a name (-1 in the test splits of the hub)."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    return feature.int2str(value) if 0 <= value < feature.num_classes else None


def _word_label(feature: Any, value: Any) -> Any:
    """Return the name of the label of a word. The numbers -1 and -100 mean that the word has no label."""
    return IGNORED if value in (-1, IGNORED) else _label_name(feature, value)
