"""The names of the numbers that `Task.metrics` returns, for model cards and the terminal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ScoreName:
    """One number of a split.

    Attributes:
        key: The name in result.json.
        label: The heading in a model card. None if the card does not show it.
        hub: The hub's name of the metric, for the front matter of a model card. None if the hub has none.
        has_unit: Whether the value has a unit, so that its size is arbitrary; otherwise it is a share or a correlation.
    """

    key: str
    label: str | None = None
    hub: str | None = None
    has_unit: bool = False


SCORE_NAMES = (  # in the order of a model card
    ScoreName(key="accuracy", label="accuracy", hub="accuracy"),
    ScoreName(key="macro_f1", label="macro F1", hub="f1"),
    ScoreName(key="macro_precision", hub="precision"),
    ScoreName(key="macro_recall", hub="recall"),
    ScoreName(key="entity_f1", label="entity F1", hub="f1"),
    ScoreName(key="pearson", label="Pearson's r", hub="pearsonr"),
    ScoreName(key="spearman", label="Spearman's rho", hub="spearmanr"),
    ScoreName(key="mse", label="mean squared error", hub="mse", has_unit=True),
    ScoreName(key="loss", label="loss", has_unit=True),
    ScoreName(key="perplexity", has_unit=True),
)
