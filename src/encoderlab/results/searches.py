"""What the search of each variant tried, and what it chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoderlab.results.study_record import Candidate, SearchRecord
from encoderlab.tasks.metric import Metric
from encoderlab.training.run_record import Status


@dataclass(frozen=True, kw_only=True)
class TriedSetting:
    """One setting that a search tried.

    Attributes:
        trials: How many trials there are of it, one for each seed of the search.
        score: The metric on validation, the mean over the trials. None if a trial has none.
        sd: The standard deviation of the score over the trials. None with one trial.
        standard_error: Of the score over the validation rows. None with several trials, or if the metric alone does not
            tell it.
        settings: The sampled settings of the method. Empty if only the learning rate was searched.
    """

    learning_rate: float
    trials: int
    score: float | None
    sd: float | None
    standard_error: float | None
    loss: float | None
    status: Status
    settings: Mapping[str, Any]
    is_chosen: bool

    @property
    def noise(self) -> float | None:
        """The spread of the score: over the trials, or over the validation rows if there is one trial."""
        return self.standard_error if self.sd is None else self.sd


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search of one variant.

    Attributes:
        tried: The candidates.
        race: The two best of them, trained at full length.
        is_sampled: Whether settings were sampled from ranges; otherwise a grid of learning rates was tried.
        seconds: The training steps of the trials, and of the race without the runs that the study keeps. None if there
            was no search, or if a run's folder is missing.
        at_edge: Whether the best candidate is the lowest or the highest rate.
        by_chance: Whether no candidate was better than the constant baseline by two standard errors.
        pruned, failed: How many sampled trials did not come to their end.
    """

    variant: str
    tried: tuple[TriedSetting, ...]
    race: tuple[TriedSetting, ...]
    is_sampled: bool
    seconds: float | None
    at_edge: bool
    by_chance: bool
    pruned: int
    failed: int


def runs_of(record: SearchRecord) -> tuple[str, ...]:
    """Return the ids of the runs that a search cost: its trials, and the race without the winner's runs."""
    beaten = [one for one in record.race or () if one.learning_rate != record.chosen]
    found = (trial.run for one in (*record.candidates, *beaten) for trial in one.trials)
    return tuple(run for run in found if run is not None)


def searches(
    records: Sequence[SearchRecord], metric: Metric, rows: int | None, seconds: Mapping[str, float]
) -> tuple[Search, ...]:
    """Return the searches of a study.

    Args:
        records: What study.json says of them.
        metric: The metric of the study.
        rows: The number of validation rows, if it is known.
        seconds: {id: seconds of training} of the runs whose folder is there.
    """

    def tried(one: Candidate, record: SearchRecord) -> TriedSetting:
        score, several = one.metrics.get(metric.key), len(one.trials) > 1
        scores = [trial.scores[metric.key] for trial in one.trials if metric.key in trial.scores]
        return TriedSetting(
            learning_rate=one.learning_rate,
            trials=len(one.trials),
            score=score,
            sd=float(np.std(scores, ddof=1)) if several and score is not None else None,
            standard_error=metric.standard_error(score, rows) if score is not None and rows and not several else None,
            loss=one.metrics.get("loss"),
            status=one.status,
            settings=one.settings or {},
            is_chosen=one.learning_rate == record.chosen and one.settings == record.chosen_settings,
        )

    def spent(record: SearchRecord) -> float | None:
        found = [seconds.get(run) for run in runs_of(record)]
        known = [one for one in found if one is not None]
        return sum(known) if found and len(known) == len(found) else None

    return tuple(
        Search(
            variant=record.variant,
            tried=tuple(tried(one, record) for one in record.candidates),
            race=tuple(tried(one, record) for one in record.race or ()),
            is_sampled=record.is_sampled,
            seconds=spent(record),
            at_edge=bool(record.edge),
            by_chance=bool(record.chance),
            pruned=record.pruned or 0,
            failed=record.failed or 0,
        )
        for record in records
    )
