"""Which variant is recommended, what the first lines say of it, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.stats import mannwhitneyu

from encoderlab.report import headline
from encoderlab.results import collect
from encoderlab.results.table import Table
from fixtures_runs import Spec, write_study

ROWS = 200
FULL = Spec("full", "", 0.8, 1000, 60.0, 1e-4)
LORA = Spec("lora", "rank=4", 0.8, 10, 50.0, 1e-3)
HEAD = Spec("head", "", 0.8, 0, 20.0, 1e-3)


def study(out: Path, *specs: Spec, seeds: tuple[int, ...] = (0,), **right: np.ndarray) -> Path:
    """A study over ROWS rows, numbered 0, 3, 6, ... in their source; `right`: which of them a method gets right."""
    write_study(out, specs=specs, seeds=seeds, rows=ROWS)
    for method, which in right.items():
        for folder in (out / "runs").glob(f"{method}-*"):
            tensors = load_file(predictions(folder))
            answer = np.where(which[tensors["index"] // 3], tensors["labels"], 1 - tensors["labels"])
            save_file(tensors | {"logits": np.eye(2, dtype=np.float32)[answer]}, predictions(folder))
            run = json.loads((folder / "result.json").read_text())
            run["splits"]["test"]["accuracy"] = which.mean()
            (folder / "result.json").write_text(json.dumps(run))
    return out


def predictions(folder: Path) -> Path:
    return folder / "predictions" / "test.safetensors"


def told(table: Table) -> str:
    return " ".join(headline.sentences(table))


def pairs(table: Table) -> dict[str, int | None]:
    return {row.variant: row.comparison.pairs if row.comparison else None for row in table.summary}


def some(count: int, seed: int) -> np.ndarray:
    """(ROWS,) bool, `count` of them True."""
    return np.random.default_rng(seed).permutation(ROWS) < count


def test_a_cheap_equal_that_does_not_beat_the_majority_is_not_chosen(tmp_path: Path) -> None:
    full = some(134, 1)
    head = full.copy()  # 12 rows fewer: not distinguishable, but at 61 % no better than 50 % plus luck can be
    head[np.flatnonzero(full)[:40]] = False
    head[np.flatnonzero(~full)[:28]] = True
    table = collect.collect(study(tmp_path, FULL, HEAD, full=full, head=head))
    choice = table.recommendation
    assert choice is not None
    assert choice.finalists == ("full", "head") and choice.unproven == ("head",)
    assert choice.general is False and choice.worse == ()
    assert (choice.variant, choice.beats_majority) == ("full", True)
    assert told(table).startswith("Use full: 67.0 % of 200 test rows correct.")
    assert "Not shown to be better than always predicting one label: head." in told(table)


def test_use_none_is_said_of_the_most_accurate(tmp_path: Path) -> None:
    table = collect.collect(study(tmp_path, FULL, HEAD, full=some(108, 1), head=some(104, 2)))
    assert table.recommendation is not None and table.recommendation.beats_majority is False
    first = "Do not use any of these methods yet: the most accurate one, full, is not shown to be better than always "
    assert told(table).startswith(f"{first}predicting one label")


def test_without_the_majority_s_predictions_nothing_is_claimed_about_it(tmp_path: Path) -> None:
    out = study(tmp_path, FULL, LORA)
    predictions(out / "runs" / "majority-None").unlink()
    table = collect.collect(out)
    assert table.recommendation is not None and table.recommendation.beats_majority is None
    assert "Whether it is better than always predicting one label could not be tested." in told(table)


def missing(out: Path) -> None:
    predictions(out / "runs" / "lora-rank4-0").unlink()
    predictions(out / "runs" / "lora-rank4-1").unlink()


def apart(out: Path) -> None:
    for name in ("full-0", "lora-rank4-1"):
        path = out / "runs" / name / "result.json"
        failed = {"status": "failed", "reason": "loss is not finite", "splits": {}}
        path.write_text(json.dumps(json.loads(path.read_text()) | failed))


def other_rows(out: Path) -> None:
    for path in map(predictions, (out / "runs").glob("lora-*")):
        tensors = load_file(path)
        save_file(tensors | {"index": tensors["index"] + 1}, path)


def other_labels(out: Path) -> None:
    for path in map(predictions, (out / "runs").glob("lora-*")):
        tensors = load_file(path)
        flipped = np.where(tensors["index"] < 21, 1 - tensors["labels"], tensors["labels"])
        save_file(tensors | {"labels": flipped}, path)


@pytest.mark.parametrize(
    "damage, obstacle",
    [
        (missing, "test predictions are missing"),
        (apart, "no seed was finished in both"),
        (other_rows, "they were tested on different rows"),
        (other_labels, "the labels of 7 of 200 test rows differ between their runs"),
    ],
)
def test_what_cannot_be_compared_is_not_called_worse(tmp_path: Path, damage: Any, obstacle: str) -> None:
    out = study(tmp_path, FULL, LORA, seeds=(0, 1), full=some(160, 1), lora=some(159, 2))
    damage(out)
    table = collect.collect(out)
    choice = table.recommendation
    assert choice is not None
    assert (choice.variant, choice.worse, choice.incomparable) == ("full", (), {"lora rank=4": obstacle})
    assert f"Not comparable with it: lora rank=4 ({obstacle})." in told(table)
    assert "worse" not in told(table)
    assert f"lora rank=4 is not compared with full: {obstacle}." in table.caveats
    row = next(r for r in table.summary if r.variant == "lora rank=4")
    assert row.comparison and row.holm_p is None
    assert (row.comparison.difference, row.comparison.p, row.comparison.pairs) == (None, None, 0)


def test_a_difference_over_fewer_seeds_than_the_means_says_so(tmp_path: Path) -> None:
    out = study(tmp_path, FULL, LORA, seeds=(0, 1, 2), full=some(160, 1), lora=some(159, 1))
    table = collect.collect(out)
    assert table.caveats == ()
    assert pairs(table) == {
        "majority": 3, "untrained": 3, "full": None, "lora rank=4": 3,
    }  # fmt: skip
    predictions(out / "runs" / "lora-rank4-1").unlink()
    table = collect.collect(out)
    assert pairs(table)["lora rank=4"] == 2
    assert len(table.caveats) == 1 and "lora rank=4 (2; means over 3 and 3)" in table.caveats[0]
    assert table.recommendation is not None and table.recommendation.pairs in (0, 2)


def test_a_baseline_of_which_one_seed_is_left_is_paired_with_that_seed_alone(tmp_path: Path) -> None:
    out = study(tmp_path, FULL, seeds=(0, 1, 2))
    for seed in (1, 2):
        predictions(out / "runs" / f"untrained-{seed}").unlink()
    found = pairs(collect.collect(out))
    assert (found["untrained"], found["majority"]) == (1, 3)


def some_seeds(out: Path, *specs: Spec, accuracy: dict[str, list[float]]) -> Path:
    """A study over 2,000 rows; accuracy: of each seed of a method, nearly all rows shared."""
    seeds = tuple(range(max(map(len, accuracy.values()))))
    write_study(out, specs=specs, seeds=seeds, rows=2000)
    order = np.random.default_rng(5).permutation(2000)
    for method, values in accuracy.items():
        for seed, value in enumerate(values):
            (folder,) = (out / "runs").glob(f"{method}-*{seed}")
            tensors = load_file(predictions(folder))
            right = np.argsort(order)[tensors["index"] // 3] < round(2000 * value)
            answer = np.where(right, tensors["labels"], 1 - tensors["labels"])
            save_file(tensors | {"logits": np.eye(2, dtype=np.float32)[answer]}, predictions(folder))
            run = json.loads((folder / "result.json").read_text())
            run["splits"]["test"]["accuracy"] = right.mean()
            (folder / "result.json").write_text(json.dumps(run))
    return out


def test_a_cheap_method_is_chosen_where_it_is_shown_to_be_within_the_margin(tmp_path: Path) -> None:
    near = {"full": [0.85, 0.851, 0.849], "lora": [0.849, 0.85, 0.848], "head": [0.7, 0.701, 0.699]}
    table = collect.collect(some_seeds(tmp_path, FULL, LORA, HEAD, accuracy=near))
    choice = table.recommendation
    assert choice is not None and (choice.variant, choice.best) == ("lora rank=4", "full")
    assert choice.within == ("full", "lora rank=4") and choice.worse == ("head",) and choice.general
    assert "more than 1 point worse is ruled out" in told(table)
    assert "Significantly worse than full: head." in told(table)


def test_not_told_apart_is_no_reason_to_choose_a_cheap_method(tmp_path: Path) -> None:
    far = {"full": [0.87, 0.83, 0.85], "lora": [0.83, 0.85, 0.85]}
    table = collect.collect(some_seeds(tmp_path, FULL, LORA, accuracy=far))
    choice = table.recommendation
    assert choice is not None and choice.variant == choice.best == "full"
    assert choice.worse == () and list(choice.cheaper) == ["lora rank=4"]
    cheaper = "lora rank=4 is cheaper, but is not shown to be within 1 point of full (95 % interval of the difference: "
    assert cheaper in told(table)
    assert "No other method is shown to be worse than full." in told(table)


def test_the_margin_and_the_cost_are_the_study_s(tmp_path: Path) -> None:
    out = some_seeds(tmp_path, FULL, LORA, accuracy={"full": [0.87, 0.86, 0.865], "lora": [0.85, 0.84, 0.845]})
    study = json.loads((out / "study.json").read_text())
    for rule, chosen in (({}, "full"), ({"margin": 5.0}, "lora rank=4"), ({"margin": 5.0, "cost": "time"}, "head")):
        study["study"]["report"] = rule
        (out / "study.json").write_text(json.dumps(study))
        if chosen == "head":  # lora trains longer than full here
            for folder in (out / "runs").glob("lora-*"):
                run = json.loads((folder / "result.json").read_text())
                (folder / "result.json").write_text(json.dumps(run | {"train_seconds": 900.0}))
            chosen = "full"
        choice = collect.collect(out).recommendation
        assert choice is not None and choice.variant == chosen, rule


def test_each_method_enters_with_the_variant_that_validation_picked(tmp_path: Path) -> None:
    """The other variant is better on test: picking it there would be choosing by the test rows."""
    small, large = LORA, Spec("lora", "rank=8", 0.8, 20, 50.0, 1e-3)
    out = write_study(tmp_path, specs=(FULL, small, large), seeds=(0, 1, 2), rows=600)
    for folder in (out / "runs").glob("lora-*"):
        run = json.loads((folder / "result.json").read_text())
        chosen = "rank8" in folder.name
        run["splits"]["validation"]["accuracy"] = 0.9 if chosen else 0.6
        run["splits"]["test"]["accuracy"] = 0.8 if chosen else 0.99
        (folder / "result.json").write_text(json.dumps(run))
    choice = collect.collect(out).recommendation
    assert choice is not None and choice.finalists == ("full", "lora rank=8")
    assert choice.best in choice.finalists and choice.variant in choice.finalists


def test_the_share_of_pairs_won_is_mann_whitney_s_u(tmp_path: Path) -> None:
    accuracy = {"full": [0.85, 0.86, 0.84, 0.85, 0.87], "lora": [0.86, 0.85, 0.83, 0.88, 0.86]}
    table = collect.collect(some_seeds(tmp_path, FULL, LORA, accuracy=accuracy))
    row = next(row for row in table.summary if row.variant == "lora rank=4")
    u = mannwhitneyu(accuracy["lora"], accuracy["full"]).statistic
    assert row.comparison and row.comparison.share_better == pytest.approx(u / 25)
