"""Pearson's and Spearman's correlation of weighted rows, and the mean squared error, for many weightings at once.

A weight is how often a row is there; a row of weight 0 is not. Where one side does not vary there is no correlation,
and it counts as 0: an answer that is the same for every row explains nothing. What varies is judged by the side's own
size, so that a change of unit (labels of 1e-7, or 1e8 added to each) changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pearson(x: Array, y: Array, weights: Array) -> Array:
    """x, y: (n,) or (m, n); weights: (m, n) -> (m,)."""
    (one, flat), (other, level) = standard(x, weights), standard(y, weights)
    both = (weights * one * other).sum(axis=1)
    return np.where(np.logical_or(flat, level), 0.0, both)


def standard(x: Array, weights: Array) -> tuple[Array, Array]:
    """(m, n) values with mean 0 and squares that sum to 1, and (m,) whether they do not vary beyond rounding."""
    size = np.abs(x).max(initial=0.0)
    shifted = np.broadcast_to(x - x.mean(axis=-1, keepdims=True), weights.shape)
    there = np.where(weights > 0, shifted, 0.0)
    largest = np.abs(there).max(axis=1, keepdims=True, initial=0.0)
    scaled = there / np.where(largest > 0, largest, 1.0)
    total = weights.sum(axis=1, keepdims=True)
    centred = scaled - (weights * scaled).sum(axis=1, keepdims=True) / total
    norm = np.sqrt((weights * centred**2).sum(axis=1, keepdims=True))
    # A constant leaves what the mean was rounded by; a difference below the last bit of the values is none.
    flat = (norm <= 1e-13 * np.sqrt(total)) | (largest <= 2**-52 * size)
    return centred / np.where(flat, 1.0, norm), flat[:, 0]


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
