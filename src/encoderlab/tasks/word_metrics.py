"""Metrics of labelled words: word accuracy, and the F1 of entities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from encoderlab.tasks import entities
from encoderlab.tasks.metric import Array, RatioMetric


@final
@dataclass(frozen=True, kw_only=True)
class WordAccuracy(RatioMetric):
    """The share of words whose label is right. unseen: the answer for a word that the model does not see, or -1."""

    key: str = "accuracy"
    label: str = "word accuracy"
    said: str = "{value} % of the words of {rows} test rows correct"
    unseen: int

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the right words and the words of each row: (n, 2) from logits (n, w, c) and labels (n, w)."""
        predicted, there = predicted_labels(logits, self.unseen), labels >= 0
        return np.stack([((predicted == labels) & there).sum(axis=1), there.sum(axis=1)], axis=1).astype(np.float64)


@final
@dataclass(frozen=True, kw_only=True)
class EntityF1(RatioMetric):
    """The F1 of the entities of all rows and types (micro average)."""

    key: str = "entity_f1"
    label: str = "entity F1"
    said: str = "entity F1 {value} % on {rows} test rows"
    unseen: int
    scheme: entities.Scheme

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return twice the right entities, and the predicted plus the gold ones, of each row.

        Shape (n, 2), from logits (n, w, c) and labels (n, w).
        """
        counts = entity_counts(self.scheme, predicted_labels(logits, self.unseen), labels)
        right, ours, theirs = counts.sum(axis=1).T
        return np.stack([2 * right, ours + theirs], axis=1).astype(np.float64)


def predicted_labels(logits: Array, unseen: int) -> Array:
    """Return the label numbers (n, w) of logits (n, w, c); `unseen` for a word without finite logits."""
    return np.where(np.isfinite(logits[..., 0]), logits.argmax(axis=-1), unseen)


def entity_counts(scheme: entities.Scheme, predicted: Array, labels: Array) -> Array:
    """Count the entities of each row and type that are right, predicted, and gold: (n, types, 3).

    Words without a label (-1) are removed from both sides, so that their neighbours become adjacent. The common recipes
    of other libraries, which leave out -100, do the same.
    """
    ours, theirs = [], []
    for row, gold in zip(predicted, labels, strict=True):
        there = gold >= 0
        ours.append(row[: len(gold)][there].tolist())
        theirs.append(gold[there].tolist())
    return entities.counts(scheme, ours, theirs)
