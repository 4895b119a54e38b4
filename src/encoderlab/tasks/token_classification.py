"""Token classification: a label for every word of a text, such as named entities or parts of speech.

    loss of a row = mean over its words of -log softmax(logits at the word's first subword)[label]

The head reads only the first subword of each word. The model does not see a word that `max_length` cuts off or that
has no token: its prediction is O, which misses an entity, or no label.

The metric is the F1 of entities if the labels mark entities (`entities`), else the accuracy of words.
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
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.tasks import entities, word_rows
from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import similar_class
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.probability_metrics import log_softmax
from encoderlab.tasks.tokenization import tokenize
from encoderlab.tasks.word_metrics import WORD_LOSS, EntityF1, WordAccuracy, entity_counts, predicted_labels

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


MOST_WORDS = 10_000  # of a row: far more than any model has positions, and every row takes the space of the longest


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
    constant_baseline_phrase: ClassVar[str] = "always predicting the most frequent label"
    extra_scores: ClassVar[tuple[str, ...]] = ("entity_precision", "entity_recall")

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
        """Make the columns `words` and `labels`, lists of strings that have the same length in a row."""
        return word_rows.prepare(rows, self.words, self.labels, labelled=labelled)

    def dummy_rows(self, texts: Sequence[str]) -> Rows:
        return Rows({"words": [text.split() or ["a"] for text in texts]}, "random words", np.arange(len(texts)))

    def class_names(self, splits: Splits) -> list[str]:
        """Return O, then the other labels of all splits in alphabetical order.

        A label that train lacks is never predicted.

        Raises:
            InputError: there is a single label, or a label does not fit the entities that the others mark.
        """
        names = sorted(
            {name for _, rows in splits.items() for row in rows.columns["labels"] for name in row if name is not None}
        )
        if len(names) < 2:
            column = "; name the right column: columns = [word, label], e.g. [1, 2], in the source of a .conll file"
            column += ", else `labels` in [task]"
            raise InputError(f"data.train: all words have the label {names[0]!r}; expected at least two labels{column}")
        if (strange := entities.other_sign(names)) is not None:
            raise InputError(
                f"{_first_with(strange, splits)} would count as a separate type; write B- and I- "
                "in front of the type, as in B-PER"
            )
        if odd := entities.odd(names):
            usual = next(name for name in names if name not in odd and name != entities.OUTSIDE)
            rule = f"marks no entity as the others do: expected O, or a label like {usual!r}; correct it"
            more = f"; the same of {len(odd) - 3} more labels, such as {odd[3]!r}" if odd[3:] else ""
            problems = [f"{_first_with(name, splits)} {rule}" for name in odd[:3]]
            raise InputError(*problems[:-1], problems[-1] + more)
        return sorted(names, key=lambda name: name != entities.OUTSIDE)

    def tokenize(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> TokenizedRows:
        """Tokenize rows of words, with labels int64 (n, w), where w is the number of words of the longest row.

        A label is -1 after the last word of a row, for a word without a label, and in rows without labels.

        Raises:
            InputError: a label is not in `class_names`.
        """
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
                    f"has {', '.join(map(repr, class_names))}; correct or remove the row"
                    f"{similar_class(first, class_names)}"
                )
            labels[row, : len(names)] = [number[name] for name in names]
        return tokenize(rows, ("words",), labels, tokenizer, max_length, cache, words=True)

    def warnings(self, tokenized: TokenizedRows) -> list[str]:
        assert tokenized.places is not None
        there = tokenized.labels >= 0
        unseen = there & (tokenized.places < 0)
        if not unseen.any():
            return []
        return [
            f"{unseen.sum():,} of {there.sum():,} words, in {unseen.any(axis=1).sum():,} rows, are not seen by the "
            "model (cut off by train.max_length, or without a token); they are predicted as O, or count as wrong"
        ]

    def metric(self, class_names: Sequence[str]) -> Metric:
        rule, unseen = entities.scheme(class_names), _unseen(class_names)
        return WordAccuracy(unseen=unseen) if rule is None else EntityF1(unseen=unseen, scheme=rule)

    def extra_metrics(self, class_names: Sequence[str]) -> tuple[Metric, ...]:
        return (WORD_LOSS,)

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

    def constant(self, train: TokenizedRows, rows: TokenizedRows, class_names: Sequence[str]) -> np.ndarray:
        counts = np.bincount(train.labels[train.labels >= 0], minlength=len(class_names))
        scores = np.log(np.maximum(counts, 0.5) / counts.sum()).astype(np.float32)
        assert rows.places is not None
        return np.where((rows.places >= 0)[..., None], scores, -np.inf)

    def label_counts(self, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
        """Return the number of words of each label."""
        return super().label_counts(labels[labels >= 0], class_names)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        seen = (labels >= 0) & logits[..., 0].isfinite()
        each = cross_entropy(logits[seen].float(), labels[seen], reduction="none")
        total = each.new_zeros(len(labels)).index_add(0, seen.nonzero()[:, 0], each)
        return total / seen.sum(dim=1).clamp(min=1)

    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Return loss, accuracy, and for entities entity_f1, entity_precision, entity_recall and per_class.

        The loss is the mean over the words that the model sees, in nats; the accuracy is that of all words. Entity
        scores are computed from sums over all rows and types; per_class has the scores of each type.
        """
        predicted, rule, there = (
            predicted_labels(logits, _unseen(class_names)),
            entities.scheme(class_names),
            labels >= 0,
        )
        seen = there & np.isfinite(logits[..., 0])
        gold = labels[seen]
        loss = -log_softmax(logits[seen])[np.arange(len(gold)), gold]
        metrics: dict[str, Any] = {
            "loss": float(loss.mean()) if len(loss) else 0.0,
            "accuracy": float((predicted == labels)[there].mean()),
            "words": int(there.sum()),
        }
        if rule is None:
            return metrics
        table = entity_counts(rule, predicted, labels).sum(axis=0)
        precision, recall, f1 = _scores(table.sum(axis=0))
        each = [
            dict(zip(("precision", "recall", "f1"), _scores(row), strict=True), label=name, support=int(row[2]))
            for name, row in zip(rule.types, table, strict=True)
        ]
        return metrics | {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall, "per_class": each}

    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        """Return labels: a list for each row, with a label for each word.

        If the classes have no O, a word that the model did not see has the label "".
        """
        predicted = predicted_labels(logits, _unseen(class_names))
        names = [*class_names, ""]  # -1 is the last
        return {
            "labels": [
                [names[k] for k in row[: len(words)]]
                for row, words in zip(predicted, rows.columns["words"], strict=True)
            ]
        }


def _first_with(label: str, splits: Splits) -> str:
    """Return the first place of a label, for a message about it."""
    return next(
        f"{place(name)}: {rows.origin}: row {rows.index[i] + 1}: label {label!r}"
        for name, rows in splits.items()
        for i, row in enumerate(rows.columns["labels"])
        if label in row
    )


def _unseen(class_names: Sequence[str]) -> int:
    """Return the answer for a word that the model does not see: the number of O, or -1."""
    return class_names.index(entities.OUTSIDE) if entities.OUTSIDE in class_names else -1


def _scores(row: np.ndarray) -> tuple[float, float, float]:
    """Return precision, recall and F1 of (right, predicted, gold); 0 for a division by zero."""
    right, ours, theirs = (float(x) for x in row)
    return right / max(ours, 1), right / max(theirs, 1), 2 * right / max(ours + theirs, 1)
