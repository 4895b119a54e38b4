"""The collected results of a study: everything that a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from encoderlab.core.report_settings import Report
from encoderlab.results.confirmed import Confirmed
from encoderlab.results.confusion import Confusion
from encoderlab.results.curves import Curve
from encoderlab.results.measures import Measures
from encoderlab.results.power import Power
from encoderlab.results.recommend import Recommendation
from encoderlab.results.row_groups import RowGroups
from encoderlab.results.searches import Search
from encoderlab.results.study_record import StudyRecord
from encoderlab.results.summary import VariantSummary
from encoderlab.results.sweeps import Sweep
from encoderlab.tasks.base import Task
from encoderlab.tasks.metric import Metric
from encoderlab.training.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Table:
    """The results of a study.

    Attributes:
        out: The folder of the study.
        study: The record of the study.
        runs: The runs, trials excluded, in the study's order.
        missing: The ids of runs without a record.
        measures: The metric that variants are compared by, and what is shown beside it.
        others: The names of further test sets on which every variant is scored.
        summary: One row per variant, in the study's order.
        recommendation: Which variant to use. None if no run was trained to its end.
        confirmed: What a set that chose nothing says of the recommended variant. None without such a set.
        power: The smallest difference of two methods that the study detects. None with one seed or one method.
        rule: What the recommendation weighs.
        caveats: What a reader must know before comparing, one sentence each.
        warnings: The warnings of the study and of its runs.
        groups: Which test rows belong together. None: they are independent.
        test_scores: {variant: the metric of each finished run on test}.
        levels: {baseline or frozen encoder: mean metric on validation}.
        curves: {trained variant: its learning curve}.
        confusions: {trained variant: its per-class scores}.
        sweeps: The settings that the study varies.
        searches: How the settings of each variant were chosen.
    """

    out: Path
    study: StudyRecord
    runs: tuple[RunRecord, ...]
    missing: tuple[str, ...]
    measures: Measures
    others: tuple[str, ...]
    summary: tuple[VariantSummary, ...]
    recommendation: Recommendation | None
    confirmed: Confirmed | None
    power: Power | None
    rule: Report
    caveats: tuple[str, ...]
    warnings: tuple[str, ...]
    groups: RowGroups | None
    test_scores: Mapping[str, tuple[float, ...]]
    levels: Mapping[str, float]
    curves: Mapping[str, Curve]
    confusions: Mapping[str, Confusion]
    sweeps: tuple[Sweep, ...]
    searches: tuple[Search, ...]

    @property
    def task(self) -> Task:
        """The task of the study."""
        return self.measures.task

    @property
    def metric(self) -> Metric:
        """The metric that variants are compared by."""
        return self.measures.metric

    @property
    def ranked(self) -> list[VariantSummary]:
        """The summary, best first. Variants without a value come last."""

        def rank(row: VariantSummary) -> tuple[bool, float]:
            return row.metric.mean is None, -self.metric.sign * (row.metric.mean or 0.0)

        return sorted(self.summary, key=rank)

    @property
    def failed(self) -> list[RunRecord]:
        """The runs that did not come to their end."""
        return [run for run in self.runs if not run.is_done]
