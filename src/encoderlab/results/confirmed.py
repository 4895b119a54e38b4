"""The score of the recommended variant on a set that chose nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from encoderlab.core.variation import SeedVariance
from encoderlab.results import row_groups
from encoderlab.results.comparison import Variant
from encoderlab.results.confirmation import ConfirmationRecord, folder_of
from encoderlab.results.measures import Measures
from encoderlab.results.predictions import read_predictions
from encoderlab.results.recommend import Recommendation
from encoderlab.results.study_record import StudyRecord
from encoderlab.results.summary import summarize_one
from encoderlab.training.run_record import Kind, RunRecord


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The score of the recommended variant on the set that `[report] confirm` names.

    Attributes:
        set: The name of the set.
        variant: The recommended variant. None if no method is recommended.
        seeds: The number of its runs that the set scored; 0 if it has not scored all of them yet.
        rows: The number of rows of the set.
        value: The mean of the metric over the runs. None if `seeds` is 0.
        low, high: The 95 % interval for other seeds and other rows; with one seed, for other rows.
        winners: Every variant that the set has scored so far, the first one first.
    """

    set: str
    variant: str | None
    seeds: int = 0
    rows: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    winners: tuple[str, ...] = ()

    def to_json(self) -> Mapping[str, Any]:
        """Return the block of summary.json."""
        return asdict(self)


def read_confirmed(
    out: Path,
    study: StudyRecord,
    choice: Recommendation | None,
    runs: Sequence[RunRecord],
    measures: Measures,
    seeds: SeedVariance,
) -> Confirmed | None:
    """Read what the confirming set says. None if the study names no such set.

    Args:
        out: The folder of the study.
        study: The record of the study.
        choice: The recommendation.
        runs: The runs of the study.
        measures: The metrics of the study.
        seeds: The variance over seeds of the study's trained variants on `test`: the set scores no other variant.

    Raises:
        InputError: A file of the confirmation is damaged.
    """
    report: Mapping[str, Any] = study.study.get("report") or {}
    name: str | None = report.get("confirm")
    if name is None or name not in study.data:
        return None
    uses = ConfirmationRecord.read(out).of(study.data[name].fingerprint)
    labels = {run.id: run.variant for run in runs}  # a variant may have got another name since
    nothing = Confirmed(
        set=name,
        variant=choice.variant if choice is not None and choice.is_recommended else None,
        winners=tuple(next((labels[run] for run in use.scores if run in labels), use.variant) for use in uses),
    )
    done = winning_runs(choice, runs)
    scores = {run: one for use in uses for run, one in use.scores.items()}
    metrics = tuple(measures.metrics.values())
    groups = row_groups.read(out).get(name)
    found = {run.seed: read_predictions(folder_of(out, run.id).path, name, metrics, groups) for run in done}
    predicted = {seed: answers for seed, answers in found.items() if answers is not None}
    if not done or len(predicted) < len(done) or any(run.id not in scores for run in done):
        return nothing
    row = summarize_one(
        Variant(
            name=done[0].variant,
            method=done[0].method,
            kind=Kind.RUN,
            done=tuple(replace(run, splits={"test": scores[run.id]}) for run in done),
            failed=(),
            test=predicted,
        ),
        measures,
        None,
        seeds,
    )
    return replace(
        nothing,
        seeds=row.seeds,
        rows=row.rows,
        value=row.metric.mean,
        low=None if row.interval is None else row.interval.low,
        high=None if row.interval is None else row.interval.high,
    )


def winning_runs(choice: Recommendation | None, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the finished runs of the recommended variant. Empty if no method is recommended."""
    if choice is None or not choice.is_recommended:
        return []
    return [run for run in runs if run.variant == choice.variant and run.is_done]
