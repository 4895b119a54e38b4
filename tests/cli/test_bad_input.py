"""Wrong input is one clear line per problem on stderr and exit 2: no traceback, nothing on stdout, nothing written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from encoderlab.cli.app import main

ROWS = "text,label\n" + "good film,pos\nbad film,neg\nvery good,pos\nnot good,neg\nthe plot,pos\nbad acting,neg\n" * 3
STUDY = """
model = "{model}"
[data]
train = "train.csv"
test = "test.csv"
[train]
max_length = 16
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Path:
    """A study without a problem: study.toml, train.csv, test.csv, on a tiny BERT."""
    (tmp_path / "train.csv").write_text(ROWS)
    (tmp_path / "test.csv").write_text(ROWS)
    (tmp_path / "study.toml").write_text(STUDY.format(model=tiny_model("bert")))
    return tmp_path


Refused = Callable[..., list[str]]


@pytest.fixture
def refused(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """refused(*arguments) -> the lines on stderr of a command run in `folder`; it exits with 2 and leaves no file."""
    monkeypatch.chdir(folder)

    def run(*arguments: str, command: str = "check") -> list[str]:
        before = sorted(folder.rglob("*"))
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([command, *arguments])
        printed = capfd.readouterr()
        assert stop.value.code == 2, printed.err
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert lines and all(line.startswith("encoderlab: ") for line in lines), printed.err
        assert sorted(folder.rglob("*")) == before
        return [line.removeprefix("encoderlab: ") for line in lines]

    return run


@pytest.mark.parametrize("command", ["check", "compare"])
def test_unknown_key(refused: Refused, folder: Path, command: str) -> None:
    with (folder / "study.toml").open("a") as file:
        file.write("epoch = 3\n")
    assert refused("study.toml", command=command) == ["study.toml: train.epoch: unknown key; did you mean 'epochs'?"]


@pytest.mark.parametrize("command", ["check", "compare", "train"])
def test_missing_column(refused: Refused, command: str) -> None:
    more = ["--method", "lora", "--seed", "0"] if command == "train" else []
    lines = refused("study.toml", "-s", "task.text=txt", *more, command=command)
    assert lines == [
        f"study.toml: data.{split}: {split}.csv: no column 'txt'; the columns are 'text', 'label'; did you mean 'text'?"
        for split in ("train", "test")
    ]


def test_label_that_train_lacks(refused: Refused, folder: Path) -> None:
    (folder / "test.csv").write_text(ROWS + "a film,neutral\n")
    (line,) = refused("study.toml", command="compare")
    assert line.startswith("study.toml: data.test: label 'neutral' (column 'label', 1 of 19 rows) is unknown to train")
    assert "'neg', 'pos'" in line


def test_one_class_only(refused: Refused, folder: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text("text,label\n" + "good film,pos\nvery good,pos\n" * 9)
    (line,) = refused("study.toml", command="compare")
    assert "have the label 'pos'" in line and "expected at least two classes" in line


@pytest.mark.parametrize("content, said", [("", "the file is empty"), ("text,label\n", "no rows")])
def test_empty_file(refused: Refused, folder: Path, content: str, said: str) -> None:
    (folder / "test.csv").write_text(content)
    (line,) = refused("study.toml", command="compare")
    assert line.startswith("study.toml: data.test: ") and said in line


def test_bytes_that_are_not_utf8(refused: Refused, folder: Path) -> None:
    (folder / "train.csv").write_bytes(b"text,label\ngood,pos\ncaf\xe9,neg\n")
    (line,) = refused("study.toml", command="compare")
    assert "train.csv:3: byte 0xE9 is not UTF-8" in line


def test_empty_texts_are_counted_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.csv").write_text(ROWS + ",pos\n  ,neg\n")
    with pytest.raises(SystemExit) as stop:
        main(["check", str(folder / "study.toml"), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert stop.value.code == 0
    assert sum(report["splits"][name]["rows"] for name in ("train", "validation")) == 20
    assert any("rows have an empty text; they are kept" in line for line in report["warnings"])


@pytest.mark.parametrize(
    "override, said",
    [
        (
            "rank=0.2",
            "expected a whole number, got 0.2 (rank: number of rows of A and columns of B, not a fraction of the "
            "weights)",
        ),
        ("rank=0", "rank = 0: expected a whole number of at least 1"),
        ("rank=33", "rank = 33: larger than the layers (32 wide)"),
        ("target=['qurey']", "target 'qurey': no linear layer of that name"),
        ("target=['encoder.layer.0.attention.self.qeury']", "encoder.layer.0.attention.self.query"),
        ("layers=[0, 7]", "layers [7]"),
        ("dropout=1.5", "dropout = 1.5: expected 0 <= dropout < 1"),
    ],
)
def test_a_method_that_does_not_fit_the_model(refused: Refused, override: str, said: str) -> None:
    (line,) = refused("study.toml", "-s", f"method.lora.{override}", command="compare")
    assert said in line


def test_a_folder_that_is_no_model(refused: Refused, folder: Path) -> None:
    (folder / "empty").mkdir()
    for model, said in (("empty", "the folder has no config.json"), ("./absent", "there is no such folder")):
        (line,) = refused("study.toml", "-s", f"model={model}", command="compare")
        assert line.startswith("study.toml: model ") and said in line
    (folder / "empty" / "config.json").write_text('{"model_type": "gpt2"}')
    (line,) = refused("study.toml", "-s", "model=empty", command="compare")
    assert "family 'gpt2' is not supported; known: bert, roberta" in line and "add its row" in line


def test_a_hub_name_that_is_not_cached(refused: Refused) -> None:
    (line,) = refused("study.toml", "-s", "model=nobody/no-such-encoder", command="compare")
    assert line.startswith("study.toml: model 'nobody/no-such-encoder': not in the local cache")


@pytest.mark.parametrize("out, said", [("train.csv", "train.csv is a file"), ("train.csv/x", "train.csv is a file")])
def test_out_below_a_file(refused: Refused, out: str, said: str) -> None:
    (line,) = refused("study.toml", "-s", f"out={out}", command="compare")
    assert line.startswith("study.toml: out: ") and said in line


@pytest.mark.parametrize("override", [f"name={'x' * 300}", f"out={'x' * 300}", r'out="a\u0000b"'])
def test_out_that_no_folder_can_be_called(refused: Refused, override: str) -> None:
    (line,) = refused("study.toml", "-s", override)
    assert line.startswith("study.toml: out: ") and "cannot be a folder (" in line


def test_validation_that_is_test(refused: Refused) -> None:
    (line,) = refused("study.toml", "-s", 'data.validation.path="test.csv"', command="compare")
    assert line.startswith('-s data.validation.path="test.csv": the same data as data.test')


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody can write, root included")
def test_out_that_cannot_be_written(refused: Refused) -> None:
    (line,) = refused("study.toml", "-s", "out=/proc/results", command="compare")
    assert line.startswith("study.toml: out: cannot write in /proc (") and "-s out=FOLDER" in line


@pytest.mark.parametrize("family, limit", [("bert", 64), ("roberta", 64), ("distilbert", 64)])
def test_more_tokens_than_positions(refused: Refused, tiny_model, family: str, limit: int) -> None:
    model = f"model={tiny_model(family)}"
    (line,) = refused("study.toml", "-s", model, "-s", f"train.max_length={limit + 1}", command="compare")
    assert line.startswith("study.toml: train.max_length: 65, but ") and "has 64 positions; use at most 64" in line


def test_everything_at_once(refused: Refused, folder: Path) -> None:
    """The file's own problems, the data's, the model's and the methods' in one answer."""
    (folder / "test.csv").write_text(ROWS + "a film,neutral\n")
    with (folder / "study.toml").open("a") as file:
        file.write('epochs = "3"\n[[method]]\nname = "lora"\nrank = 64\n[[method]]\nname = "adapter"\nbottleneck = 0\n')
    lines = refused("study.toml", "-s", "out=train.csv", "-s", "search.zzz=1")
    found = [
        "-s search.zzz=1: unknown key",
        "train.epochs: expected a whole number",
        "out: ",
        "data.test: label 'neutral'",
        "method.lora: rank = 64",
        "method.adapter: bottleneck = 0",
    ]
    assert len(lines) == len(found)
    assert all(any(part in line for line in lines) for part in found), lines


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_folder_that_is_no_run(refused: Refused, command: str) -> None:
    (line,) = refused(".", "test.csv", command=command)
    assert line.startswith(".: not the folder of a ")


@pytest.mark.parametrize("out", [".", "none/answers.csv", os.devnull])
def test_answers_that_cannot_be_written(refused: Refused, out: str) -> None:
    (line,) = refused(".", "test.csv", "-o", out, command="predict")
    assert line == f"-o {out}: expected a file name in an existing folder"


def test_train_needs_one_method_and_one_seed(refused: Refused) -> None:
    (line,) = refused("study.toml", "--seed", "0", command="train")
    assert line.startswith("study.toml: several methods; choose one with --method: 'full', 'lora'")
    (line,) = refused("study.toml", "--method", "lora", command="train")
    assert line == "study.toml: several seeds; choose one with --seed: 0, 1, 2"
    (line,) = refused("study.toml", "--method", "lorra", command="train")
    assert line.startswith("--method lorra: not in study.toml, which has 'full', 'lora'")


def test_no_such_study(refused: Refused) -> None:
    assert refused("studi.toml", command="compare") == ["studi.toml: no such file; did you mean 'study.toml'?"]
