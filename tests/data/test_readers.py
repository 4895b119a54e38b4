"""Every format gives the same rows, and every broken file one line that says where."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from encoderlab.core.errors import InputError
from encoderlab.data.readers import read
from encoderlab.data.source import Source
from fixtures_data import write_jsonl

# Texts that break naive readers: delimiters, quotes, line breaks, a Unicode line separator, an emoji.
TEXTS = ["plain", 'a "quoted", word', "tab\there", "two\nlines", "é \u2028 😀", '"wholly quoted"']
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg"]
RECORDS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]


def write_delimited(path: Path, delimiter: str, records: list[dict], encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(records[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(records)


def arrow_file(records: list[dict]) -> bytes:
    file, table = io.BytesIO(), pyarrow.Table.from_pylist(records)
    with pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def arrow_stream(records: list[dict]) -> bytes:
    """A batch for each record."""
    file, table = io.BytesIO(), pyarrow.Table.from_pylist(records)
    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return file.getvalue()


def damaged_size() -> bytes:
    """A Feather file in which a compressed buffer promises 2**62 bytes."""
    file, text, zstd = io.BytesIO(), "x" * 999, b"\x28\xb5\x2f\xfd"
    pyarrow.feather.write_feather(pyarrow.table({"text": [text]}), file, compression="zstd")
    size = len(text).to_bytes(8, "little")
    assert file.getvalue().count(size + zstd) == 1
    return file.getvalue().replace(size + zstd, (2**62).to_bytes(8, "little") + zstd)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.csv": lambda path: write_delimited(path, ",", RECORDS),
    "bom.csv": lambda path: write_delimited(path, ",", RECORDS, "utf-8-sig"),
    "a.tsv": lambda path: write_delimited(path, "\t", RECORDS),
    "list.json": lambda path: path.write_text(json.dumps(RECORDS), encoding="utf-8"),
    "data.json": lambda path: path.write_text(json.dumps({"data": RECORDS}), encoding="utf-8"),
    "a.jsonl": lambda path: write_jsonl(path, RECORDS),
    "a.parquet": lambda path: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path),
    "file.arrow": lambda path: path.write_bytes(arrow_file(RECORDS)),
    "stream.arrow": lambda path: path.write_bytes(arrow_stream(RECORDS)),
    "a.feather": lambda path: pyarrow.feather.write_feather(pyarrow.Table.from_pylist(RECORDS), path),
    "folder": lambda path: Dataset.from_list(RECORDS).save_to_disk(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    rows = read(Source(path=name), tmp_path)
    assert rows.columns == {"text": TEXTS, "label": LABELS}
    assert rows.index.tolist() == list(range(6)) and rows.index.dtype == np.int64
    assert rows.origin == name


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "list.json", "a.jsonl"])
def test_every_text_format_may_be_compressed(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert read(Source(path=f"{name}.gz"), tmp_path).columns == {"text": TEXTS, "label": LABELS}


def test_a_tsv_with_a_record_per_line_keeps_stray_quotes(tmp_path: Path) -> None:
    (tmp_path / "glue.tsv").write_bytes(b'text\tlabel\r\n"hello\t1\r\nsaid he"\t0\r\n"5"" disk"\t1\r\n')
    rows = read(Source(path="glue.tsv"), tmp_path)
    assert rows.columns == {"text": ['"hello', 'said he"', '5" disk'], "label": ["1", "0", "1"]}


def test_jsonl_objects_may_differ_in_keys(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}, {"text": "y", "genre": "letters"}])
    assert read(Source(path="a.jsonl"), tmp_path).columns == {"text": ["x", "y"], "genre": [None, "letters"]}


def test_a_datasets_folder_with_splits_and_named_labels(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    part = Dataset.from_dict({"text": ["x", "y", "z"], "label": [1, 0, -1]}, features=features)
    DatasetDict({"train": part, "extra": part.select([0])}).save_to_disk(tmp_path / "folder")
    rows = read(Source(path="folder", split="train"), tmp_path)
    assert rows.columns["label"] == ["good", "bad", None]
    with pytest.raises(InputError, match=r"has several splits; set `split` to one of 'train', 'extra'"):
        read(Source(path="folder"), tmp_path)
    with pytest.raises(InputError, match=r"no split 'test'; set `split` to one of 'train', 'extra'"):
        read(Source(path="folder", split="test"), tmp_path)


def test_an_uncached_hub_name_offline_is_one_line() -> None:
    with pytest.raises(InputError) as caught:
        read(Source(hub="encoderlab-tests/not-there", split="train"), Path())
    assert len(caught.value.lines) == 1 and "\n" not in str(caught.value)
    assert "'encoderlab-tests/not-there[train]' is not in the local cache, and HF_HUB_OFFLINE" in str(caught.value)


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "not UTF-8": ("a.csv", b"text,label\nfine,1\ncaf\xe9,0\n", r"a\.csv:3: byte 0xE9 is not UTF-8; save the file as"),
    "not UTF-8, compressed": (
        "a.jsonl.gz",
        gzip.compress(b'{"text": "\xff"}', mtime=0),
        r"a\.jsonl\.gz:1: byte 0xFF is not UTF-8",
    ),
    "empty": ("a.csv", b"", r"a\.csv: the file is empty; expected a header and at least one row"),
    "only a BOM": ("a.csv", b"\xef\xbb\xbf", r"a\.csv: the file is empty"),
    "blank": ("a.jsonl", b"\n \n", r"a\.jsonl: the file is empty"),
    "only a header": ("a.csv", b"text,label\n", r"a\.csv: no rows \(columns: 'text', 'label'\)"),
    "empty list": ("a.json", b"[]", r"a\.json: no rows; expected"),
    "a field too many": (
        "a.csv",
        b'text,label\n"a\nb",1\nx,y,0\n',
        r"a\.csv:4: 3 fields, but the header has 2: 'text'",
    ),
    "a field too few": ("a.tsv", b"text\tlabel\nx\t1\nx\n", r"a\.tsv:3: 1 fields, but the header has 2"),
    "an open quote": (
        "a.csv",
        b'text,label\nx,1\n"y,0\nz,1\n',
        r"a\.csv:3: unexpected end of data; is a quote missing",
    ),
    "a column twice": ("a.csv", b"text,text\nx,1\n", r"a\.csv:1: the header names a column twice"),
    "bad JSONL line": (
        "a.jsonl",
        b'{"text": "x"}\n\n{"text": \n',
        r"a\.jsonl:3: not JSON: .*expected one object per line",
    ),
    "JSONL of lists": ("a.jsonl", b'{"text": "x"}\n[1]\n', r"a\.jsonl:2: a list; expected one object per line"),
    "bad JSON": ("a.json", b'[{"text": "x"},\n{"text" "y"}]', r"a\.json:2: not JSON: Expecting ':' delimiter"),
    "a number of 5,000 digits": (
        "a.json",
        b'[{"text": "x", "label": ' + b"1" * 5000 + b"}]",
        r"a\.json: a whole number has more than 4300 digits; write it as a string",
    ),
    "a number of 5,000 digits in a line": (
        "a.jsonl",
        b'{}\n{"a": ' + b"1" * 5000 + b"}",
        r"a\.jsonl:2: a whole number",
    ),
    "200,000 levels": ("a.json", b"[" * 200_000, r"a\.json: values are nested too deeply to be read"),
    "200,000 levels in a line": ("a.jsonl", b"[" * 200_000, r"a\.jsonl:1: values are nested too deeply"),
    "a blank JSON file": ("a.json", b" \n", r"a\.json: the file is empty"),
    "a name too long for the system": (f"{'x' * 300}.csv", b"", r"^no such file: .*x\.csv"),
    "torn JSONL as JSON": (
        "a.json",
        b'{"text": "x"}\n{"text": \n',
        r"a\.json:3: not JSON: .*expected a list of objects, or one object per line",
    ),
    "JSON of uneven columns": (
        "a.json",
        b'{"text": ["x"], "label": []}',
        r"a\.json: expected a list of objects, or \{\"data\": \[\.\.\.\]\} \(its keys are 'text', 'label'\)",
    ),
    "JSON of splits": (
        "a.json",
        b'{"train": [{"text": "x"}], "test": [{"text": "y"}]}',
        "its keys are 'train', 'test'",
    ),
    "JSON of strings": ("a.json", b'["x"]', r"a\.json: item 1 is a str; expected an object"),
    "torn gzip": ("a.csv.gz", gzip.compress(b"text,label\nx,1\n")[:-9], r"a\.csv\.gz: not a complete gzip file"),
    "neither gzip nor text": (
        "a.csv.gz",
        b"\x1e\x8b\x08\0\xff\xfe",
        r"a\.csv\.gz is not a text file, and its kind is unknown",
    ),
    "no Parquet": ("a.parquet", b"text,label\nx,1\n", r"a\.parquet: not a readable Parquet file: "),
    "no Arrow": ("a.arrow", b"text,label\nx,1\n", r"a\.arrow: not a readable Arrow file: it starts with 'text,label'"),
    "an empty Arrow file": ("a.arrow", b"", r"a\.arrow: not a readable Arrow file: "),
    "torn Arrow file": ("a.feather", arrow_file(RECORDS)[:-9], r"a\.feather: not a readable Arrow file: ArrowInvalid"),
    "an Arrow stream without its end": ("a.arrow", arrow_stream(RECORDS)[:-8], r"a\.arrow: .* has no end marker"),
    "two Arrow streams": ("a.arrow", arrow_stream(RECORDS) * 2, r"a\.arrow: .* bytes follow the end of the stream"),
    "a damaged size in compressed Arrow": (
        "a.feather",
        damaged_size(),
        r"a\.feather: not a readable Arrow file: Arrow",
    ),
    "Arrow text that is not UTF-8": (
        "a.arrow",
        arrow_file(RECORDS).replace(b"plain", b"pla\xffn"),
        r"a\.arrow: not a readable Arrow file: ArrowInvalid: .*UTF8",
    ),
    "torn folder": ("folder/dataset_info.json", b"{", r"folder: `datasets` cannot load this folder: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_line(case: str, tmp_path: Path) -> None:
    name, content, message = BROKEN[case]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    with suppress(OSError):  # no file can have that name
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read(Source(path=name.removesuffix("/dataset_info.json")), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_arrow_stream_is_whole_or_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole, path = arrow_stream(RECORDS), tmp_path / "a.arrow"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"a\.arrow: not a readable Arrow file: ") as caught:
            read(Source(path="a.arrow"), tmp_path)
        assert "\n" not in str(caught.value)


def test_a_shard_of_a_datasets_folder_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    part = Dataset.from_dict({"text": ["x", "y", "z"], "label": [1, 0, -1]}, features=features)
    part.save_to_disk(tmp_path / "folder")
    rows = read(Source(path="folder/data-00000-of-00001.arrow"), tmp_path)
    assert rows.columns == {"text": ["x", "y", "z"], "label": ["good", "bad", None]}


def test_a_field_longer_than_the_csv_default_is_read(tmp_path: Path) -> None:
    text = "word " * 40_000
    write_delimited(tmp_path / "a.csv", ",", [{"text": text, "label": "1"}])
    assert read(Source(path="a.csv"), tmp_path).columns["text"] == [text]


def test_carriage_returns_alone_end_the_lines_of_a_csv(tmp_path: Path) -> None:
    (tmp_path / "mac.csv").write_bytes(b'text,label\rx,1\r"y\rz",0\r')
    assert read(Source(path="mac.csv"), tmp_path).columns == {"text": ["x", "y\rz"], "label": ["1", "0"]}


def test_conll_files(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    text = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\n"
    path.write_text(text)
    rows = read(Source(path="train.conll"), tmp_path)
    assert rows.columns == {"tokens": [["EU", "rejects"], ["Peter"]], "tags": [["B-ORG", "O"], ["B-PER"]]}
    path.write_text(text + "Blackburn B-PER\n")
    with pytest.raises(InputError, match=r"train.conll:8: 2 fields; expected 3, as in the lines before"):
        read(Source(path="train.conll"), tmp_path)
    path.write_text("Blackburn\n")
    with pytest.raises(InputError, match=r"train.conll:1: 1 fields; expected at least a word and its label"):
        read(Source(path="train.conll"), tmp_path)
    path.write_text("\n")
    with pytest.raises(InputError, match="no rows"):
        read(Source(path="train.conll"), tmp_path)


def test_lists_of_labels_with_names_become_their_names(tmp_path: Path) -> None:
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER"]))})
    rows = {"tokens": [["Ada", "sang"], ["no"]], "ner_tags": [[1, 0], [0]]}
    Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "folder")
    found = read(Source(path="folder"), tmp_path)
    assert found.columns["ner_tags"] == [["B-PER", "O"], ["O"]]
