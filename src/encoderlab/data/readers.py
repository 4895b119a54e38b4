"""From a file, a folder or a hub name to rows: one function per format.

Everything is read whole here; `records` reads the formats that have records one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from encoderlab.data import records
from encoderlab.data.rows import Rows
from encoderlab.data.source import Source, file_format, path_problem
from encoderlab.errors import InputError

Columns = dict[str, list]


def read(source: Source, base: Path) -> Rows:
    """All rows and columns of a file, a `datasets` folder or a hub data set; `rows` is not applied here.

    Raises InputError when it is not there, not readable, or has no rows."""
    if source.hub is not None:
        columns, origin = _read_hub(source), _hub_origin(source)
    elif source.path is not None:
        path, origin = source.location(base), source.path
        if problem := path_problem(path):
            raise InputError(problem)
        columns = _read_folder(path, source.split) if path.is_dir() else _READERS[file_format(path) or ""](path)
    else:
        raise ValueError("a source that is cut from the training rows has nothing to read")
    count = len(next(iter(columns.values()), []))
    if count == 0:
        names = f" (columns: {', '.join(map(repr, columns))})" if columns else ""
        raise InputError(f"{origin}: no rows{names}; expected at least one labelled row")
    return Rows(columns, origin, np.arange(count, dtype=np.int64))


def _read_table(path: Path) -> Columns:
    names, rows = records.table(path)
    columns: Columns = {name: [] for name in names}
    for fields in rows:
        for column, field in zip(columns.values(), fields, strict=True):
            column.append(field)
    return columns


def _read_json(path: Path) -> Columns:
    text = "".join(records.lines(path))
    if not text.strip():
        raise InputError(f"{path}: the file is empty; expected a list of objects")
    content = records.json_value(text, path, "a list of objects (one object per line is a .jsonl file)")
    objects = content.get("data") if isinstance(content, dict) else content
    if not isinstance(objects, list):
        raise InputError(f'{path}: expected a list of objects, or {{"data": [...]}}')
    for i, value in enumerate(objects, 1):
        if not isinstance(value, dict):
            raise InputError(
                f'{path}: item {i} is a {type(value).__name__}; expected an object such as {{"text": ...}}'
            )
    return _from_objects(objects)


def _read_jsonl(path: Path) -> Columns:
    return _from_objects(records.objects(path))


def _from_objects(objects: Iterable[dict[str, Any]]) -> Columns:
    """One pass, so that of a large file only the columns are in memory. A key that an object lacks is a None."""
    columns: Columns = {}
    for count, value in enumerate(objects):
        for name, cell in value.items():
            if name not in columns:
                columns[name] = [None] * count
            columns[name].append(cell)
        for column in columns.values():
            if len(column) == count:
                column.append(None)
    return columns


def _read_conll(path: Path) -> Columns:
    """Columns `tokens` and `tags`: the first and the last field of each line, a row between empty lines."""
    columns: Columns = {"tokens": [], "tags": []}
    inside, width = False, 0
    for number, line in enumerate(records.lines(path), 1):
        fields = line.split()
        if not fields or fields[0] == "-DOCSTART-":
            inside = False
            continue
        width = width or len(fields)
        if len(fields) != width or width < 2:
            expected = f"{width}, as in the lines before" if width > 1 else "a word and its label at least"
            raise InputError(f"{path}:{number}: {len(fields)} fields; expected {expected}, apart by white space")
        if not inside:
            columns["tokens"].append([])
            columns["tags"].append([])
            inside = True
        columns["tokens"][-1].append(fields[0])
        columns["tags"][-1].append(fields[-1])
    return columns


def _read_parquet(path: Path) -> Columns:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {_first_line(error)}") from None


_READERS: dict[str, Callable[[Path], Columns]] = {
    "csv": _read_table,
    "tsv": _read_table,
    "json": _read_json,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
    "conll": _read_conll,
}


def _read_folder(path: Path, split: str | None) -> Columns:
    from datasets import load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except Exception as error:  # a torn folder fails in many ways, none of them ours to list
        raise InputError(f"{path}: `datasets` cannot load this folder: {_first_line(error)}") from None
    return _from_datasets(loaded, split, str(path))


def _hub_origin(source: Source) -> str:
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
                f"{where} is not in the local cache and HF_HUB_OFFLINE forbids to download it; unset HF_HUB_OFFLINE, "
                f"or use a file with `path`"
            ) from None
        if isinstance(error, ConnectionError):
            raise InputError(
                f"{where} is not in the local cache and the hub cannot be reached; connect, or load it once where "
                f"there is a network and copy the cache (HF_HOME), or use a file with `path`"
            ) from None
        raise InputError(f"{where} cannot be loaded: {_first_line(error)}") from None
    return _from_datasets(loaded, source.split, _hub_origin(source))


def _from_datasets(loaded: Any, split: str | None, where: str) -> Columns:
    """Columns of a Dataset, or of one split of a DatasetDict. Labels with names (ClassLabel), and lists of them, become
    their names."""
    from datasets import ClassLabel, DatasetDict

    table: Any = loaded
    if isinstance(loaded, DatasetDict):
        names = [str(name) for name in loaded]
        name = names[0] if split is None and len(names) == 1 else split
        if name not in names:
            asked = f"no split {split!r}" if split else "it has several splits"
            raise InputError(f"{where}: {asked}; set `split` to one of {', '.join(map(repr, names))}")
        table = loaded[name]
    columns: Columns = dict(table.to_dict())
    for name, feature in table.features.items():
        if isinstance(feature, ClassLabel):
            columns[name] = [_label_name(feature, value) for value in columns[name]]
        elif isinstance(each := getattr(feature, "feature", None), ClassLabel):
            columns[name] = [None if cell is None else [_label_name(each, v) for v in cell] for cell in columns[name]]
    return columns


def _label_name(feature: Any, value: int | None) -> str | None:
    return feature.int2str(value) if value is not None and value >= 0 else None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
