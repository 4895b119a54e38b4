"""Study files: what they mean, and every problem at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoderlab.config import load, settings
from encoderlab.core.errors import InputError
from encoderlab.core.types import only
from encoderlab.data.source import Source
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.lora import Lora
from encoderlab.methods.registry import METHODS
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.tasks.registry import TASKS
from encoderlab.training import settings as training_settings

KINDS = " or ".join(f'"{only(task, "kind")}"' for task in TASKS)
SHORT = 'model = "org/encoder"\n[data]\ntrain = "train.csv"\n'


@pytest.fixture
def write(tmp_path: Path):
    """write(text) -> the path of a study file whose folder holds a train.csv and a test.csv."""
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\ngood,1\n")

    def study(text: str) -> Path:
        path = tmp_path / "reviews.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return study


def problems(path: Path, *overrides: str) -> list[str]:
    """The problems of a study file, without its own name in front."""
    with pytest.raises(InputError) as refused:
        load.load(path, overrides)
    assert refused.value.lines == tuple(str(refused.value).splitlines())
    return [line.removeprefix(f"{path}: ") for line in refused.value.lines]


def labels(study: settings.Study) -> list[str]:
    return [variant.label for variant in study.variants]


def test_three_lines_are_a_fair_study(write) -> None:
    study = load.load(write(SHORT))
    assert study.name == "reviews" and study.model == "org/encoder" and study.seeds == (0, 1, 2)
    assert study.out == study.folder / "results/reviews" and study.reference == "full"
    assert study.data.train == Source(path="train.csv") and study.data.test == Source(fraction=0.2)
    assert labels(study) == ["full", "lora", "adapter", "prefix", "head"]
    assert {len(variant.learning_rates) for variant in study.variants} == {3}
    assert study.variants[1].learning_rates == (0.000333, 0.001, 0.003)
    assert study.train == training_settings.Train()


def test_lists_are_grids_and_labels_say_what_differs(write) -> None:
    study = load.load(
        write(SHORT + '[[method]]\nname = "lora"\nrank = [4, 8]\nalpha = [8, 16.5]\ntarget = ["query", "value"]\n')
    )
    assert labels(study) == [
        "lora rank=4 alpha=8", "lora rank=4 alpha=16.5", "lora rank=8 alpha=8", "lora rank=8 alpha=16.5", "head",
    ]  # fmt: skip
    first = study.variants[0].method
    assert first == Lora(rank=4, alpha=8.0, target=("query", "value"))
    assert study.reference == "lora rank=4 alpha=8"


def test_a_list_is_the_value_where_the_key_takes_one(write) -> None:
    sections = """
