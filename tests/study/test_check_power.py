"""What `check` says of the smallest detectable difference, before and after a study has run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from encoderlab.core.variation import smallest_visible
from encoderlab.study import check, compare
from fixtures_study import Write, write_study  # noqa: F401  (a fixture)

TWO = '[[method]]\nname = "full"\n[[method]]\nname = "head"\n'


@pytest.fixture
def study(write_study: Write) -> Path:  # noqa: F811
    return write_study("power", TWO, epochs=1, search="candidates = 1")


def test_the_sd_over_seeds_is_assumed_until_runs_measured_it(study: Path) -> None:
    before = check.check(study, ["report.seed_sd=2"]).visible
    assert before is not None and f"is {100 * smallest_visible(40, 2, 0.02):.1f} points" in before
    assert "standard deviation between seeds 2 points, assumed: report.seed_sd" in before

    compare.compare(study)
    runs = pd.read_csv(study.parent / "out" / "results.csv")
    runs = runs[runs["split"] == "test"]
    scores = [runs.loc[runs["variant"] == name, "accuracy"].to_numpy(dtype=float) for name in ("full", "head")]
    sd = math.sqrt(float(np.mean([one.var(ddof=1) for one in scores])))
    after = check.check(study, ["report.seed_sd=2"]).visible
    assert after is not None and f"is {100 * smallest_visible(40, 2, sd):.1f} points" in after
    where = study.parent / "out"
    assert f"seeds {100 * sd:.3g} points, measured by 4 runs of 2 methods in {where}" in after
    elsewhere = check.check(study, ["out=elsewhere"]).visible
    assert elsewhere is not None and "seeds 1 points, assumed" in elsewhere


def test_one_seed_and_another_metric_are_told_and_one_method_compares_nothing(study: Path) -> None:
    single = check.check(study, ["seeds=[0]"]).visible
    assert single is not None and single.startswith("with one seed per method, no difference")
    for name in ("train.csv", "test.csv"):
        rows = pd.read_csv(study.parent / name)
        rows["label"] = rows["text"].str.len() / 10
        rows.to_csv(study.parent / name, index=False)
    visible = check.check(study, ["task.kind=regression"]).visible
    assert visible is not None and "\n" not in visible
    assert visible.startswith("smallest detectable difference: unknown before training, because the metric, ")
    assert visible.endswith("is not a share of rows; the report shows it")
    study.write_text(study.read_text().replace('[[method]]\nname = "full"\n', ""))
    assert check.check(study, ["task.kind=regression"]).visible is None
