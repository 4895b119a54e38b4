"""Study files that are wrong: every problem at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoderlab.config import load
from encoderlab.core.errors import InputError
from encoderlab.core.types import only
from encoderlab.methods.registry import METHODS
from encoderlab.tasks.registry import TASKS
from fixtures_config import LORA, MASKED, OTHERS, SHORT, problems, write  # noqa: F401  (a fixture)

KINDS = " or ".join(f'"{only(task, "kind")}"' for task in TASKS)


@pytest.mark.parametrize(
    "text, expected",
    [
        (SHORT + LORA + "epochs = 0\n", "method.lora.epochs: expected a whole number from 1 up, got 0 (epochs: number"),
        (SHORT + LORA + 'epochs = [1, "2"]\n', 'method.lora.epochs: expected a whole number from 1 up, got "2"'),
        (SHORT + LORA + "epochs = []\n", "method.lora.epochs: an empty list; expected at least one value"),
        (
            SHORT + LORA + "epochs = { low = 1, high = 3 }\n",
            "method.lora.epochs: expected a whole number from 1 up, got a",
        ),
        (SHORT + LORA + "epochs = [3]\n" + LORA, "method.lora: lora occurs twice"),
        (SHORT + LORA + "epoch = 3\n", "method.lora.epoch: unknown key; did you mean 'epochs'?"),
        (SHORT + LORA + "stride = [8, 16]\n", "method.lora.stride: only a masked-lm task has windows, and so a stride"),
        (MASKED + LORA + "stride = 1.5\n", "method.lora.stride: expected a whole number from 1 up, got 1.5"),
        (MASKED + "stride = 8\n" + LORA + "stride = [8]\n" + LORA, "method.lora: lora occurs twice"),
    ],
)
def test_epochs_and_stride_that_are_wrong(write, text: str, expected: str) -> None:
    (line,) = problems(write(text))
    assert line.startswith(expected)


def test_the_only_method_of_a_study_without_a_probe_is_misspelled(write) -> None:
    (line,) = problems(write(MASKED + '[[method]]\nname = "lorra"\n'))
    assert line == "method[0].name: unknown method \"lorra\"; did you mean 'lora'?"


def test_every_problem_at_once_each_with_its_place(write) -> None:
    text = """
