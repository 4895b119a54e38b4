"""Run folders -> tables, on study folders with known predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.metrics import f1_score

from encoderlab.core import statistics
from encoderlab.core.errors import InputError
from encoderlab.core.variation import SeedVariance
from encoderlab.results import collect
from encoderlab.tasks.class_metrics import f1_of_class
from fixtures_runs import SPECS, Spec, write_study

DESIGN = (
    "method variant seed split rows loss accuracy macro_f1 macro_precision macro_recall perplexity adapter_parameters "
    "head_parameters total_parameters train_seconds epochs peak_memory_mb inference_ms_per_example adapter_bytes run "
    "balanced_accuracy brier ece"
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("study"), rows=600, failed=[("lora rank=8", 2)])
    collect.collect(folder)
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_variant(folder: Path) -> dict[str, dict[str, str]]:
    return {row["variant"]: row for row in read(folder / "summary.csv")}


def test_results_csv_has_the_columns_of_the_design_and_every_bit_of_the_runs(out: Path) -> None:
    rows = read(out / "results.csv")
    assert list(rows[0]) == DESIGN.split()
    assert len(rows) == 2 * (1 + 3 + 3 * len(SPECS))
    for row in rows:
        run = json.loads((out / "runs" / row["run"] / "result.json").read_text())
        if run["status"] == "done":
            assert float(row["macro_f1"]) == run["splits"][row["split"]]["macro_f1"]
            assert row["train_seconds"] == repr(run["train_seconds"])
        assert row["seed"] == ("" if run["seed"] is None else str(run["seed"]))


def test_a_failed_run_is_counted_and_enters_no_mean(out: Path) -> None:
    rows = [r for r in read(out / "results.csv") if r["variant"] == "lora rank=8" and r["seed"] == "2"]
    assert [r["split"] for r in rows] == ["validation", "test"]
    assert {r["accuracy"] for r in rows} == {""}
    summary = by_variant(out)["lora rank=8"]
    assert (summary["seeds"], summary["failed"]) == ("2", "1")
    failed = json.loads((out / "summary.json").read_text())["failed"]
    assert [(f["variant"], f["seed"]) for f in failed] == [("lora rank=8", 2)]
    assert "not finite" in failed[0]["reason"]


def test_summary_is_what_the_statistics_say_about_the_predictions(out: Path) -> None:
    row = by_variant(out)["prefix length=16"]
    right, reference = [], []
    for seed in range(3):
        for name, kept in ((f"prefix-length16-{seed}", right), (f"full-{seed}", reference)):
            tensors = load_file(out / "runs" / name / "predictions" / "test.safetensors")
            correct = tensors["logits"].argmax(axis=1) == tensors["labels"]
            kept.append(correct[np.argsort(tensors["index"])])
    spread = statistics.seed_spread([x.mean() for x in right])
    assert float(row["accuracy"]) == pytest.approx(spread.mean)
    assert float(row["accuracy_seeds_low"]) == pytest.approx(spread.low)
    assert float(row["difference"]) == pytest.approx(np.mean(right) - np.mean(reference))
    low, difference, high = (float(row[f"difference{end}"]) for end in ("_low", "", "_high"))
    assert (low + high) / 2 == pytest.approx(difference) and 0 < float(row["p"]) <= float(row["holm_p"]) <= 1
    assert (float(row["p"]) < 0.05) == (low > 0 or high < 0)  # one standard error gives both
    assert 0 < float(row["accuracy_row_share"]) < 1
    assert float(row["accuracy_low"]) < spread.mean < float(row["accuracy_high"])
    assert float(row["accuracy_rows_low"]) < spread.mean < float(row["accuracy_rows_high"])
    for key in ("macro_f1", "balanced_accuracy"):
        assert float(row[f"{key}_rows_low"]) < float(row[key]) < float(row[f"{key}_rows_high"])


def test_baselines_are_compared_but_outside_the_family(out: Path) -> None:
    rows = by_variant(out)
    assert rows["majority"]["seeds"] == "1" and rows["untrained"]["seeds"] == "3"
    for name in ("majority", "untrained"):
        assert float(rows[name]["difference"]) < -0.2 and rows[name]["holm_p"] == ""
    assert rows["full"]["difference"] == ""


def test_rows_are_matched_by_index_not_by_position(tmp_path: Path) -> None:
    spec = Spec("full", "", 0.8, 1000, 60.0, 1e-4)
    twin = Spec("lora", "rank=1", 0.8, 10, 50.0, 1e-3)
    out = write_study(tmp_path, specs=(spec, twin), seeds=(0,), rows=300)
    path = out / "runs" / "lora-rank1-0" / "predictions" / "test.safetensors"
    tensors = load_file(out / "runs" / "full-0" / "predictions" / "test.safetensors")
    keep = np.random.default_rng(0).permutation(300)[:200]  # another order, and some rows only
    save_file({name: np.ascontiguousarray(tensor[keep]) for name, tensor in tensors.items()}, path)
    change = next(r for r in collect.collect(out).summary if r.variant == "lora rank=1").comparison
    assert change and (change.difference, change.p) == (0.0, 1.0)


def test_one_seed_has_no_spread_over_seeds(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], seeds=(0,), rows=200)
    row = collect.collect(out).summary[-1]
    assert row.metric.mean is not None and row.metric.rows_low is not None
    assert (row.metric.sd, row.metric.seeds_low) == (None, None)
    assert "NaN" not in (out / "summary.json").read_text()


def test_a_variant_with_one_finished_run_among_several_is_told(tmp_path: Path) -> None:
    lost = [("lora rank=4", 0), ("lora rank=4", 2)]
    caveats = collect.collect(write_study(tmp_path, specs=SPECS[:2], rows=200, failed=lost)).caveats
    one = "Only one run of lora rank=4 has finished: its interval covers other test rows, but no other seeds."
    assert caveats[0] == one and not any(line.startswith("Every method") for line in caveats)


def test_trials_stay_out_and_unfinished_runs_are_named(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], seeds=(0,), rows=200)
    result = out / "runs" / "full-0" / "result.json"
    trial = json.loads(result.read_text()) | {"id": "trial-1", "kind": "trial"}
    (out / "runs" / "trial-1").mkdir()
    (out / "runs" / "trial-1" / "result.json").write_text(json.dumps(trial))
    study = json.loads((out / "study.json").read_text())
    study["runs"] += ["trial-1", "not-yet"]
    (out / "study.json").write_text(json.dumps(study))
    table = collect.collect(out)
    assert table.missing == ("not-yet",)
    assert "trial-1" not in (out / "results.csv").read_text()


def test_every_run_failed_still_gives_the_tables(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:1], seeds=(0, 1), rows=200, failed=[("full", 0), ("full", 1)])
    table = collect.collect(out)
    assert table.recommendation is None
    row = by_variant(out)["full"]
    assert (row["seeds"], row["failed"], row["accuracy"]) == ("0", "2", "")


def test_the_same_folder_gives_the_same_files(out: Path) -> None:
    names = ("results.csv", "summary.csv", "summary.json")
    before = [(out / name).read_bytes() for name in names]
    collect.collect(out)
    assert [(out / name).read_bytes() for name in names] == before
    assert not [p.name for p in out.iterdir() if p.name.startswith(".")]


def test_the_cheapest_equal_is_recommended_and_a_worse_one_is_not(tmp_path: Path) -> None:
    table = collect.collect(write_study(tmp_path, rows=1500))
    choice = table.recommendation
    assert choice is not None
    assert choice.best == "full" and choice.variant.startswith("lora")
    assert {"head", "prefix length=16"} <= set(choice.worse)
    assert choice.beats_majority is True
    assert (choice.difference_low or 0) <= 0 <= (choice.difference_high or 0)


def test_damaged_files_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="study.json: no such file"):
        collect.collect(tmp_path)
    out = write_study(tmp_path, specs=SPECS[:1], seeds=(0,), rows=100)
    (out / "runs" / "full-0" / "predictions" / "test.safetensors").write_bytes(b"12345678")
    with pytest.raises(InputError, match=r"full-0/predictions/test.safetensors: not readable"):
        collect.collect(out)
    (out / "runs" / "full-0" / "result.json").write_text('{"id": ')
    with pytest.raises(InputError, match=r"full-0/result.json: not readable as JSON"):
        collect.collect(out)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_labels_are_the_study_s_not_those_of_an_older_result(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], seeds=(0,), rows=200)
    change(out / "study.json", labels={"lora-rank4-0": {"method": "lora", "variant": "lora rank=4 alpha=8"}})
    table = collect.collect(out)
    assert [row.variant for row in table.summary] == ["majority", "untrained", "full", "lora rank=4 alpha=8"]
    assert read(out / "results.csv")[-1]["variant"] == "lora rank=4 alpha=8"


def test_a_reference_that_is_no_variant_is_told(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], seeds=(0,), rows=200)
    change(out / "study.json", reference="full rank=1")
    seeds, caveat = collect.collect(out).caveats
    assert seeds.startswith("Every method was trained with one seed")
    assert "Nothing is compared with the reference, full rank=1" in caveat and "lora rank=4" in caveat
    assert json.loads((out / "summary.json").read_text())["caveats"] == [seeds, caveat]


def test_runs_of_other_versions_and_machines_are_told(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], seeds=(0, 1), rows=200)
    here = {"versions": {"torch": "2.13.0", "numpy": "2"}, "hardware": {"cpu": "A", "threads": 2, "gpus": ["H100"]}}
    for run in json.loads((out / "study.json").read_text())["runs"]:
        change(out / "runs" / run / "result.json", **here)
    assert collect.collect(out).caveats == ()
    older = {"versions": {"torch": "2.9.0", "numpy": "2"}, "hardware": {"cpu": "A", "threads": 2, "gpus": []}}
    change(out / "runs" / "full-1" / "result.json", **older)
    assert list(collect.collect(out).caveats) == [
        "The runs differ in versions, so their times are not comparable: torch 2.13.0 (6 runs), 2.9.0 (1 run).",
        "The runs differ in hardware, so their times are not comparable: gpus H100 (6 runs), none (1 run).",
    ]


def test_the_interval_over_seeds_stays_a_share(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=[Spec("full", "", 0.97, 10, 1.0, 1e-4)], seeds=(0, 1), rows=200)
    path = out / "runs" / "full-0" / "predictions" / "test.safetensors"
    tensors = load_file(path)
    right = np.flatnonzero(tensors["logits"].argmax(1) == tensors["labels"])[:180]
    wrong = np.setdiff1d(np.arange(200), right)
    tensors["logits"][wrong] = np.eye(2, dtype=np.float32)[1 - tensors["labels"][wrong]]
    save_file(tensors, path)  # an accuracy of .9
    row = collect.collect(out).summary[-1]
    assert row.metric.seeds_low is not None and row.metric.seeds_low < 0.9 and row.metric.seeds_high == 1.0


def test_the_f1_of_each_class_has_an_interval(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], labels=("a", "b", "c"), rows=300)
    collect.collect(out)
    classes = json.loads((out / "summary.json").read_text())["classes"]
    assert list(classes) == ["full", "lora rank=4"]
    runs = [load_file(out / "runs" / f"lora-rank4-{seed}" / "predictions" / "test.safetensors") for seed in range(3)]
    for k, one in enumerate(classes["lora rank=4"]):
        assert (one["label"], one["support"]) == (
            "abc"[k],
            int((runs[0]["labels"] == k).sum()),
        )  # rows, not rows x seeds
        f1 = [f1_score(run["labels"], run["logits"].argmax(1), labels=[k], average="macro") for run in runs]
        assert one["f1"] == pytest.approx(np.mean(f1)) and 0 < one["f1_low"] < one["f1"] < one["f1_high"] < 1
    for seed in range(3):
        (out / "runs" / f"full-{seed}" / "predictions" / "test.safetensors").unlink()
    first = collect.collect(out).confusions["full"].classes[0]
    assert first.f1 > 0.5 and first.f1_low is None and first.f1_high is None


def test_the_f1_of_a_class_with_two_seeds_has_the_variance_of_the_study(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:3], seeds=(0, 1), labels=("a", "b", "c"), rows=300)
    labels, predicted = {}, {}
    for spec in SPECS[:3]:
        for seed in (0, 1):
            name = f"{spec.variant.replace(' ', '-').replace('=', '')}-{seed}"
            run = load_file(out / "runs" / name / "predictions" / "test.safetensors")
            order = np.argsort(run["index"])
            labels[spec.variant], guess = run["labels"][order], run["logits"][order].argmax(1)
            predicted.setdefault(spec.variant, []).append(guess)
    confusions = collect.collect(out).confusions
    for k in range(3):
        of_class = {"labels": [k], "average": "macro"}
        f1 = {name: [f1_score(labels[name], one, **of_class) for one in runs] for name, runs in predicted.items()}
        pooled = SeedVariance(pooled=float(np.mean([np.var(one, ddof=1) for one in f1.values()])), df=3)
        for name, runs in predicted.items():
            right = [
                np.stack([2.0 * ((labels[name] == k) & (p == k)), 1.0 * (labels[name] == k) + (p == k)], 1)
                for p in runs
            ]
            expected, found = f1_of_class(np.array(right), seeds=pooled), confusions[name].classes[k]
            assert (found.f1_low, found.f1_high) == pytest.approx((expected.low, expected.high))
            assert expected.seed == pytest.approx(max(np.var(f1[name], ddof=1), pooled.pooled) / 2)
