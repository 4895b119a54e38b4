"""Files that are not what their names say: read where that is unambiguous, else named by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.readers import read, stream
from encoderlab.data.source import Source

CSV = b"text,label\ngood,1\nbad,0\n"
ROWS = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 50)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        entry = tarfile.TarInfo("train.csv")
        entry.size = len(CSV)
        archive.addfile(entry, io.BytesIO(CSV))
    return file.getvalue()


def feather() -> bytes:
    file = io.BytesIO()
    pyarrow.feather.write_feather(pyarrow.Table.from_pylist(ROWS), file)
    return file.getvalue()


def stream_form() -> bytes:
    file, table = io.BytesIO(), pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def parquet() -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Not, found</title></head></html>\n"
FOREIGN = {
    "xlsx": ("a.csv", zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook .*save the sheet as CSV"),
    "xlsx by name": ("a.xlsx", zipped("xl/workbook.xml"), "an Excel workbook"),
    "ods": ("a.csv", zipped("mimetype", "META-INF/manifest.xml"), "a LibreOffice document"),
    "docx": ("a.json", zipped("word/document.xml"), "a Word document"),
    "zip": ("a.csv.zip", zipped("train.csv"), "a ZIP archive.*unpack it"),
    "torn zip": ("a.jsonl", b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    "zip as Parquet": ("a.parquet", zipped("x"), "a ZIP archive"),
    "xls": ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60), "an old Excel or Word file"),
    "PDF": ("a.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF document"),
    "page": ("a.csv", PAGE, "a web page .*not its page"),
    "page in gzip": ("a.csv.gz", gzip.compress(PAGE), "a web page"),
    "page with a mark": ("a.jsonl", b"\xef\xbb\xbf<html>", "a web page"),
    "page as CoNLL": ("a.conll", b"<html>\n<body>\n", "a web page"),
    "XML": ("a.csv", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
    "404": ("a.csv", b"404: Not Found", "an error page"),
    "LFS": ("a.csv", LFS, "a Git LFS pointer, not the data; .*git lfs pull"),
    "LFS as Parquet": ("a.parquet", LFS, "a Git LFS pointer"),
    "LFS as JSON": ("a.jsonl", LFS, "a Git LFS pointer"),
    "tar": ("a.csv.gz", tarred(), "a tar archive"),
    "bzip2": ("a.csv", bz2.compress(CSV), "compressed with bzip2"),
    "xz": ("a.csv", lzma.compress(CSV), "compressed with xz"),
    "pickle": ("a.csv", pickle.dumps(ROWS), "a Python pickle"),
    "Feather": ("a.parquet", feather(), "is an Arrow file; rename it to end with .arrow"),
    "Arrow stream": ("a.csv", stream_form(), "is an Arrow file; rename it to end with .arrow"),
    "Arrow by another name": ("a.bin", feather(), "is an Arrow file; rename it to end with .arrow"),
    "Feather of version 1": ("a.feather", b"FEA1\0\0\0\0", "a Feather file of version 1; save it as version 2"),
    "Parquet": ("a.csv", parquet(), "is a Parquet file; rename it to end with .parquet"),
    "Parquet as Arrow": ("a.arrow", parquet(), "is a Parquet file; rename it to end with .parquet"),
    "gzip as Parquet": ("a.parquet", gzip.compress(parquet()), "compressed with gzip; unpack it"),
    "gzip as Arrow": ("a.arrow", gzip.compress(feather()), "compressed with gzip; unpack it: an Arrow file is"),
    "CSV as Arrow": ("a.arrow", CSV, "not a readable Arrow file: it starts with 'text,label'; correct the ending"),
    "JSON Lines as CSV": ("a.csv", b'{"text": "good", "label": 1}\n', "is JSON, not a table"),
    "JSON as TSV": ("a.tsv", b'[\n {"text": "good"}]', "is JSON, not a table"),
    "CSV as JSON Lines": ("a.jsonl", CSV, "is a table, not JSON"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_file_of_another_kind_is_named(case: str, tmp_path: Path) -> None:
    name, content, message = FOREIGN[case]
    (tmp_path / name).write_bytes(content)
    for attempt in (lambda: read(Source(path=name), tmp_path), lambda: stream(Source(path=name), tmp_path, print)):
        with pytest.raises(InputError, match=message) as caught:
            attempt()
        assert len(caught.value.lines) == 1 and name in str(caught.value)
    (problem,) = Source(path=name).problems("data.train", tmp_path)  # before anything else is read
    assert problem.path == "data.train.path"


def test_a_database_is_named(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.csv")
    connection.execute("create table a (text text)")
    connection.close()
    with pytest.raises(InputError, match="an SQLite database"):
        read(Source(path="a.csv"), tmp_path)


def test_gzip_is_read_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(gzip.compress(CSV))
    (tmp_path / "b.csv.gz").write_bytes(CSV)
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(CSV))
    a, b, c = (read(Source(path=name), tmp_path) for name in ("a.csv", "b.csv.gz", "c.csv.gz"))
    assert a.columns == b.columns == c.columns == {"text": ["good", "bad"], "label": ["1", "0"]}
    assert a.notes == ("a.csv: compressed with gzip although its name does not end with .gz; read as gzip",)
    assert b.notes == ("b.csv.gz: not compressed although its name ends with .gz; read as plain text",)
    assert c.notes == ()


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
BY_ROW = {str(i): row for i, row in enumerate(ROWS)}
BY_COLUMN = {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ("text", "label")}
FORMS = {
    "lines as JSON": ("a.json", LINES, "read as one object per line"),
    "objects over several lines": ("a.json", "".join(json.dumps(row, indent=1) for row in ROWS), "one object per line"),
    "the same as JSON Lines": ("a.jsonl", "\n".join(json.dumps(row, indent=1) for row in ROWS), None),
    "a list as JSON Lines": (
        "a.jsonl",
        json.dumps(ROWS, indent=1),
        "read as a list of objects, not as one object per line",
    ),
    "a list on one line": ("a.jsonl", json.dumps(ROWS), "read as a list of objects, not as one object per line"),
    "columns": ("a.json", json.dumps({"text": ["good", "bad"], "label": [1, 0]}), "a list for each column"),
    "pandas": ("a.json", json.dumps(BY_COLUMN), "a table as pandas writes it"),
    "pandas by row": ("a.json", json.dumps(BY_ROW), "an object for each row"),
    "pandas split": (
        "a.json",
        json.dumps({"columns": ["text", "label"], "index": [0, 1], "data": [["good", 1], ["bad", 0]]}),
        "columns and data",
    ),
    "pandas table": ("a.json", json.dumps({"schema": {"fields": []}, "data": ROWS}), None),
    "a list under a name": ("a.json", json.dumps({"examples": ROWS}), "a list of objects under 'examples'"),
    "a list with a mark": ("a.json", "\ufeff" + json.dumps(ROWS), None),
}


@pytest.mark.parametrize("case", FORMS)
def test_json_is_read_by_its_content(case: str, tmp_path: Path) -> None:
    name, content, note = FORMS[case]
    (tmp_path / name).write_text(content, encoding="utf-8")
    rows = read(Source(path=name), tmp_path)
    assert rows.columns == {"text": ["good", "bad"], "label": [1, 0]}
    assert len(rows.notes) == (note is not None) and all(note in line for line in rows.notes if note)
    names, records = stream(Source(path=name), tmp_path, print)
    assert names == ["text", "label"] and [list(one) for one in records] == [["good", 1], ["bad", 0]]


def test_json_that_could_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    for content in ({"a": {"x": 1}, "b": {"x": 2}}, {"0": {"1": "x"}}, {}, {"text": "x", "label": 1}):
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match="expected a list of objects"):
            read(Source(path="a.json"), tmp_path)


def test_what_is_there_in_place_of_a_file_is_said(tmp_path: Path) -> None:
    import os

    def problem(path: str) -> str:
        (line,) = Source(path=path).problems("data.train", tmp_path)
        assert line.path == "data.train.path" and not line.hint
        return line.message

    (tmp_path / "a.csv").symlink_to("nowhere.csv")
    assert problem("a.csv") == f"{tmp_path / 'a.csv'} is a link to nowhere.csv, which does not exist"
    (tmp_path / "b.csv").symlink_to("b.csv")
    assert "b.csv is a link to b.csv" in problem("b.csv")
    os.mkfifo(tmp_path / "c.csv")
    assert "is a pipe or a device" in problem("c.csv") and "is a pipe or a device" in problem("/dev/null")
    (tmp_path / "Train.CSV").write_bytes(CSV)
    assert problem("train.csv").endswith("did you mean 'Train.CSV'?")
    for address in ("https://example.com/a.csv", "hf://datasets/a/b.csv", "s3://bucket/a.parquet"):
        assert problem(address).startswith(f"{address} is a URL; download the file")
    assert problem("C:\new\train.csv").endswith("a backslash in double quotes is an escape: write the path with /")


def test_shift_jis_is_not_taken_for_western_text(tmp_path: Path) -> None:
    text = "text,label\n" + "".join(f"映画 film {i},良い\nすごく悪い{i},悪い\n" for i in range(20))
    (tmp_path / "a.csv").write_bytes(text.encode("shift_jis"))
    with pytest.raises(InputError, match="is not UTF-8"):
        read(Source(path="a.csv"), tmp_path)
    (tmp_path / "b.csv").write_bytes(b"text,label\n" + "„Über“ cœur ± 1º, Škoda ‘x’ …\n".encode("cp1252") * 5)
    assert read(Source(path="b.csv"), tmp_path).columns["text"][0] == "„Über“ cœur ± 1º"
