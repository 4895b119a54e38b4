"""A label for every word of a text: named entities, parts of speech.

    loss of a row = mean over its words of -log softmax(logits at the word's first subword)[label]

The head sees the first subword of each word, and no other token. Words that `max_length` cuts off, or that the
tokenizer makes nothing of, are not seen: their answer is O, which misses an entity, or no label at all.

Entities are scored by their F1 where the labels mark entities (`entities`), else words by their accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

import numpy as np

from encoderlab.core.errors import InputError, Problem
from encoderlab.core.types import Doc
from encoderlab.data.rows import Rows
from encoderlab.data.source import place
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import Encoded
from encoderlab.tasks import entities, word_rows
from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import log_softmax, meant
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.tokenization import tokenise

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


MOST_WORDS = 10_000  # of a row: far more than any model has positions, and every row takes the space of the longest
ENTITY_F1 = Metric(key="entity_f1", label="entity F1", said="entity F1 {value} % on {rows} test rows")
WORD_ACCURACY = Metric(
    key="accuracy", label="word accuracy", said="{value} % of the words of {rows} test rows right", best="the best"
)


@final
@dataclass(frozen=True, kw_only=True)
class TokenClassification(Task):
    """Predict a label for every word."""

    kind: Literal["token-classification"] = "token-classification"
    words: Annotated[
        str | None,
        Doc("a column of lists of words, or of texts that are split at white space; default: tokens or words"),
    ] = None
    labels: Annotated[
        str | None, Doc("a column of lists with one label per word; default: ner_tags, tags or labels")
    ] = None

    head: ClassVar[str] = "AutoModelForTokenClassification"
    has_classes: ClassVar[bool] = False
    always: ClassVar[str] = "always giving the commonest label"
    further: ClassVar[tuple[str, ...]] = ("entity_precision", "entity_recall")

    @property
    def text_columns(self) -> tuple[str, ...]:
        return ("words",)

    @property
    def label_column(self) -> str:
        return "labels"

    def problems(self) -> list[Problem]:
        if self.words is not None and self.words == self.labels:
            message = f"column {self.words!r} is that of the labels as well; expected the one with the words"
            return [Problem("words", message)]
        return []

    def prepare(self, rows: Rows, *, labelled: bool) -> Rows:
        """Columns `words` and `labels`: lists of strings, of the same length in a row."""
        return word_rows.prepare(rows, self.words, self.labels, labelled=labelled)

    def filler(self, texts: Sequence[str]) -> Rows:
        return Rows({"words": [text.split() or ["a"] for text in texts]}, "random words", np.arange(len(texts)))

    def class_names(self, splits: Splits) -> list[str]:
        """O first, then the other labels of all splits in their order: one that train lacks is never the answer.
        InputError for a single label, and for one that does not fit the entities that the others mark."""
        names = sorted(
            {name for _, rows in splits.items() for row in rows.columns["labels"] for name in row if name is not None}
        )
        if len(names) < 2:
            column = "; name the right column: columns = [word, label], e.g. [1, 2], in the source of a .conll file"
            column += ", else `labels` in [task]"
            raise InputError(f"data.train: all words have the label {names[0]!r}; expected at least two labels{column}")
        if (strange := entities.other_sign(names)) is not None:
            raise InputError(
                f"{_first_with(strange, splits)} would be a type of its own, apart from its B and I; write B- and I- "
                "in front of the type, as in B-PER"
            )
        if odd := entities.odd(names):
            usual = next(name for name in names if name not in odd and name != entities.OUTSIDE)
            rule = f"marks no entity as the others do: expected O, or a label like {usual!r}; correct it"
            more = f"; the same of {len(odd) - 3} more labels, such as {odd[3]!r}" if odd[3:] else ""
            problems = [f"{_first_with(name, splits)} {rule}" for name in odd[:3]]
            raise InputError(*problems[:-1], problems[-1] + more)
        return sorted(names, key=lambda name: name != entities.OUTSIDE)

    def encode(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> Encoded:
        """labels: int64 (n, w), w being the words of the longest row; -1 behind a row's last word, at words without a
        label, and everywhere where the rows came without labels. InputError for a label that is not in
        `class_names`."""
        number: dict[str | None, int] = {name: i for i, name in enumerate(class_names)} | {None: -1}
        sizes = [len(words) for words in rows.columns["words"]]
        if max(sizes) > MOST_WORDS:
            row = rows.index[sizes.index(max(sizes))] + 1
            raise InputError(
                f"{rows.origin}: row {row}: {max(sizes):,} words; expected at most {MOST_WORDS:,}: make a row of each "
                "sentence or paragraph"
            )
        labels = np.full((len(rows), max(sizes)), -1, dtype=np.int64)
        given: Sequence[list[str | None]] = rows.columns.get("labels", [])
        for row, names in enumerate(given):
            if unknown := set(names) - number.keys():
                first = min(filter(None, unknown))
                raise InputError(
                    f"{rows.origin}: row {rows.index[row] + 1}: label {first!r} is unknown to the model, which "
                    f"has {', '.join(map(repr, class_names))}; correct or remove the row{meant(first, class_names)}"
                )
            labels[row, : len(names)] = [number[name] for name in names]
        return tokenise(rows, ("words",), labels, tokenizer, max_length, cache, words=True)

    def warnings(self, encoded: Encoded) -> list[str]:
        assert encoded.places is not None
        there = encoded.labels >= 0
        unseen = there & (encoded.places < 0)
        if not unseen.any():
            return []
        return [
            f"{unseen.sum():,} of {there.sum():,} words, in {unseen.any(axis=1).sum():,} rows, are not seen by the "
            "model (cut off by train.max_length, or without a token); they are answered with O, or count as wrong"
        ]

    def metric(self, class_names: Sequence[str]) -> Metric:
        return WORD_ACCURACY if entities.scheme(class_names) is None else ENTITY_F1

    def compared_by(self, class_names: Sequence[str]) -> str:
        rule, label = entities.scheme(class_names), self.metric(class_names).label
        if rule is None:
            return f"{label} (the labels mark no entities)"
        more = f" and {len(rule.types) - 8} more" if len(rule.types) > 8 else ""
        how = f", {rule.scorer}" if rule.scorer else ""
        return f"{label} ({rule.name} labels of {', '.join(rule.types[:8])}{more}){how}"

    def value(self, metrics: Mapping[str, Any]) -> float:
        f1 = metrics.get("entity_f1")
        return metrics["accuracy"] if f1 is None else f1

    def evidence(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
        """(n, 2): twice the entities found right, and those predicted and in the gold labels together; or the words
        labelled right, and all words. The metric is the sum of the one by the sum of the other."""
        predicted, rule = _answers(logits, class_names), entities.scheme(class_names)
        if rule is None:
            there = labels >= 0
            return np.stack([((predicted == labels) & there).sum(axis=1), there.sum(axis=1)], axis=1).astype(np.float64)
        right, ours, theirs = _entities(rule, predicted, labels).sum(axis=1).T
        return np.stack([2 * right, ours + theirs], axis=1).astype(np.float64)

    def weighted(self, evidence: np.ndarray, weights: np.ndarray) -> np.ndarray:
        part, whole = weights @ evidence[:, 0], weights @ evidence[:, 1]
        return part / np.maximum(whole, 1e-12)

    def constant(self, train: Encoded, rows: Encoded, class_names: Sequence[str]) -> np.ndarray:
        counts = np.bincount(train.labels[train.labels >= 0], minlength=len(class_names))
        scores = np.log(np.maximum(counts, 0.5) / counts.sum()).astype(np.float32)
        assert rows.places is not None
        return np.where((rows.places >= 0)[..., None], scores, -np.inf)

    def label_counts(self, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
        """Words per label."""
        return super().label_counts(labels[labels >= 0], class_names)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        seen = (labels >= 0) & logits[..., 0].isfinite()
        each = cross_entropy(logits[seen].float(), labels[seen], reduction="none")
        total = each.new_zeros(len(labels)).index_add(0, seen.nonzero()[:, 0], each)
        return total / seen.sum(dim=1).clamp(min=1)

    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """loss (mean over the words that the model sees, nats), accuracy (of all words), and of entities, summed over
        all rows and types: entity_f1, entity_precision, entity_recall, and per_class: the same for each type."""
        predicted, rule, there = _answers(logits, class_names), entities.scheme(class_names), labels >= 0
        seen = there & np.isfinite(logits[..., 0])
        gold = labels[seen]
        loss = -log_softmax(logits[seen])[np.arange(len(gold)), gold]
        found: dict[str, Any] = {
            "loss": float(loss.mean()) if len(loss) else 0.0,
            "accuracy": float((predicted == labels)[there].mean()),
            "words": int(there.sum()),
        }
        if rule is None:
            return found
        table = _entities(rule, predicted, labels).sum(axis=0)
        precision, recall, f1 = _scores(table.sum(axis=0))
        each = [
            dict(zip(("precision", "recall", "f1"), _scores(row), strict=True), label=name, support=int(row[2]))
            for name, row in zip(rule.types, table, strict=True)
        ]
        return found | {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall, "per_class": each}

    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        """labels: a list for each row, a label for each word; an empty one for a word that the model did not see, where
        there is no O."""
        predicted = _answers(logits, class_names)
        names = [*class_names, ""]  # -1 is the last
        return {
            "labels": [
                [names[k] for k in row[: len(words)]]
                for row, words in zip(predicted, rows.columns["words"], strict=True)
            ]
        }


def _first_with(label: str, splits: Splits) -> str:
    """Where a label stands, for a message about it."""
    return next(
        f"{place(name)}: {rows.origin}: row {rows.index[i] + 1}: label {label!r}"
        for name, rows in splits.items()
        for i, row in enumerate(rows.columns["labels"])
        if label in row
    )


def _answers(logits: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """(n, w, c) -> (n, w) label numbers; of a word that was not seen that of O, or -1."""
    unseen = class_names.index(entities.OUTSIDE) if entities.OUTSIDE in class_names else -1
    return np.where(np.isfinite(logits[..., 0]), logits.argmax(axis=-1), unseen)


def _entities(rule: entities.Scheme, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n, types, 3), as `entities.counts`, of the words that have a label: others are left out of both, so that those
    beside them are neighbours (as in the libraries' own recipes, which leave out -100)."""
    ours, theirs = [], []
    for row, gold in zip(predicted, labels, strict=True):
        there = gold >= 0
        ours.append(row[: len(gold)][there].tolist())
        theirs.append(gold[there].tolist())
    return entities.counts(rule, ours, theirs)


def _scores(row: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 of (right, predicted, gold); 0 where there is nothing to divide by."""
    right, ours, theirs = (float(x) for x in row)
    return right / max(ours, 1), right / max(theirs, 1), 2 * right / max(ours + theirs, 1)
