"""Compute scores of held-out predictions from five sums per story, so that no prediction has to be kept.

With p the predictions and y the responses of T TRs of one story, both minus their mean over the story (mp, my):

    r       p.y / sqrt(p.p y.y)                                    per story
    pooled  the same r over the stories end to end:                sum of p.y + T (mp - Mp)(my - My), ...
    R2      1 - sum of |y - p|^2 / sum of |y - My|^2               over the stories end to end, My their mean

A constant response has no r (nan). A constant prediction of a response that varies explains nothing of it: r = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The sums of S stories and V voxels; every array is (S, V) float64, with nan where a story was not scored.

    Attributes:
        predicted: p.p about the mean over the story.
        product: p.y about the means over the story.
        actual: y.y about the mean over the story.
        predicted_mean: the mean of the predictions over the story.
        actual_mean: the mean of the responses over the story.
        lengths: (S,) TRs of each story.
    """

    predicted: NDArray[np.float64]
    product: NDArray[np.float64]
    actual: NDArray[np.float64]
    predicted_mean: NDArray[np.float64]
    actual_mean: NDArray[np.float64]
    lengths: NDArray[np.int64]

    def by_story(self) -> NDArray[np.float64]:
        """Compute r of every story, (S, V)."""
        return _correlation(self.product, self.predicted, self.actual)

    def pooled(self) -> NDArray[np.float64]:
        """Compute r over all held-out predictions end to end, (V,)."""
        weights = self._weights()
        p = self.predicted_mean - _mean(self.predicted_mean, weights)
        y = self.actual_mean - _mean(self.actual_mean, weights)
        return _correlation(
            np.nansum(self.product + weights * p * y, axis=0),
            np.nansum(self.predicted + weights * p * p, axis=0),
            np.nansum(self.actual + weights * y * y, axis=0),
        )

    def r2(self) -> NDArray[np.float64]:
        """Compute the share of the variance of the held-out responses that the predictions explain, (V,)."""
        weights = self._weights()
        y = self.actual_mean - _mean(self.actual_mean, weights)
        gap = self.actual_mean - self.predicted_mean
        residual = np.nansum(self.actual - 2 * self.product + self.predicted + weights * gap * gap, axis=0)
        total = np.nansum(self.actual + weights * y * y, axis=0)
        return np.where(total > 0, 1 - residual / np.where(total > 0, total, 1.0), np.nan)

    def _weights(self) -> NDArray[np.float64]:
        return np.where(np.isnan(self.product), np.nan, self.lengths[:, None].astype(np.float64))


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.nansum(values * weights, axis=0) / np.maximum(np.nansum(weights, axis=0), 1.0)


def _correlation(
    product: NDArray[np.float64], predicted: NDArray[np.float64], actual: NDArray[np.float64]
) -> NDArray[np.float64]:
    scale = np.sqrt(predicted * actual)
    r = np.clip(np.where(scale > 0, product / np.where(scale > 0, scale, 1.0), 0.0), -1.0, 1.0)
    return np.where((actual > 0) & ~np.isnan(product), r, np.nan)  # a nan product marks a story without a score
