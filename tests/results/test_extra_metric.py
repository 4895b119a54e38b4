"""An extra metric that is newer than a study: its columns, and the runs that lack it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from encoderlab.results import collect
from encoderlab.results.columns import SHARE_BETTER, SPREAD, SUMMARY_COLUMNS, result_columns, summary_columns
from encoderlab.results.measures import Measures
from encoderlab.tasks.class_metrics import ACCURACY, MacroF1
from encoderlab.tasks.classification import Classification
from fixtures_runs import SPECS, write_study


def test_a_new_metric_moves_no_column() -> None:
    old = MacroF1(classes=2)
    measures = Measures(task=Classification(), metric=ACCURACY, extra_metrics=(old,))
    more = replace(measures, extra_metrics=(old, replace(old, key="new")))
    (*before, last), (*after, last_too) = (summary_columns(one, ["near", "far"]) for one in (measures, more))
    assert last == last_too == SHARE_BETTER  # the one column that stays behind all others
    accuracy = [f"accuracy_{part}" for part in ("low", "high", "row_share")]
    others = [f"{name}_accuracy{part}" for name in ("near", "far") for part in SPREAD]
    assert before == [*SUMMARY_COLUMNS, *accuracy, *others, "near_macro_f1", "far_macro_f1"]
    assert after == [*before, *(f"new{part}" for part in SPREAD), "near_new", "far_new"]
    assert result_columns(more) == (*result_columns(measures), "new")


@pytest.mark.parametrize("earlier", [None, 0.25])  # 0.25: the value of an earlier definition
def test_a_run_that_lacks_a_metric_gets_it_from_its_predictions(tmp_path: Path, earlier: float | None) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], labels=("a", "b", "c"), rows=300)  # three seeds

    def spread() -> object:
        return next(row for row in collect.collect(out).summary if row.variant == "full").spreads["macro_f1"]

    complete = spread()
    for seed in (0, 1):
        path = out / "runs" / f"full-{seed}" / "result.json"
        run = json.loads(path.read_text())
        del run["splits"]["test"]["macro_f1"]
        if earlier is not None:
            run["splits"]["test"]["macro_f1"] = earlier
        path.write_text(json.dumps(run))
    assert vars(spread()) == pytest.approx(vars(complete))


def test_the_ranking_metric_of_an_older_definition_is_that_of_the_predictions(tmp_path: Path) -> None:
    """A run whose result.json has an earlier definition: its mean, interval and figure have the present one."""
    out = write_study(tmp_path, specs=SPECS[:2], rows=300)

    def shown() -> tuple[object, ...]:
        table = collect.collect(out)
        row = next(row for row in table.summary if row.variant == "full")
        assert row.metric.mean == pytest.approx(sum(table.test_scores["full"]) / 3)
        return row.metric, row.interval, table.test_scores["full"], table.recommendation

    complete, path = shown(), out / "runs" / "full-1" / "result.json"
    run = json.loads(path.read_text())
    run["splits"]["test"]["accuracy"] -= 0.25
    path.write_text(json.dumps(run))
    assert shown() == complete
    recorded = [row for row in (out / "results.csv").read_text().splitlines() if "full-1" in row and ",test," in row]
    assert len(recorded) == 1 and repr(run["splits"]["test"]["accuracy"]) in recorded[0]  # as the run recorded it
