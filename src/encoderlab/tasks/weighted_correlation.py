"""Pearson's and Spearman's correlation of weighted rows, and the mean squared error, for many weightings at once.

A weight is the number of times that a row occurs. If one side does not vary, the correlation counts as 0, because a
constant prediction explains nothing. Whether a side varies is judged relative to its size, so that a change of unit
(labels of 1e-7, or 1e8 added to each label) changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pearson(x: Array, y: Array, weights: Array) -> Array:
    """Return Pearson's correlation of x and y, (n,) or (m, n), for weights (m, n), as (m,)."""
    (standard_x, constant_x), (standard_y, constant_y) = standard(x, weights), standard(y, weights)
    products = (weights * standard_x * standard_y).sum(axis=1)
    return np.where(np.logical_or(constant_x, constant_y), 0.0, products)


def standard(x: Array, weights: Array) -> tuple[Array, Array]:
    """Standardize values.

    Args:
        x: (n,) or (m, n).
        weights: (m, n).

    Returns:
        (m, n) values with weighted mean 0 and weighted sum of squares 1, and (m,) whether they vary only by rounding.
    """
    size = np.abs(x).max(initial=0.0)
    shifted = np.broadcast_to(x - x.mean(axis=-1, keepdims=True), weights.shape)
    there = np.where(weights > 0, shifted, 0.0)
    largest = np.abs(there).max(axis=1, keepdims=True, initial=0.0)
    scaled = there / np.where(largest > 0, largest, 1.0)
    total = weights.sum(axis=1, keepdims=True)
    centred = scaled - (weights * scaled).sum(axis=1, keepdims=True) / total
    norm = np.sqrt((weights * centred**2).sum(axis=1, keepdims=True))
    # A constant leaves the rounding error of the mean. A difference below the last bit of the values does not count.
    constant = (norm <= 1e-13 * np.sqrt(total)) | (largest <= 2**-52 * size)
    return centred / np.where(constant, 1.0, norm), constant[:, 0]


def spearman(x: Array, y: Array, weights: Array) -> Array:
    """Return Spearman's correlation of x and y, (n,) or (m, n), for weights (m, n), as (m,)."""
    return pearson(ranks(x, weights), ranks(y, weights), weights)


def ranks(x: Array, weights: Array) -> Array:
    """Return the ranks of weighted rows, (n,) and (m, n) -> (m, n). Equal values share their mean rank."""
    _, values = np.unique(x, return_inverse=True)  # each row's number among the distinct values, ascending
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    upto = counts.cumsum(axis=1)
    return (upto - (counts - 1) / 2)[:, values]


def squared_error(x: Array, y: Array, weights: Array) -> Array:
    """Return the mean squared error of x and y, (n,), for weights (m, n), as (m,)."""
    return weights @ (x - y) ** 2 / weights.sum(axis=1)
