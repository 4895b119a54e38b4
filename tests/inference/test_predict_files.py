"""The files of predict and evaluate: options that say how one is read, notes, and what is never overwritten."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from encoderlab.cli import app, tables
from encoderlab.core.errors import InputError
from encoderlab.inference.predict import command_source

LINES = [f"a good film {i},pos\na bad plot {i},neg" for i in range(20)]
STUDY = """
model = "{model}"
seeds = [0]
[data]
train = "train.csv"
[train]
epochs = 1
max_length = 16
device = "cpu"
precision = "fp32"
[search]
candidates = 1
[[method]]
name = "lora"
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """A study of which three rows have no label."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "train.csv").write_text("text,label\n" + "\n".join(LINES) + "\nno label,\n,\nnone, \n")
    (folder / "study.toml").write_text(STUDY.format(model=tiny_model("bert")))
    return folder


@pytest.fixture
def call(study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(study)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            app.main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def run(study: Path, call: Run) -> str:
    if not (made := sorted((study / "results").glob("*/runs/*/adapter"))):
        code, _, err = call("compare", "study.toml")
        assert code == 0, err
        made = sorted((study / "results").glob("*/runs/*/adapter"))
    return str(made[0].parent)


DROPPED = "train.csv: 3 of 43 rows are unlabelled and were dropped (3 empty)"


@pytest.mark.parametrize("command", ["check", "train", "compare"])
def test_dropped_rows_are_said_where_people_look(command: str, study: Path, call: Run, run: str) -> None:
    options = ("--method", "lora") if command == "train" else ()
    code, out, err = call(command, "study.toml", *options)
    assert code == 0, err
    assert f"warning: {DROPPED}" in (out + err).splitlines()
    page = (study / "results" / "study" / "report.html").read_text()
    assert DROPPED in page[page.index("Warnings") :]


def test_dropped_rows_are_said_by_evaluate_and_kept_by_predict(call: Run, run: str) -> None:
    code, out, _ = call("evaluate", run, "train.csv")
    assert code == 0 and f"note: {DROPPED}" in out.splitlines() and "rows              40" in out
    code, out, err = call("predict", run, "train.csv")
    assert code == 0 and len(list(csv.reader(io.StringIO(out)))) == 44
    assert err.splitlines() == [
        "encoderlab: note: train.csv: 1 of 43 rows have an empty text, or none; their predictions mean nothing",
        "encoderlab: 43 rows",
    ]


def test_rows_without_a_text_are_said(study: Path, call: Run, run: str) -> None:
    (study / "mixed.jsonl").write_text('{"text": "good", "label": "pos"}\n{"txt": "bad", "label": "neg"}\n')
    said = "mixed.jsonl: 1 of 2 rows have an empty text, or none; "
    code, out, err = call("predict", run, "mixed.jsonl")
    assert code == 0 and said in err and said not in out
    code, out, _ = call("evaluate", run, "mixed.jsonl")
    assert code == 0 and f"note: {said}" in out
    code, out, _ = call("evaluate", run, "mixed.jsonl", "--json")
    assert code == 0 and said in json.loads(out)["notes"][0]


@pytest.mark.parametrize(
    "name, content",
    [
        ("twice.csv", "text,label\ngood film,pos\nText,Label\nbad film,neg\n"),
        (
            "twice.jsonl",
            '{"text": "a", "label": "pos"}\n{"text": "text", "label": "label"}\n{"text": "b", "label": "neg"}\n',
        ),
    ],
)
def test_a_repeated_header_is_no_row_in_both(name: str, content: str, study: Path, call: Run, run: str) -> None:
    (study / name).write_text(content)
    said = f"note: {name}: the header is repeated at row 2"
    code, out, err = call("predict", run, name)
    assert code == 0 and err.count(said) == 1 and err.endswith("2 rows\n") and len(out.splitlines()) == 3
    code, out, _ = call("evaluate", run, name)
    assert code == 0 and out.count(said) == 1 and "rows              2" in out


def test_options_say_how_a_file_is_read(study: Path, call: Run, run: str) -> None:
    (study / "odd.csv").write_bytes("text~label\nхороший, фильм~pos\nплохой фильм~neg\n".encode("cp1251"))
    code, _, err = call("predict", run, "odd.csv")
    assert code == 2 and "--encoding of predict and evaluate" in err and len(err.splitlines()) == 1
    options = ("--encoding", "cp1251", "--delimiter", "~")
    code, out, err = call("predict", run, "odd.csv", *options)
    assert code == 0 and err == "encoderlab: 2 rows\n"
    assert next(csv.DictReader(io.StringIO(out)))["text"] == "хороший, фильм"
    code, out, err = call("evaluate", run, "odd.csv", *options, "--json")
    assert code == 0 and json.loads(out)["rows"] == 2 and json.loads(out)["notes"] == []
    (study / "tabs.csv").write_text("text\tlabel\ngood\tpos\n")
    assert call("evaluate", run, "tabs.csv", "--delimiter", r"\t")[0] == 0


def test_options_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for options, said in (
        (("cp9999", None, None), "--encoding: 'cp9999' is not known"),
        ((None, ";;", None), "--delimiter: expected one character"),
        ((None, None, "2,3"), "--columns: valid only for a file that ends with .conll; remove it"),
        ((None, None, "word"), "--columns word: expected the numbers of two columns"),
    ):
        with pytest.raises(InputError, match=said) as error:
            command_source(file, *options)
        assert len(error.value.lines) == 1
    assert command_source(tmp_path / "a.conll", None, None, "2,-1").columns == (2, -1)
    assert command_source(file, None, "tab", None).delimiter == "\t"


def test_the_file_that_is_read_is_not_overwritten(study: Path, call: Run, run: str) -> None:
    (study / "mine.csv").write_text("text\ngood\n")
    os.link(study / "mine.csv", study / "same.csv")
    for out in ("mine.csv", "./mine.csv", "same.csv"):
        code, _, err = call("predict", run, "mine.csv", "-o", out)
        assert code == 2 and "is the input file" in err and len(err.splitlines()) == 1
    assert (study / "mine.csv").read_text() == "text\ngood\n"


def test_a_label_that_is_nearly_known_is_hinted_at(study: Path, call: Run, run: str) -> None:
    (study / "case.csv").write_text("text,label\ngood,POS\nbad,other\n")
    code, _, err = call("evaluate", run, "case.csv")
    assert code == 2 and len(err.splitlines()) == 2
    assert "label 'POS'" in err and err.splitlines()[0].endswith("did you mean 'pos'?") and err.count("did you") == 1


@pytest.mark.parametrize("value, shown", [(1.5e-14, "1.500e-14"), (0.66667, "0.6667"), (123456.7, "123,457"), (2, "2")])
def test_what_is_no_share_has_significant_digits(value: float, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    tables.evaluated({"notes": [], "mse": value, "pearson": 0.5})
    assert capsys.readouterr().out.splitlines() == [f"mse              {shown}", "pearson          0.5000"]
