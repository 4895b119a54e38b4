"""The commands that train and use a run, for real on a tiny encoder: compare, predict and evaluate."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from encoderlab.cli import app
from encoderlab.inference import predict
from fixtures_cli import command, folder  # noqa: F401  (a fixture)


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The folder of a trained run."""
    done = command("train", "study.toml", "--method", "lora", cwd=folder)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return folder / line


def test_compare_prints_the_table_and_the_report_last(folder: Path) -> None:
    done = command("compare", "study.toml", "-s", "out=compared", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "compared/report.html" and (folder / lines[-1]).is_file()
    assert lines[0].startswith("method ") and "accuracy" in lines[0]
    assert {line.split()[0] for line in lines[1:-3]} == {"lora", "head", "majority", "untrained"}
    page = (folder / lines[-1]).read_text(encoding="utf-8")
    assert lines[-3].startswith(("Use ", "Do not use ")) and f"<h1>{lines[-3]}</h1>" in page
    assert lines[-2].startswith("warning: Every method was trained with one seed")
    said = [line for line in command("check", "study.toml", cwd=folder).stdout.splitlines() if "warning: " in line]
    assert said and set(said) <= set(done.stderr.splitlines())
    assert "warnings about data and settings" in done.stderr

    again = command("compare", "study.toml", "-s", "out=compared", "--json", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads((folder / "compared" / "summary.json").read_text())


def test_predict_keeps_columns_rows_and_order(run: Path, folder: Path) -> None:
    texts = [f'{"good" if i % 3 else "bad"} film {"very " * (i % 11)}, "{i}"' for i in range(predict.BLOCK + 90)]
    with (folder / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text", "label"), *((i, text, "?") for i, text in enumerate(texts))])
    done = command("predict", str(run), "new.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["id"], row["text"], row["label"]) for row in rows] == [
        (str(i), text, "?") for i, text in enumerate(texts)
    ]
    assert list(rows[0])[3:] == ["predicted_label", "probability", "probability_neg", "probability_pos"]
    for row in rows:
        both = {name: float(row[f"probability_{name}"]) for name in ("neg", "pos")}
        assert abs(sum(both.values()) - 1) < 1e-5
        assert both[row["predicted_label"]] == float(row["probability"]) == max(both.values())

    alone = [row for row in rows if row["id"] == str(predict.BLOCK + 7)]
    with (folder / "one.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text",), (texts[predict.BLOCK + 7],)])
    done = command("predict", str(run), "one.csv", "-o", "answers.csv", cwd=folder)
    assert done.stdout == "" and "encoderlab: 1 rows" in done.stderr
    (row,) = csv.DictReader(io.StringIO((folder / "answers.csv").read_text()))
    assert row["label"] == alone[0]["predicted_label"]
    assert float(row["probability"]) == pytest.approx(float(alone[0]["probability"]), abs=0.01)


def test_predict_leaves_the_users_values_alone(run: Path, folder: Path) -> None:
    times = [datetime(2020, 1, 2, 3, 4), None]
    columns = {"text": ["good", "bad"], "x": [1e-9, 1234567.12345678], "t": times, "d": [Decimal("1.50")] * 2}
    pyarrow.parquet.write_table(pyarrow.table({**columns, "o": [{"t": times}, None]}), folder / "a.parquet")
    done = command("predict", str(run), "a.parquet", "-o", "a.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO((folder / "a.csv").read_text())))
    assert [row["x"] for row in rows] == ["1e-09", "1234567.12345678"]
    assert [row["t"] for row in rows] == ["2020-01-02 03:04:00", ""] and rows[0]["d"] == "1.50"
    assert json.loads(rows[0]["o"]) == {"t": ["2020-01-02 03:04:00", None]}
    assert all(len(row["probability"]) == len("0.123456") for row in rows)

    for source, out in (("a.csv", "b.csv"), ("b.csv", "c.csv")):
        assert command("predict", str(run), source, "-o", out, cwd=folder).returncode == 0
    names = ["label", "probability", "probability_neg", "probability_pos"]
    (first, _) = csv.DictReader(io.StringIO((folder / "c.csv").read_text()))
    assert list(first)[5:] == [f"{'predicted_' * times}{name}" for times in range(3) for name in names]
    assert first["x"] == "1e-09"


def test_a_lone_carriage_return_is_quoted(run: Path, folder: Path) -> None:
    (folder / "cr.jsonl").write_text('{"text": "good\\rfilm", "n": "x\\ry"}\n{"text": "bad\\r\\nfilm", "n": null}\n')
    assert command("predict", str(run), "cr.jsonl", "-o", "cr.csv", cwd=folder).returncode == 0
    content = (folder / "cr.csv").read_bytes()
    assert content.startswith(b"text,n,label,") and b'\n"good\rfilm","x\ry",' in content
    with (folder / "cr.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["good\rfilm", "bad\r\nfilm"]


FORMATS = {
    "a.csv": b'\xef\xbb\xbftext,n\r\n"good, ""film""",1\r\n\r\nbad,2\r\n',
    "a.tsv": b'text\tn\ngood "film" a\t1\n"bad"\t2\n',
    "b.tsv": b'text\tn\n"good\tfilm"\t1\nbad\t2\n',
    "a.jsonl": b'{"text": "good", "n": 1}\n\n{"text": null, "more": [1, "x"]}\n',
    "a.json": b'[{"text": "good", "n": 1}, {"text": "bad", "n": 2}]',
}


@pytest.mark.parametrize("name", FORMATS)
def test_streaming_reads_what_reading_whole_does(name: str, tmp_path: Path) -> None:
    from encoderlab.data.readers import read
    from encoderlab.data.source import Source

    path = tmp_path / name
    path.write_bytes(FORMATS[name])
    whole = read(Source(path=str(path)), tmp_path)
    columns, records = predict.stream(path)
    assert columns == list(whole.columns)
    assert [tuple(record) for record in records] == list(zip(*whole.columns.values(), strict=True))


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("a.csv", b"text\nok\ncaf\xe9\n", "a.csv:3: byte 0xE9 is not UTF-8"),
        ("a.csv", b"text,n\n\nok,1\nok\n", "a.csv:4: 1 fields, but the header has 2"),
        ("a.csv", b'text\n"open\n', "a.csv:2: unexpected end of data; is a quote missing?"),
        ("a.csv", b"", "a.csv: the file is empty"),
        ("a.csv", b"text\n", "a.csv: no rows"),
        ("a.csv", b"txt\nok\n", "a.csv: no column 'text'; the columns are 'txt'; did you mean 'txt'?"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": \n', "a.jsonl:2: not JSON"),
        ("a.jsonl", b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "a.jsonl:1: a whole number has more than 4300 digits"),
        ("a.jsonl", b"\n" + b"[" * 200_000, "a.jsonl:2: values are nested too deeply"),
        ("a.jsonl", b"[1]\n", "a.jsonl:1: a list; expected one object per line"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00\x00", "a.csv.gz: not a complete gzip file"),
        ("a.docx", b"x", "a.docx has no known ending"),
    ],
)
def test_predict_refuses_a_broken_file_and_leaves_no_output(
    run: Path, tmp_path: Path, name: str, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        app.main(["predict", str(run), str(tmp_path / name), "-o", str(tmp_path / "answers.csv")])
    printed = capsys.readouterr()
    assert stop.value.code == 2 and said in printed.err.replace(f"{tmp_path}{os.sep}", "")
    assert len(printed.err.splitlines()) == 1 and printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_evaluate_scores_as_the_run_did(run: Path, folder: Path) -> None:
    done = command("evaluate", str(run), "train.csv", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    own = json.loads((run / "result.json").read_text())["splits"]["test"]  # the same file
    assert {name: result[name] for name in own} == own
    shown = command("evaluate", str(run), "train.csv", cwd=folder)
    assert f"accuracy          {own['accuracy']:.4f}" in shown.stdout and "precision" in shown.stdout