nam = "x"
seeds = [0, -1]
[task]
kind = "clasification"
[data]
train = { pth = "train.csv" }
[train]
epochs = 0
batch_size = "16"
max_length = 128.5
clip = inf
precision = "fp61"
warmup = true
zzz = 1
[[method]]
name = "lora"
rank = [4, 0.2]
dropot = 0.1
target = ["query", 3]
[[method]]
name = "lorra"
[[method]]
rank = 3
"""
    assert problems(write(text)) == [
        "method[1].name: unknown method \"lorra\"; did you mean 'lora'?",
        f"method[2].name: missing; expected one of {', '.join(only(method, 'name') for method in METHODS)}",
        "nam: unknown key; did you mean 'name'?",
        "model: missing; expected a model folder, or a name on the Hugging Face hub",
        "seeds: expected at least one value, as a list of whole numbers from 0 up, got [0, -1]"
        " (seeds: random seeds; every method is trained once with each of them)",
        f"task.kind: expected {KINDS}, got \"clasification\"; did you mean 'classification'?",
        "data.train.pth: unknown key; did you mean 'path'?",
        "train.zzz: unknown key; known keys: epochs, batch_size, max_length, warmup, weight_decay, clip, patience, "
        "precision, token_budget, device, trunk_cache",
        "train.epochs: expected a whole number from 1 up, got 0"
        " (epochs: number of passes over the training rows; the epoch with the best validation score is kept)",
        'train.batch_size: expected a whole number from 1 up, got "16"'
        " (batch_size: number of rows in one optimizer step, on any hardware)",
        "train.max_length: expected a whole number from 8 up, got 128.5"
        " (max_length: maximum number of tokens in a row, special tokens included; "
        "longer rows are truncated and counted)",
        "train.warmup: expected a number from 0 to 1, got true"
        " (warmup: share of the steps in which the learning rate rises; after that it falls linearly to zero)",
        "train.clip: expected a number above 0, got inf (clip: maximum norm of the gradient of one step)",
        'train.precision: expected "auto" or "bf16" or "fp32", got "fp61"'
        " (precision: number format of the computation; auto chooses by device and reports why)",
        "method.lora.dropot: unknown key; did you mean 'dropout'?",
        'method.lora.target: expected a list of strings, got ["query", 3] (target: layers to change: '
        "roles (query, key, value, attention_out, ffn_in, ffn_out) or exact module paths)",
        "method.lora.rank: expected a whole number, got 0.2"
        " (rank: number of rows of A and columns of B, not a fraction of the weights)",
    ]


@pytest.mark.parametrize(
    "kind, hint",
    [
        ('"masked_lm"', "; did you mean 'masked-lm'?"),
        ('"multiplechoice"', "; did you mean 'multiple-choice'?"),
        ('"ner"', ""),
        ("3", ""),
    ],
)
def test_an_unknown_kind_is_one_line_with_all_kinds(write, kind: str, hint: str) -> None:
    """The other keys of the section belong to a task that is not known, so nothing is said of them."""
    path = write(f'{SHORT}[task]\nkind = {kind}\nstride = 8\ntext = "text"\n')
    line = f"expected {KINDS}, got {kind}{hint}"
    assert problems(path, "task.mask_rate=0.2") == [f"task.kind: {line}"]
    path = write(f'{SHORT}[task]\nkind = "regression"\n')
    assert problems(path, f"task.kind={kind}") == [f"-s task.kind={kind}: {line}"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "data.train: missing; expected a file name"),
        ("task = 3\n[data]\ntrain = 'train.csv'", "task: expected a section [task], got 3"),
        ("data = 3", "data: expected a section [data], got 3"),
        ("[data]\ntrain = 3", "data.train: expected a file name, or a table such as { path = ... }, got 3"),
        ("[data]\ntrain = 'train.cvs'", "data.train.path: no such file"),
        ("[data]\ntrain = {path='train.csv', rows=0}", "data.train.rows: expected a positive whole number, got 0"),
        ("[data]\ntrain = 'train.csv'\n[method]\nname='lora'", "method: expected sections [[method]] (two brackets)"),
        ("method = []\n[data]\ntrain = 'train.csv'", "method: expected sections [[method]]"),
        ("[data]\ntrain = 'train.csv'\n[[method]]\nname='lora'\nrank=[]", "method.lora.rank: an empty list"),
        ("[data]\ntrain = 'train.csv'\n[[method]]\nname='lora'\nrank=[4,4]", "method.lora: lora occurs twice"),
        ("seeds = [1, 1]\n[data]\ntrain = 'train.csv'", "seeds: expected different numbers, got [1, 1]"),
        ("seeds = []\n[data]\ntrain = 'train.csv'", "seeds: expected at least one value"),
        ("seeds = 3\n[data]\ntrain = 'train.csv'", "seeds: expected at least one value, as a list"),
        ("name = '../x'\n[data]\ntrain = 'train.csv'", "name: expected a name without slashes"),
        ("out = ''\n[data]\ntrain = 'train.csv'", "out: is empty"),
        ("reference = 'lorra'\n[data]\ntrain = 'train.csv'", "reference: no method 'lorra'; did you mean 'lora'?"),
        ("[task]\ntext='label'\n[data]\ntrain = 'train.csv'", "task.text: column 'label' is also the label"),
        ("[task]\ntext=['text', 'label']\n[data]\ntrain = 'train.csv'", "task.text: column 'label' is also the label"),
        ("[task]\ntext=['text', 'text']\n[data]\ntrain = 'train.csv'", "task.text: column 'text' occurs twice"),
        ("name = 1979-05-27\n[data]\ntrain = 'train.csv'", "name: expected a string, got 1979-05-27"),
    ],
)
def test_one_problem_one_line(write, text: str, expected: str) -> None:
    (line,) = problems(write("model = 'm'\n" + text))
    assert line.startswith(expected)


def test_sections_of_one_name_are_told_apart(write) -> None:
    grid = '[[method]]\nname = "lora"\nrank = 4\n[[method]]\nname = "lora"\nrank = 0.5\n'
    (line,) = problems(write(SHORT + grid))
    assert line.startswith("method.lora[1].rank: expected a whole number, got 0.5")


@pytest.mark.parametrize(
    "override, expected",
    [
        ("train.epoch=1", "-s train.epoch=1: unknown key train.epoch; did you mean 'train.epochs'?"),
        ("epochs", "-s epochs: expected key=value, e.g. train.epochs=1"),
        ("train.epochs=x", '-s train.epochs=x: expected a whole number from 1 up, got "x" (epochs: number of passes'),
        ("data.train=no.csv", "-s data.train=no.csv: no such file"),
        ("method.lora.rnk=1", "-s method.lora.rnk=1: unknown key method.lora.rnk; did you mean 'method.lora.rank'?"),
        ("method.lora.name=full", "-s method.lora.name=full: unknown key method.lora.name"),
        (
            "method.lorra.rank=1",
            "-s method.lorra.rank=1: no [[method]] of that name in the study; did you mean 'lora'?",
        ),
        ("method.lora.rank=0.2", "-s method.lora.rank=0.2: expected a whole number, got 0.2"),
        ("method=1", "-s method=1: unknown key method"),
        ("search.factor=1e308", "-s search.factor=1e308: expected a number from 1.1 to 100, got 1e+308"),
        ("search.candidates=5000", "-s search.candidates=5000: expected a whole number from 1 to 100, got 5000"),
        (f"train.epochs={'1' * 5000}", f"-s train.epochs={'1' * 287}…{'1' * 99}: expected a whole number from 1 up"),
        (f"train.epochs={'[' * 5000}", "-s train.epochs=[[["),
        (f"data.train={'x' * 300}.csv", f"-s data.train={'x' * 300}.csv: no such file"),
    ],
)
def test_a_wrong_override_is_blamed_itself(write, override: str, expected: str) -> None:
    (line,) = problems(write(SHORT), override)
    assert line.startswith(expected)


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    assert problems(path) == ["no such file"]
    path.write_text("a = \n")
    (line,) = problems(path)
    assert line.startswith("not TOML: Invalid value (at line 1, column 5)")
    assert problems(tmp_path / "studi.toml") == ["no such file; did you mean 'study.toml'?"]
    assert problems(tmp_path) == ["is a folder; expected a study file (TOML)"]
    path.write_text("a = " + "1" * 5000)
    assert len(problems(path)) == 1
    path.write_text("a = " + "[" * 5000)
    (line,) = problems(path)
    assert line.startswith("values are nested too deeply")
    path.write_bytes(b"a = 1\nb = '\xe9'\n")
    with pytest.raises(InputError, match="study.toml:2: byte 0xE9 is not UTF-8"):
        load.load(path)


def test_confirm_names_a_set_on_which_no_method_is_scored(write) -> None:
    assert problems(write(OTHERS), "report.confirm=fra") == [
        "-s report.confirm=fra: no set 'fra' under [data.other_tests]; did you mean 'far'?"
    ]
    assert problems(write(OTHERS), "report.confirm=x") == [
        "-s report.confirm=x: no set 'x' under [data.other_tests]; it has far, near"
    ]
    assert problems(write(f'{SHORT}[report]\nconfirm = "far"\n')) == [
        "report.confirm: no set 'far' under [data.other_tests]; add the set there"
    ]
    assert problems(write(OTHERS), "report.confirm=far", "data.test=test.csv") == [
        "-s report.confirm=far: 'far' is the same data as data.test, on which every method is scored; "
        "name a set of other rows"
    ]
