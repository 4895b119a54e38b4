"""Regression: a number for a text, or for a pair of texts (similarity, rating).

loss = (logit - (label - m) / s)^2          m, s: mean and standard deviation of the training labels

Labels are learned in units of their spread, so that a learning rate does not depend on the unit of the labels. The
saved head predicts in the unit of the labels: `training.loop` rescales it before saving.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

import numpy as np

from encoderlab.core.errors import InputError, Problem
from encoderlab.core.types import Doc
from encoderlab.data.columns import column_problems
from encoderlab.data.number_cells import read_numbers
from encoderlab.data.prepare import prepare
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.tasks import weighted_correlation
from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import pair_problems
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.regression_metrics import METRICS
from encoderlab.tasks.tokenization import tokenize

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


STATISTICS = {
    "pearson": weighted_correlation.pearson,
    "spearman": weighted_correlation.spearman,
    "mse": weighted_correlation.squared_error,
}
SMALLEST, LARGEST = 1e-30, 1e30  # of labels: a float32 has eight digits between 1e-38 and 3e38


@final
@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """Predict a number for a text or a pair of texts."""

    kind: Literal["regression"] = "regression"
    text: Annotated[str | tuple[str, str], Doc("a column, or two columns that make a pair")] = "text"
    label: Annotated[str, Doc("a column of numbers")] = "label"
    best: Annotated[
        Literal["pearson", "spearman", "mse"],
        Doc("the metric that chooses checkpoints and learning rates, and that ranks and compares the methods"),
    ] = "pearson"

    head: ClassVar[str] = "AutoModelForSequenceClassification"
    problem_type: ClassVar[str | None] = "regression"
    has_classes: ClassVar[bool] = False
    baseline: ClassVar[str | None] = "mean"
    constant_baseline_phrase: ClassVar[str] = "always predicting the mean training label"
    extra_scores: ClassVar[tuple[str, ...]] = ("pearson", "spearman", "mse")

    @property
    def text_columns(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @property
    def label_column(self) -> str:
        return self.label

    def problems(self) -> list[Problem]:
        return pair_problems(self.text_columns, self.label)

    def prepare(self, rows: Rows, *, labelled: bool) -> Rows:
        """Make rows with labels as floats.

        Raises:
            InputError: a column is missing, or a cell is not a finite number. This includes an empty cell, which need
                not mean an unlabelled row.
        """
        if problems := column_problems(rows, [*self.text_columns, *([self.label] if labelled else [])]):
            raise InputError(*problems)
        plain = prepare(rows, text=self.text_columns, label=None)
        if not labelled:
            return plain
        numbers = read_numbers(rows.columns[self.label])
        if wrong := [i for i, number in enumerate(numbers.values) if number is None]:
            more = f" (all {len(rows)} rows)" if len(wrong) == len(rows) else f" ({len(wrong)} such rows)"
            hint = f"; {numbers.hint}" if numbers.hint else ""
            raise InputError(
                f"{rows.origin}: row {rows.index[wrong[0]] + 1}, column {self.label!r}: expected a number, got "
                f"{rows.columns[self.label][wrong[0]]!r}{more if len(wrong) > 1 else ''}{hint}; correct or remove "
                f"the row{'s' * (len(wrong) > 1)}"
            )
        notes = (f"{rows.origin}: column {self.label!r}: {note}" for note in numbers.notes)
        return Rows({**plain.columns, self.label: numbers.values}, rows.origin, rows.index, (*rows.notes, *notes))

    def class_names(self, splits: Splits) -> list[str]:
        """Return the label column, because there is one output.

        Raises:
            InputError: all training rows have the same label, or labels do not fit into float32.
        """
        if len(set(splits.train.columns[self.label])) < 2:
            value = splits.train.columns[self.label][0]
            raise InputError(
                f"data.train: all {len(splits.train)} rows have the label {value:g} (column {self.label!r}); expected "
                "numbers that differ"
            )
        centre, spread = self.scale(np.array(splits.train.columns[self.label]))
        if not SMALLEST < spread < LARGEST or abs(centre) > LARGEST:
            raise InputError(
                f"data.train: the labels (column {self.label!r}, mean {centre:.3g}, standard deviation {spread:.3g}) "
                "are too small or too large for the model's 32-bit numbers; use another unit"
            )
        return [self.label]

    def tokenize(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> TokenizedRows:
        """Tokenize rows, with labels in float64, nan without a label. Pairs are truncated longest text first."""
        labels = np.array(rows.columns.get(self.label, [math.nan] * len(rows)), dtype=np.float64)
        return tokenize(rows, self.text_columns, labels, tokenizer, max_length, cache)

    def metric(self, class_names: Sequence[str]) -> Metric:
        return METRICS[self.best]

    def value(self, metrics: Mapping[str, Any]) -> float:
        return METRICS[self.best].sign * metrics[self.best]

    def warnings(self, tokenized: TokenizedRows) -> list[str]:
        if len(np.unique(tokenized.labels)) != 1:
            return []
        return [
            f"all {len(tokenized)} rows have the label {tokenized.labels[0]:g}: nothing correlates with one value, so "
            "Pearson's r and Spearman's rho count as 0 there"
        ]

    def scale(self, labels: np.ndarray) -> tuple[float, float]:
        size = float(np.abs(labels).max())  # squares of very large or small labels do not fit
        spread = size * float((labels / size).std()) if size > 0 else 0.0
        return float(labels.mean()), spread if spread > 0 else 1.0

    def constant(self, train: TokenizedRows, rows: TokenizedRows, class_names: Sequence[str]) -> np.ndarray:
        return narrowed(np.full((len(rows), 1), train.labels.mean()), float(train.labels.std()))

    def label_counts(self, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
        """Return the lowest, the mean and the highest label."""
        facts = {"lowest": labels.min(), "mean": labels.mean(), "highest": labels.max()}
        size, spread = np.abs(labels).max(), labels.max() - labels.min()
        digits = 4 + max(0, math.ceil(math.log10(size / spread))) if spread > 0 else 4
        return {name: float(f"{value:.{min(digits, 17)}g}") for name, value in facts.items()}

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits[:, 0].float() - labels.float()) ** 2

    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Return loss and mse (in the squared unit of the labels), pearson, spearman; 0 for constant predictions."""
        answers, once = logits[:, 0].astype(np.float64), np.ones((1, len(labels)))
        values = {name: float(statistic(answers, labels, once)[0]) for name, statistic in STATISTICS.items()}
        return {"loss": values["mse"], **values}

    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        """Return the predicted numbers under the name of the label column."""
        return {class_names[0]: logits[:, 0].astype(np.float64).tolist()}


def narrowed(answers: np.ndarray, spread: float) -> np.ndarray:
    """Return float64 predictions as float32, unless rounding is coarse for labels of this spread.

    The mean of the labels may be a million times larger than their spread.
    """
    rounded = answers.astype(np.float32)
    return rounded if np.abs(rounded - answers).max(initial=0.0) <= 1e-5 * spread else answers