[[method]]
name = "lora"
target = [["query"], ["query", "value"]]
[[method]]
name = "adapter"
layers = ["all", "last", [0, 1]]
"""
    study = load.load(write(SHORT + sections))
    assert labels(study) == [
        "lora target=query", "lora target=query+value",
        "adapter layers=all", "adapter layers=last", "adapter layers=0+1", "head",
    ]  # fmt: skip
    assert study.variants[4].method == Adapter(layers=(0, 1))
    single = load.load(write(SHORT + '[[method]]\nname = "adapter"\nlayers = [0, 1]\n'))
    assert labels(single) == ["adapter", "head"] and single.variants[0].method == Adapter(layers=(0, 1))


MASKED = SHORT + '[task]\nkind = "masked-lm"\n'
LORA = '[[method]]\nname = "lora"\n'


def test_epochs_and_stride_of_a_section_are_grids_as_well(write) -> None:
    study = load.load(write(SHORT + LORA + 'rank = [4, 8]\nepochs = [1, 3]\n[[method]]\nname = "full"\nepochs = 5\n'))
    assert labels(study) == [
        *("lora rank=4 epochs=1", "lora rank=4 epochs=3", "lora rank=8 epochs=1", "lora rank=8 epochs=3"),
        *("full", "head"),
    ]  # fmt: skip
    assert [v.overrides.epochs for v in study.variants] == [1, 3, 1, 3, 5, None]
    assert [one.get("epochs") for one in settings.resolved(study)["method"]] == [1, 3, 1, 3, 5, None]
    usual = load.load(write(SHORT + LORA + "epochs = 1\n" + LORA), ["train.epochs=4"])
    assert labels(usual) == ["lora epochs=1", "lora epochs=4", "head"]
    bridge = load.load(write(SHORT + '[[method]]\nname = "peft"\ntype = "LOHA"\nr = 4\nepochs = [1, 2]\n'))
    assert labels(bridge)[:2] == ["peft type=LOHA epochs=1", "peft type=LOHA epochs=2"]
    strides = load.load(write(MASKED + "stride = 32\n" + LORA + "stride = [8, 16]\n" + LORA), ["task.mask_rate=0.2"])
    assert labels(strides) == ["lora stride=8", "lora stride=16", "lora stride=32"]
    assert labels(load.load(write(SHORT), ["method.lora.epochs=[1, 2]"]))[1:3] == ["lora epochs=1", "lora epochs=2"]


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
        (SHORT + LORA + "epochs = [3]\n" + LORA, "method.lora: lora is there twice"),
        (SHORT + LORA + "epoch = 3\n", "method.lora.epoch: unknown key; did you mean 'epochs'?"),
        (SHORT + LORA + "stride = [8, 16]\n", "method.lora.stride: only a masked-lm task has windows, and so a stride"),
        (MASKED + LORA + "stride = 1.5\n", "method.lora.stride: expected a whole number from 1 up, got 1.5"),
        (MASKED + "stride = 8\n" + LORA + "stride = [8]\n" + LORA, "method.lora: lora is there twice"),
    ],
)
def test_epochs_and_stride_that_are_wrong(write, text: str, expected: str) -> None:
    (line,) = problems(write(text))
    assert line.startswith(expected)


def test_the_only_method_of_a_study_without_a_probe_is_misspelled(write) -> None:
    (line,) = problems(write(MASKED + '[[method]]\nname = "lorra"\n'))
    assert line == "method[0].name: unknown method \"lorra\"; did you mean 'lora'?"


def test_learning_rates_are_candidates_and_as_many_for_every_method(write) -> None:
    lora = '[[method]]\nname = "lora"\nlearning_rate = '
    study = load.load(write(SHORT + lora + "[1e-3, 2e-3, 5e-3]\n"))
    assert study.variants[0].learning_rates == (1e-3, 2e-3, 5e-3)
    one = load.load(write(SHORT + lora + "1e-3\n"), ["search.candidates=1"])
    assert [variant.learning_rates for variant in one.variants] == [(1e-3,), (3e-3,)]

    (line,) = problems(write(SHORT + lora + "1e-3\n"))
    assert line.startswith("method: not every method has as many learning rates (1 for lora; 3 for head)")
    assert "search.candidates" in line
    for wrong in ("[1e-3, 1e-3, 2e-3]", "0", "[]", "-1e-3"):
        (line,) = problems(write(SHORT + lora + wrong), "search.candidates=1")
        assert line.startswith("method.lora.learning_rate: expected different numbers above 0"), wrong


@pytest.mark.parametrize("candidates, expected", [(1, (0.001,)), (2, (0.0005, 0.002)), (3, (0.00025, 0.001, 0.004))])
def test_the_search_grid_is_geometric_around_the_default(candidates: int, expected: tuple[float, ...]) -> None:
    assert settings.Search(candidates=candidates, factor=4).around(1e-3) == expected


@pytest.mark.parametrize("candidates, factor", [(100, 1.1), (100, 100.0)])
def test_the_largest_search_grids_hold_different_numbers(candidates: int, factor: float) -> None:
    rates = settings.Search(candidates=candidates, factor=factor).around(5e-5)
    assert len(set(rates)) == candidates and 0 < min(rates) and max(rates) < float("inf")


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


def test_the_kind_can_be_overridden_with_keys_of_its_own(write) -> None:
    study = load.load(write(SHORT), ["task.stride=8", "task.kind=masked-lm"])
    assert study.task == MaskedLM(stride=8) and "head" not in labels(study)


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
        ("[data]\ntrain = 'train.csv'\n[[method]]\nname='lora'\nrank=[4,4]", "method.lora: lora is there twice"),
        ("seeds = [1, 1]\n[data]\ntrain = 'train.csv'", "seeds: expected different numbers, got [1, 1]"),
        ("seeds = []\n[data]\ntrain = 'train.csv'", "seeds: expected at least one value"),
        ("seeds = 3\n[data]\ntrain = 'train.csv'", "seeds: expected at least one value, as a list"),
        ("name = '../x'\n[data]\ntrain = 'train.csv'", "name: expected a name without slashes"),
        ("out = ''\n[data]\ntrain = 'train.csv'", "out: is empty"),
        ("reference = 'lorra'\n[data]\ntrain = 'train.csv'", "reference: no method 'lorra'; did you mean 'lora'?"),
        ("[task]\ntext='label'\n[data]\ntrain = 'train.csv'", "task.text: column 'label' is the label as well"),
        ("[task]\ntext=['text', 'label']\n[data]\ntrain = 'train.csv'", "task.text: column 'label' is the label"),
        ("[task]\ntext=['text', 'text']\n[data]\ntrain = 'train.csv'", "task.text: column 'text' is there twice"),
        ("name = 1979-05-27\n[data]\ntrain = 'train.csv'", "name: expected a string, got 1979-05-27"),
    ],
)
def test_one_problem_one_line(write, text: str, expected: str) -> None:
    (line,) = problems(write("model = 'm'\n" + text))
    assert line.startswith(expected)


def test_reference_names_one_variant(write) -> None:
    grid = '[[method]]\nname = "lora"\nrank = [4, 8]\n'
    assert load.load(write('reference = "lora rank=8"\n' + SHORT + grid)).reference == "lora rank=8"
    assert load.load(write('reference = "head"\n' + SHORT + grid)).reference == "head"
    (line,) = problems(write('reference = "lora"\n' + SHORT + grid))
    assert line == "reference: several variants of lora; expected one of 'lora rank=4', 'lora rank=8'"


def test_sections_of_one_name_are_told_apart(write) -> None:
    grid = '[[method]]\nname = "lora"\nrank = 4\n[[method]]\nname = "lora"\nrank = 0.5\n'
    (line,) = problems(write(SHORT + grid))
    assert line.startswith("method.lora[1].rank: expected a whole number, got 0.5")


def test_overrides(write) -> None:
    path = write(SHORT)
    given = (
        "train.epochs=1",
        "method.lora.rank=[2, 4]",
        "seeds=[5]",
        "data.train.rows=500",
        "name=x y",
        "task.label=y",
    )
    study = load.load(path, given)
    assert study.train.epochs == 1 and study.seeds == (5,) and study.name == "x y"
    assert study.data.train == Source(path="train.csv", rows=500)
    assert labels(study) == ["full", "lora rank=2", "lora rank=4", "adapter", "prefix", "head"]
    assert load.load(path, ["data.test.fraction=0.5"]).data.test == Source(fraction=0.5)
    assert load.load(path, ["data.test=test.csv", "data.test.rows=1"]).data.test == Source(path="test.csv", rows=1)
    both = SHORT + '[[method]]\nname = "lora"\nrank = 4\n[[method]]\nname = "lora"\nrank = 8\n'
    assert [v.method for v in load.load(write(both), ["method.lora.alpha=1"]).variants[:2]] == [
        Lora(rank=4, alpha=1.0),
        Lora(rank=8, alpha=1.0),
    ]


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


def test_a_model_is_a_path_or_a_hub_name(write, tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    for written, meant in {
        "encoder": str(tmp_path / "encoder"),
        "bert-base-uncased": "bert-base-uncased",
        "org/bert": "org/bert",
        "./absent": str(tmp_path / "absent"),
        "/absent": "/absent",
    }.items():
        assert load.load(write(SHORT.replace("org/encoder", written))).model == meant


def test_resolved_is_complete_and_as_written(write) -> None:
    path = write(SHORT.replace("org/encoder", "./m") + '[[method]]\nname = "lora"\nrank = [4, 8]\n')
    resolved = settings.resolved(load.load(path))
    assert json.loads(json.dumps(resolved)) == resolved
    assert str(path.parent) not in json.dumps(resolved)
    assert resolved["model"] == "./m" and resolved["out"] == "results/reviews" and resolved["name"] == "reviews"
    assert resolved["train"]["max_length"] == 256 and resolved["data"]["validation"]["fraction"] == 0.1
    assert [(one["label"], one.get("rank"), len(one["learning_rate"])) for one in resolved["method"]] == [
        ("lora rank=4", 4, 3),
        ("lora rank=8", 8, 3),
        ("head", None, 3),
    ]


OTHERS = f'{SHORT}[data.other_tests]\nfar = "test.csv"\nnear = "train.csv"\n'


def test_the_report_s_keys_can_be_set_on_the_command_line(write) -> None:
    study = load.load(write(OTHERS), ["report.margin=2", "report.cost=time", "report.seed_sd=0", "report.confirm=far"])
    rule = study.report
    assert (rule.margin, rule.cost, rule.seed_sd, rule.confirm) == (2.0, "time", 0.0, "far")
    assert problems(write(OTHERS), "report.margins=2") == [
        "-s report.margins=2: unknown key report.margins; did you mean 'report.margin'?"
    ]


def test_an_override_of_a_further_test_set_names_the_key_that_is_expected(write) -> None:
    assert problems(write(OTHERS), "data.other_tests.far=x.csv") == [
        "-s data.other_tests.far=x.csv: data.other_tests.far is a section; expected -s data.other_tests.far.path=x.csv"
    ]
    study = load.load(write(OTHERS), ["data.other_tests.far.path=train.csv"])
    assert study.data.other_tests["far"].path == "train.csv"


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
