"""Pearson's and Spearman's correlation of weighted rows, and the mean squared error, for many weightings at once.

A weight is how often a row is there; a row of weight 0 is not. Where one side does not vary there is no correlation,
and it counts as 0: an answer that is the same for every row explains nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pearson(x: Array, y: Array, weights: Array) -> Array:
    """x, y: (n,) or (m, n); weights: (m, n) -> (m,)."""
    total = weights.sum(axis=1, keepdims=True)
    dx = x - (weights * x).sum(axis=1, keepdims=True) / total
    dy = y - (weights * y).sum(axis=1, keepdims=True) / total
    both, one, other = ((weights * product).sum(axis=1) for product in (dx * dy, dx * dx, dy * dy))
    scale = np.sqrt(one * other)
    flat = scale <= 1e-12 * np.maximum(total[:, 0], np.abs(both))
    return np.where(flat, 0.0, both / np.where(flat, 1.0, scale))


def spearman(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's of the ranks that the weighted rows have; equal values share their mean rank."""
    return pearson(ranks(x, weights), ranks(y, weights), weights)


def ranks(x: Array, weights: Array) -> Array:
    """(n,) and (m, n) -> (m, n): mean ranks, where each row is there as often as its weight says."""
    _, kinds = np.unique(x, return_inverse=True)
    order = np.argsort(kinds, kind="stable")
    starts = np.flatnonzero(np.diff(kinds[order], prepend=-1))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    upto = counts.cumsum(axis=1)
    return (upto - (counts - 1) / 2)[:, kinds]


def squared_error(x: Array, y: Array, weights: Array) -> Array:
    return weights @ (x - y) ** 2 / weights.sum(axis=1)
