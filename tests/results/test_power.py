"""The smallest difference that a study detects: against numpy and the noncentral t distribution."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from safetensors.numpy import load_file

from encoderlab.report import selection, study_page
from encoderlab.results import collect, row_groups
from encoderlab.results.power import measured_seed_sd
from encoderlab.results.row_groups import RowGroups
from fixtures_runs import SPECS, write_study

TWO = SPECS[:2]  # full, and lora of rank 4


def right(out: Path, variant: str) -> np.ndarray:
    """Which rows each seed gets right, (seeds, n)."""
    found = []
    for number in json.loads((out / "study.json").read_text())["runs"]:
        run = json.loads((out / "runs" / number / "result.json").read_text())
        if run["variant"] == variant and run["status"] == "done":
            tensors = load_file(out / "runs" / number / "predictions" / "test.safetensors")
            order = np.argsort(tensors["index"])
            found.append((tensors["logits"].argmax(1) == tensors["labels"])[order])
    return np.array(found, dtype=float)


def test_the_smallest_difference_is_found_in_four_of_five_studies(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=TWO, rows=1500)
    table = collect.collect(out)
    found, comparison = table.power, table.summary[-1].comparison
    assert found is not None and comparison is not None and comparison.estimate is not None
    scores = [right(out, spec.variant) for spec in TWO]
    pooled = np.mean([one.mean(axis=1).var(ddof=1) for one in scores])
    gaps = scores[1] - scores[0]
    covariance = np.cov(gaps, ddof=1) / gaps.shape[1]
    row, off = covariance.mean(), covariance[~np.eye(3, dtype=bool)].mean()
    both = max(0.0, np.diag(covariance).mean() - off) / 3
    mean, m = gaps.mean(axis=0), gaps.shape[1] + 2
    row = max(row, ((mean**2).sum() + 1 - mean.sum() ** 2 / m) / m**2)  # Agresti and Min's variance
    se, df = math.sqrt(max(row + 2 * pooled / 3 - both, row, 2 * pooled / 3)), comparison.estimate.df
    missed = scipy.stats.nct.cdf(scipy.stats.t.ppf(0.975, df), df, found.least / se)
    assert missed == pytest.approx(0.2, abs=0.01)
    assert found.seed_sd == pytest.approx(math.sqrt(pooled))
    assert found.row_se == pytest.approx(math.sqrt(row))
    assert (found.rows, found.seeds) == (1500, 3)


def test_the_page_says_it_beside_the_ranking_and_not_with_one_seed(tmp_path: Path) -> None:
    table = collect.collect(write_study(tmp_path / "three", specs=TWO, rows=400))
    assert table.power is not None
    said = selection.power(table)
    assert said.startswith(
        "With 400 test rows and 3 seeds, this study detects a true difference of "
        f"{100 * table.power.least:.2f} points between two methods with 80 % power"
    )
    assert f"standard deviation between seeds {100 * table.power.seed_sd:.2f} points" in said
    assert said in study_page.page(table)
    alone = collect.collect(write_study(tmp_path / "alone", specs=TWO[:1], rows=400))
    single = collect.collect(write_study(tmp_path / "single", specs=TWO, seeds=(0,), rows=400))
    for one in (alone, single):
        assert one.power is None and "80 % power" not in study_page.page(one)


def test_groups_of_rows_count_as_groups(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=TWO, rows=400)
    alone = collect.collect(out).power
    gap = (right(out, "lora rank=4") - right(out, "full")).mean(axis=0)
    numbers = np.empty(400, dtype=np.int64)
    numbers[np.argsort(gap, kind="stable")] = np.repeat(np.arange(20), 20)  # rows of a group are alike
    row_groups.write(out, {"test": RowGroups(by="author", index=3 * np.arange(400), numbers=numbers)})
    table = collect.collect(out)
    assert alone is not None and table.power is not None and table.power.least > 1.5 * alone.least
    assert "With 400 test rows in 20 groups and 3 seeds" in selection.power(table)


def test_the_sd_that_a_study_measured_is_read_from_its_runs(tmp_path: Path) -> None:
    out = write_study(tmp_path / "done", specs=TWO, rows=400, failed=[("full", 2)])
    found = measured_seed_sd(out, "accuracy")
    scores = [right(out, "full"), right(out, "lora rank=4")]
    assert found is not None and (found.runs, found.methods) == (5, 2)
    assert found.value == pytest.approx(math.sqrt(np.mean([one.mean(axis=1).var(ddof=1) for one in scores])))
    assert measured_seed_sd(out, "perplexity") is None
    assert measured_seed_sd(tmp_path / "nowhere", "accuracy") is None
    assert measured_seed_sd(write_study(tmp_path / "single", specs=TWO, seeds=(0,), rows=50), "accuracy") is None
    (out / "study.json").write_text("{")
    assert measured_seed_sd(out, "accuracy") is None
