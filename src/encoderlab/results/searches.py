"""What the search of each variant tried, and what it chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encoderlab.results.study_record import Candidate, SearchRecord
from encoderlab.tasks.metric import Metric
from encoderlab.training.run_record import Status


@dataclass(frozen=True, kw_only=True)
class TriedSetting:
    """One setting that a search tried.

    Attributes:
        score: The metric on validation. None if the trial has none.
        standard_error: Of the score over the validation rows. None if the metric alone does not tell it.
        settings: The sampled settings of the method. Empty if only the learning rate was searched.
    """

    learning_rate: float
    score: float | None
    standard_error: float | None
    loss: float | None
    status: Status
    settings: Mapping[str, Any]
    is_chosen: bool


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search of one variant.

    Attributes:
        tried: The trials.
        race: The two best of them, trained at full length.
        is_sampled: Whether settings were sampled from ranges; otherwise a grid of learning rates was tried.
        at_edge: Whether the best candidate is the lowest or the highest rate.
        by_chance: Whether no candidate was better than the constant baseline by two standard errors.
        pruned, failed: How many sampled trials did not come to their end.
    """

    variant: str
    tried: tuple[TriedSetting, ...]
    race: tuple[TriedSetting, ...]
    is_sampled: bool
    at_edge: bool
    by_chance: bool
    pruned: int
    failed: int


def searches(records: Sequence[SearchRecord], metric: Metric, rows: int | None) -> tuple[Search, ...]:
    """Return the searches of a study. rows: the number of validation rows, if it is known."""

    def tried(one: Candidate, record: SearchRecord) -> TriedSetting:
        score = one.metrics.get(metric.key)
        return TriedSetting(
            learning_rate=one.learning_rate,
            score=score,
            standard_error=metric.standard_error(score, rows) if score is not None and rows else None,
            loss=one.metrics.get("loss"),
            status=one.status,
            settings=one.settings or {},
            is_chosen=one.learning_rate == record.chosen and one.settings == record.chosen_settings,
        )

    return tuple(
        Search(
            variant=record.variant,
            tried=tuple(tried(one, record) for one in record.candidates),
            race=tuple(tried(one, record) for one in record.race or ()),
            is_sampled=record.is_sampled,
            at_edge=bool(record.edge),
            by_chance=bool(record.chance),
            pruned=record.pruned or 0,
            failed=record.failed or 0,
        )
        for record in records
    )
