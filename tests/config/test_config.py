"""Study files: what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoderlab.config import load, settings
from encoderlab.data.source import Source
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.lora import Lora
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.training import settings as training_settings
from fixtures_config import LORA, MASKED, OTHERS, SHORT, labels, problems, write  # noqa: F401  (a fixture)


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


def test_learning_rates_are_candidates_and_as_many_for_every_method(write) -> None:
    lora = '[[method]]\nname = "lora"\nlearning_rate = '
    study = load.load(write(SHORT + lora + "[1e-3, 2e-3, 5e-3]\n"))
    assert study.variants[0].learning_rates == (1e-3, 2e-3, 5e-3)
    one = load.load(write(SHORT + lora + "1e-3\n"), ["search.candidates=1"])
    assert [variant.learning_rates for variant in one.variants] == [(1e-3,), (3e-3,)]

    (line,) = problems(write(SHORT + lora + "1e-3\n"))
    assert line.startswith("method: methods have different numbers of learning rates (1 for lora; 3 for head)")
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


def test_the_kind_can_be_overridden_with_keys_of_its_own(write) -> None:
    study = load.load(write(SHORT), ["task.stride=8", "task.kind=masked-lm"])
    assert study.task == MaskedLM(stride=8) and "head" not in labels(study)


def test_reference_names_one_variant(write) -> None:
    grid = '[[method]]\nname = "lora"\nrank = [4, 8]\n'
    assert load.load(write('reference = "lora rank=8"\n' + SHORT + grid)).reference == "lora rank=8"
    assert load.load(write('reference = "head"\n' + SHORT + grid)).reference == "head"
    (line,) = problems(write('reference = "lora"\n' + SHORT + grid))
    assert line == "reference: several variants of lora; expected one of 'lora rank=4', 'lora rank=8'"


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
