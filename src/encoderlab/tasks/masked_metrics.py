"""Metrics of masked tokens: their accuracy and their loss, over the tokens of all windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from encoderlab.tasks.metric import RatioMetric
from encoderlab.tasks.probability_metrics import TokenLoss


@final
@dataclass(frozen=True, kw_only=True)
class MaskedAccuracy(RatioMetric):
    """The share of the masked tokens of all windows that are right. It is not the mean of the windows' shares."""

    key: str = "accuracy"
    label: str = "accuracy"
    said: str = "{value} % of the masked tokens of {rows} test windows correct"
    best: str = "the most accurate"

    def row_statistics(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the right and all masked tokens of each window, (n, 2), from `masked_scores` (n, 3)."""
        return logits[:, [2, 1]].astype(np.float64)


MASKED_ACCURACY = MaskedAccuracy()


@final
@dataclass(frozen=True, kw_only=True)
class MaskedLoss(TokenLoss):
    """The mean loss of the masked tokens of all windows."""

    said: str = "{value} on {rows} test windows"

    def row_statistics(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the summed loss and the masked tokens of each window, (n, 2), from `masked_scores` (n, 3)."""
        return logits[:, :2].astype(np.float64)


MASKED_LOSS = MaskedLoss()
