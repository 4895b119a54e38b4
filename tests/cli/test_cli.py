"""The commands, run for real on a tiny encoder: what they print and where, exit codes, and how fast help is."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import encoderlab
from encoderlab.cli import app
from encoderlab.config import load
from encoderlab.inference import predict
from encoderlab.study import prepare

TRAIN = "text,label\n" + "".join(
    f"{text},{label}\n"
    for text, label in [
        ("good film", "pos"),
        ("bad film", "neg"),
        ("very good plot", "pos"),
        ("not good acting", "neg"),
    ]
    for _ in range(8)
)
STUDY = """
model = "{model}"
name = "tiny"
out = "out"
seeds = [0]
[data]
train = "train.csv"
test = "train.csv"
[train]
epochs = 1
max_length = 16
[search]
candidates = 1
[[method]]
name = "lora"
rank = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "train.csv").write_text(TRAIN)
    (folder / "study.toml").write_text(STUDY.format(model=tiny_model("bert")))
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The folder of a trained run."""
    done = command("train", "study.toml", "--method", "lora", cwd=folder)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return folder / line


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What the command line does with these arguments, without the seconds that a process of its own takes to start."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("ENCODERLAB_CACHE", str(cwd / "cache"))
        with pytest.raises(SystemExit) as stop:
            app.main(arguments)
    return subprocess.CompletedProcess(arguments, int(stop.value.code or 0), out.getvalue(), err.getvalue())


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = """
import sys, time
from encoderlab.cli import app as cli
try:
    cli.main(["--help"])
except SystemExit as stop:
    heavy = {"torch", "transformers", "datasets", "sklearn", "pydantic", "numpy", "rich"} & set(sys.modules)
    sys.exit(f"{heavy=} {time.process_time()=}" if heavy or stop.code or time.process_time() > 0.5 else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(
        name in done.stdout for name in ("compare", "train", "check", "evaluate", "predict", "inspect", "export")
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        app.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"encoderlab {encoderlab.__version__}\n"


def test_check_shows_the_study_and_its_cost(folder: Path) -> None:
    done = command("check", "study.toml", "--time", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for shown in (
        "tiny: ",
        "label neg",
        "rows truncated",
        "good film",
        "lora",
        "0.001",
        "0 trials, 2 runs, 2 baselines",
    ):
        assert shown in done.stdout
    assert "warning: data.test is the same data as data.train" in done.stdout
    assert "whole study" in done.stdout and "MB" in done.stdout
    assert not (folder / "out").exists()


def test_check_json_counts_what_trains(folder: Path) -> None:
    done = command("check", "study.toml", "--json", "-s", "method.lora.rank=[2, 4]", cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # 2 layers, query and value, A and B of 32 x rank each; the head is 32 x 2 + 2 and the fresh pooler 32 x 32 + 32
    adapters = {one["label"]: one["adapter"] for one in report["variants"]}
    assert adapters == {"lora rank=2": 512, "lora rank=4": 1024, "head": 0}
    assert report["splits"]["test"]["labels"] == {"neg": 16, "pos": 16}
    assert report["runs"] == {"trials": 0, "runs": 3, "baselines": 2}
    assert report["expected"] is None


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


def test_usage_errors_exit_2(folder: Path) -> None:
    for arguments in (("compare",), ("compare", "study.toml", "--nonsense"), ("nonsense",)):
        done = command(*arguments, cwd=folder)
        assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error, code, said",
    [
        (KeyboardInterrupt(), 130, "encoderlab: interrupted; run the same command again to resume"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x/y"),
            1,
            "encoderlab: x/y: No space left on device; finished",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x/y"), 1, "encoderlab: x/y: Permission denied; finished"),
        (OSError(errno.EIO, "Input/output error", "x/y"), 1, "encoderlab: x/y: Input/output error"),
        (ConnectionError("no route to hub\nmore"), 1, "encoderlab: no route to hub"),
        (TimeoutError(), 1, "encoderlab: TimeoutError"),
    ],
)
def test_interruptions_are_one_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from encoderlab.study import compare

    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(compare, "compare", stop)
    with pytest.raises(SystemExit) as exit:
        app.main(["compare", "study.toml"])
    assert exit.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said) and line.endswith((said, "run the same command again to resume"))


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_reader_that_left_is_no_error(size: int) -> None:
    """As in `encoderlab ... | head -1`: what is printed fits in a buffer, or does not."""
    code = f"""
from encoderlab.cli import app as cli
@cli.app.command()
def much():
    print("x" * {size})
cli.main(["much"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


def test_libraries_do_not_talk_about_the_network() -> None:
    code = """
import logging
from encoderlab.cli import app as cli
try:
    cli.main(["check", "absent.toml"])
except SystemExit:
    import huggingface_hub  # sets the level of its own logger
    for name in ("huggingface_hub.utils._http", "httpx", "urllib3.connectionpool"):
        logging.getLogger(name).warning("retrying")
"""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_VERBOSITY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr.splitlines() == ["encoderlab: absent.toml: no such file"]


def test_compare_and_train_hear_of_what_truncation_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCODERLAB_CACHE", str(folder / "cache"))
    (folder / "long.csv").write_text(TRAIN.replace("good film", "good film " * 9))
    _, _, warnings = prepare.prepare(load.load(folder / "study.toml", ["data.train=long.csv"]))
    line = next(line for line in warnings if "longer than" in line)
    assert line.startswith("data.train: ") and "train.max_length = 16" in line and "of the tokens are lost" in line
