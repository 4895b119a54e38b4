"""Studies of masked language modelling: whole, resumed, with grids of epochs and strides."""

from __future__ import annotations

import csv
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoderlab.adapters import folder as adapters
from encoderlab.config import load as config_load
from encoderlab.methods.lora import Lora
from encoderlab.model import load
from encoderlab.study.compare import compare
from encoderlab.study.context import open_context
from encoderlab.study.jobs import Runs, planned, seeded, trials
from encoderlab.study.prepare import prepare
from encoderlab.study.train import train
from fixtures_masked import study  # noqa: F401  (a fixture)


def test_a_whole_study(study: Path, tiny_masked_lm: Callable[[str], Path]) -> None:
    report = compare(study)
    page = report.read_text(encoding="utf-8")
    assert "Perplexity" in page and "one standard error over seeds and test rows" in page
    with (report.parent / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"untrained", "lora", "full"}
    for row in rows:
        assert (
            float(row["perplexity"]) == pytest.approx(math.exp(float(row["loss"])), rel=1e-6) and row["macro_f1"] == ""
        )
    summary = json.loads((report.parent / "summary.json").read_text(encoding="utf-8"))["summary"]
    by_name = {row["variant"]: row for row in summary}
    for name, row in by_name.items():  # of the mean loss, as within a run
        losses = [float(one["loss"]) for one in rows if (one["variant"], one["split"]) == (name, "test")]
        assert row["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-9)
    assert 0 < by_name["lora rank=2"]["p"] <= 1 and by_name["lora rank=2"]["difference_low"] is not None
    results = [json.loads(p.read_text()) for p in report.parent.glob("runs/*/result.json")]
    loras = [r for r in results if r["method"] == "lora"]
    assert len(loras) == 4 and all(r["parameters"]["head"] == 0 < r["parameters"]["adapter"] for r in loras)
    bare = load.load(str(tiny_masked_lm("bert")), head="AutoModel", class_names=[], seed=0)
    method = adapters.load_adapter(bare, report.parent / "runs" / loras[0]["id"] / "adapter", head=False)
    assert isinstance(method, Lora)


def test_resumed_runs_see_the_same_masks(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import encoderlab.training.loop as loop

    overrides = ["seeds=[0]", "method.lora.rank=2"]
    whole = compare(study, [*overrides, f"out={tmp_path / 'whole'}"]).parent
    save, calls = loop.checkpoint.save, 0

    def stop_after_one(*args) -> None:
        nonlocal calls
        save(*args)
        calls += 1
        if calls == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.checkpoint, "save", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        compare(study, [*overrides, f"out={tmp_path / 'twice'}"])
    monkeypatch.setattr(loop.checkpoint, "save", save)
    twice = compare(study, [*overrides, f"out={tmp_path / 'twice'}"]).parent

    def metrics(out: Path) -> list[list[str]]:
        keys = ("variant", "split", "loss", "accuracy", "perplexity")
        with (out / "results.csv").open(encoding="utf-8") as file:
            return [[row[k] for k in keys] for row in csv.DictReader(file)]

    assert metrics(whole) == metrics(twice)


GRID = ["method.full.epochs=1", "method.lora.rank=2", "method.lora.epochs=[1, 2]", "method.lora.stride=[10, 20]"]


@pytest.mark.slow
def test_epochs_and_stride_as_grids(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*GRID, "seeds=[0]", "search.candidates=2", "search.extend=0"]
    report = compare(study, overrides)
    account = json.loads((report.parent / "study.json").read_text(encoding="utf-8"))
    results = {
        number: json.loads((report.parent / "runs" / number / "result.json").read_text()) for number in account["runs"]
    }
    runs = {account["labels"][i]["variant"]: r for i, r in results.items() if r["kind"] == "run"}
    trials = [r for r in results.values() if r["kind"] == "trial"]
    assert {name: (r["epochs"], r["config"].get("stride")) for name, r in runs.items()} == {
        "lora epochs=1 stride=10": (1, 10), "lora epochs=1 stride=20": (1, 20),
        "lora epochs=2 stride=10": (2, 10), "lora epochs=2 stride=20": (2, 20), "full": (1, None),
    }  # fmt: skip
    assert len({r["id"] for r in runs.values()}) == 5
    steps = {name: r["steps"] for name, r in runs.items()}
    assert steps["lora epochs=2 stride=10"] == 2 * steps["lora epochs=1 stride=10"] > 2 * steps["full"]
    data = [r["config"]["data"] for r in runs.values()]
    assert len({d["train"]["fingerprint"] for d in data}) == 3
    assert len({d[split]["fingerprint"] for d in data for split in ("validation", "test")}) == 2, (
        "scored on the same rows"
    )
    # variants that differ in epochs alone have their trials, and so their learning rate, in common
    assert len(trials) == 2 * 3 and all(r["config"]["train"]["epochs"] == 2 for r in trials)
    page = report.read_text(encoding="utf-8")
    assert "lora stride=10: epochs" in page and "lora epochs=2: stride" in page
    assert "not every method has the same epochs (lora: 1, 2; full: 1)" in page
    assert "not every method has the same stride (lora: 10, 20; full: a whole window)" in page
    capsys.readouterr()
    folder = train(
        study, overrides, label="lora epochs=2 stride=10", seed=0, learning_rate=account["search"][0]["chosen"]
    )
    assert folder is not None and folder.name in account["runs"], "compare's run, taken as it is"


def test_the_time_of_a_grid_counts_its_epochs_windows_and_common_trials(study: Path) -> None:
    found = config_load.load(study, [*GRID, "search.candidates=2"])
    splits, class_names, _ = prepare(found)
    context = open_context(found, splits, class_names)
    shipped: Runs = pickle.loads(pickle.dumps(Runs(study=found, context=context)))  # as to a worker
    specs = [spec for v in found.variants for spec in (*trials(found, v), *seeded(found, v, v.learning_rates[0]))]
    assert [shipped.name(pickle.loads(pickle.dumps(spec))) for spec in specs] == [
        Runs(study=found, context=context).name(spec) for spec in specs
    ]
    trained: dict[str, list[int]] = {}
    for work in planned(found, context):
        trained.setdefault(work.group, []).append(work.trained)
    once, twice = (trained[f"lora epochs={n} stride=10"] for n in (1, 2))
    # two trials, a race of two at full length, and the runs, of which the first is the race's winner
    assert len(once) == 2 + 2 + len(found.seeds) and once[4] == twice[4] == 0
    assert twice[2] == twice[3] == 2 * once[2] > 2 * trained["full"][2] > 0 and once[5:] == once[2:3] * (len(once) - 5)
    assert once[0] > 0 and twice[:2] == [0, 0]
