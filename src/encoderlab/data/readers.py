"""From a file, a folder or a hub name to rows: one function per format.

Files are UTF-8 (a byte order mark is ignored) and are read whole. What is wrong with one is reported with its line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

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


def _read_text(path: Path) -> str:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a complete gzip file ({error}); copy or download it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise InputError(
            f"{path}:{line}: byte 0x{byte:02X} is not UTF-8; save the file as UTF-8, e.g. iconv -f LATIN1 -t UTF-8"
        ) from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty; expected at least one labelled row")
    return text


def _read_csv(path: Path) -> Columns:
    return _table(path, _quoted_records(path, _read_text(path), ","))


_WHOLLY_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def _read_tsv(path: Path) -> Columns:
    """TSV has two dialects. If every line has as many tabs as the header, a line is a record and a stray quote is a
    character (GLUE); otherwise quoted fields may hold tabs and line breaks (spreadsheets)."""
    text = _read_text(path)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if len({line.count("\t") for line in lines if line}) > 1:
        return _table(path, _quoted_records(path, text, "\t"))

    def unquote(field: str) -> str:
        whole = _WHOLLY_QUOTED.fullmatch(field)
        return whole[1].replace('""', '"') if whole else field

    return _table(
        path, ((number, [unquote(f) for f in line.split("\t")]) for number, line in enumerate(lines, 1) if line)
    )


def _quoted_records(path: Path, text: str, delimiter: str) -> Iterable[tuple[int, list[str]]]:
    """(line where the record starts, fields) of a quoted table, blank lines left out."""
    csv.field_size_limit(2**31 - 1)  # the default refuses fields above 128 KiB
    # strict: a quote that is never closed is an error instead of a field that swallows the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f'{path}:{start}: {error}; is a quote missing? expected quoted fields as in "a, ""b"""'
        ) from None


def _table(path: Path, records: Iterable[tuple[int, list[str]]]) -> Columns:
    records = iter(records)
    line, header = next(records)
    names = [name.strip() for name in header]
    if len(set(names)) < len(names):
        raise InputError(f"{path}:{line}: the header names a column twice: {', '.join(map(repr, names))}")
    columns: Columns = {name: [] for name in names}
    for line, fields in records:
        if len(fields) != len(names):
            raise InputError(
                f"{path}:{line}: {len(fields)} fields, but the header has {len(names)}: {', '.join(map(repr, names))}; "
                "quote a field that holds the delimiter"
            )
        for name, field in zip(names, fields, strict=True):
            columns[name].append(field)
    return columns


def _read_json(path: Path) -> Columns:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        hint = "; one object per line is a .jsonl file" if error.msg == "Extra data" else ""
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}{hint}") from None
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
    objects = []
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{number}: not JSON: {error.msg}; expected one object per line") from None
        if not isinstance(value, dict):
            raise InputError(f"{path}:{number}: a {type(value).__name__}; expected one object per line")
        objects.append(value)
    return _from_objects(objects)


def _from_objects(objects: list[dict]) -> Columns:
    names = dict.fromkeys(name for value in objects for name in value)
    return {name: [value.get(name) for value in objects] for name in names}


def _read_parquet(path: Path) -> Columns:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {_first_line(error)}") from None


_READERS: dict[str, Callable[[Path], Columns]] = {
    "csv": _read_csv,
    "tsv": _read_tsv,
    "json": _read_json,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
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
    """Columns of a Dataset, or of one split of a DatasetDict. Labels with names (ClassLabel) become their names."""
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
            columns[name] = [feature.int2str(v) if v is not None and v >= 0 else None for v in columns[name]]
    return columns


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
