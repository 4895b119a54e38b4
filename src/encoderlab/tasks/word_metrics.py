"""Metrics of labelled words: word accuracy, and the F1 of entities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from encoderlab.tasks import entities
from encoderlab.tasks.class_metrics import OfClasses
from encoderlab.tasks.metric import Array, Floats, RatioMetric
from encoderlab.tasks.probability_metrics import TokenLoss, log_softmax


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
class EntityF1(RatioMetric, OfClasses):
    """The F1 of the entities of all rows and types (micro average)."""

    key: str = "entity_f1"
    label: str = "entity F1"
    said: str = "entity F1 {value} % on {rows} test rows"
    unseen: int
    scheme: entities.Scheme

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return twice the right entities, and the predicted plus the gold ones, of each row and type.

        Shape (n, 2 x types), first the former of all types, from logits (n, w, c) and labels (n, w).
        """
        counts = entity_counts(self.scheme, predicted_labels(logits, self.unseen), labels)
        right, ours, theirs = np.moveaxis(counts, 2, 0)
        return np.concatenate([2 * right, ours + theirs], axis=1).astype(np.float64)

    def metric_from_weights(self, rows: Array, weights: Floats) -> Floats:
        of_all_types = rows.reshape(len(rows), 2, -1).sum(axis=2)
        return super().metric_from_weights(of_all_types, weights)

    def by_class(self, rows: Array) -> Iterator[Floats]:
        yield from np.moveaxis(rows.reshape(len(rows), 2, -1), 2, 0)


@final
@dataclass(frozen=True, kw_only=True)
class WordLoss(TokenLoss):
    """The mean loss of the words that the model sees."""

    def row_statistics(self, logits: Array, labels: Array) -> Array:
        """Return the summed loss and the number of words: (n, 2) from logits (n, w, c) and labels (n, w)."""
        seen = (labels >= 0) & np.isfinite(logits[..., 0])
        losses, gold = np.zeros(labels.shape), labels[seen]
        losses[seen] = -log_softmax(logits[seen])[np.arange(len(gold)), gold]
        return np.stack([losses.sum(axis=1), seen.sum(axis=1)], axis=1)


WORD_LOSS = WordLoss()


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
