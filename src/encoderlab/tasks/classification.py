"""Classification: one of c labels for a text, or for a pair of texts (premise, hypothesis).

loss = -log softmax(logits)[label]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

import numpy as np

from encoderlab.core.errors import InputError, Problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import Doc
from encoderlab.data.labels import class_order
from encoderlab.data.rows import Rows
from encoderlab.data.source import place
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.tasks.base import Task
from encoderlab.tasks.class_metrics import BalancedAccuracy, MacroF1
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.probability_metrics import Brier, CalibrationError, LogLoss, log_softmax
from encoderlab.tasks.tokenization import tokenize

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


OF_PROBABILITIES = (LogLoss(), Brier(), CalibrationError())


@final
@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Predict a class for a text or a pair of texts."""

    kind: Literal["classification"] = "classification"
    text: Annotated[str | tuple[str, str], Doc("a column, or two columns that make a pair")] = "text"
    label: Annotated[str, Doc("a column of strings, whole numbers or booleans")] = "label"

    head: ClassVar[str] = "AutoModelForSequenceClassification"

    @property
    def text_columns(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @property
    def label_column(self) -> str:
        return self.label

    def problems(self) -> list[Problem]:
        return pair_problems(self.text_columns, self.label)

    def class_names(self, splits: Splits) -> list[str]:
        """Return the classes of train, sorted by value if all are whole numbers, else alphabetically.

        Raises:
            InputError: train has a single class, or validation or test has a label that train lacks.
        """
        names = class_order(splits.train.columns[self.label])
        if len(names) < 2:
            dropped = "".join(f"; note: {line}" for line in splits.warnings if "unlabelled" in line)
            raise InputError(
                f"data.train: all {len(splits.train)} rows have the label {names[0]!r} (column {self.label!r}); "
                f"expected at least two classes{dropped}"
            )
        problems = [
            Problem(place(name), problem)
            for name, rows in splits.items()
            for problem in _unknown_labels(rows, self.label, names, "train")
        ]
        if problems:
            raise InputError(*problems)
        return names

    def tokenize(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> TokenizedRows:
        """Tokenize rows; without the label column, as in a file to predict, every label is -1.

        Pairs are truncated longest text first.

        Raises:
            InputError: a label is not in `class_names`.
        """
        if self.label in rows.columns:
            if problems := _unknown_labels(rows, self.label, class_names, "the model"):
                raise InputError(*(Problem(rows.origin, problem) for problem in problems))
            number = {name: i for i, name in enumerate(class_names)}
            labels = np.array([number[name] for name in rows.columns[self.label]], dtype=np.int64)
        else:
            labels = np.full(len(rows), -1, dtype=np.int64)
        return tokenize(rows, self.text_columns, labels, tokenizer, max_length, cache)

    def extra_metrics(self, class_names: Sequence[str]) -> tuple[Metric, ...]:
        classes = len(class_names)
        return (MacroF1(classes=classes), BalancedAccuracy(classes=classes), *OF_PROBABILITIES)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.float(), labels, reduction="none")

    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Return loss, accuracy, macro_f1, macro_precision, macro_recall, balanced_accuracy, brier, ece and two tables.

        The tables are per_class and confusion[gold][predicted]. The loss is the mean cross-entropy in nats, in float64.
        Macro values and the balanced accuracy average the classes that occur among the labels.
        """
        from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

        classes = np.arange(len(class_names))
        predicted = logits.argmax(axis=1)
        scores: Any = precision_recall_fscore_support(
            labels,
            predicted,
            labels=classes,
            zero_division=0,  # pyright: ignore[reportArgumentType] (a number is documented, the stub says str)
        )
        precision, recall, f1, support = scores
        present = support > 0
        of_probabilities = {one.key: one.value(one.row_statistics(logits, labels)) for one in OF_PROBABILITIES}
        return {
            "loss": of_probabilities["loss"],
            "accuracy": float((predicted == labels).mean()),
            "macro_f1": float(f1[present].mean()),
            "macro_precision": float(precision[present].mean()),
            "macro_recall": float(recall[present].mean()),
            "balanced_accuracy": float(recall[present].mean()),
            **of_probabilities,
            "per_class": [
                {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
                for name, p, r, f, n in zip(class_names, precision, recall, f1, support, strict=True)
            ],
            "confusion": confusion_matrix(labels, predicted, labels=classes).tolist(),
        }

    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        """Return the label, its probability, and the probability of every class as probability_<class>."""
        probabilities = np.exp(log_softmax(logits))
        return {
            "label": [class_names[i] for i in logits.argmax(axis=1)],
            "probability": probabilities.max(axis=1).tolist(),
            **{f"probability_{name}": probabilities[:, i].tolist() for i, name in enumerate(class_names)},
        }


def pair_problems(text: Sequence[str], label: str) -> list[Problem]:
    """List what is wrong with the names of the columns, as `Task.problems` does."""
    if label in text:
        return [Problem("text", f"column {label!r} is also the label; expected the column(s) of the text only")]
    if len(set(text)) < len(text):
        return [Problem("text", f"column {text[0]!r} occurs twice", "name two columns, or one for a single text")]
    return []


def _unknown_labels(rows: Rows, label: str, classes: Sequence[str], owner: str) -> list[str]:
    """Return one line for each label of the rows, at most five, that is not in `classes`."""
    counts = Counter(name for name in rows.columns[label] if name not in set(classes))
    have = ", ".join(map(repr, classes[:10])) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
    lines = [
        f"label {name!r} (column {label!r}, {count} of {len(rows)} rows) is unknown to {owner}, which has {have}; "
        f"remove or rename these rows{similar_class(name, classes)}"
        for name, count in counts.most_common(5)
    ]
    if len(counts) > 5:
        lines.append(
            f"{len(counts) - 5} more labels of column {label!r} are unknown to {owner}; is it the label column?"
        )
    return lines


def similar_class(label: str, classes: Sequence[str]) -> str:
    """Return a hint at the class that differs in case or in one or two letters, or ""."""
    hint = did_you_mean(label, classes, cutoff=0.75)
    return f"; {hint}" if hint else ""
