"""The interface of a task: from rows to tokens, and from logits to losses and metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from encoderlab.core.errors import Problem
from encoderlab.data.prepare import prepare
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import Masked, TokenizedRows
from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.tasks.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from encoderlab.model.encoder import EncoderModel

MUCH = 0.1  # a larger share of rows that lose tokens is worth a warning


class Task(ABC):
    """A frozen dataclass, which is the [task] section of a study file, with a `kind` that names it.

    head: the transformers Auto class that carries the prediction head
    problem_type: what a transformers config calls the task, where a plain model needs to be told
    has_classes: whether a row has one class, so that rows are drawn in proportion to the classes
    supports_head_method: whether a trained head on the frozen encoder, the method `head`, can learn the task
    baseline: the name of the constant baseline, which answers the same for every row; None if there is none
    constant_baseline_phrase: that baseline in words
    extra_scores: scores of `metrics` that tables show beside the metric, as means over the seeds
    """

    head: ClassVar[str]
    problem_type: ClassVar[str | None] = None
    has_classes: ClassVar[bool] = True
    supports_head_method: ClassVar[bool] = True
    baseline: ClassVar[str | None] = "majority"
    constant_baseline_phrase: ClassVar[str] = "always predicting one label"
    extra_scores: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def text_columns(self) -> tuple[str, ...]:
        """The columns of prepared rows that the model reads, in order."""

    @property
    @abstractmethod
    def label_column(self) -> str:
        """The column of prepared rows that the model predicts."""

    @abstractmethod
    def problems(self) -> list[Problem]:
        """Everything wrong that shows without the data, one line each: the key, a colon, what is wrong with it."""

    def prepare(self, rows: Rows, *, labelled: bool) -> Rows:
        """Make `text_columns`, and `label_column` if `labelled`, from the rows of a file.

        Raises:
            InputError: a column is missing, or a cell cannot be used.
        """
        return prepare(rows, text=self.text_columns, label=self.label_column if labelled else None)

    def dummy_rows(self, texts: Sequence[str]) -> Rows:
        """Return prepared rows without labels made of any texts, one row each, to try a model."""
        return Rows({name: list(texts) for name in self.text_columns}, "random words", np.arange(len(texts)))

    @abstractmethod
    def class_names(self, splits: Splits) -> list[str]:
        """Return the classes in the order of the logits.

        Raises:
            InputError: the labels cannot be learned or scored.
        """

    @abstractmethod
    def tokenize(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> TokenizedRows:
        """Tokenize prepared rows and number their labels.

        Args:
            rows: the output of `prepare`.
            tokenizer: the tokenizer of the model.
            max_length: the most tokens of a sequence, including special tokens.
            class_names: the output of `class_names`.
            cache: a folder that keeps the tokens; None keeps nothing.
        """

    def model_problems(self, encoder: EncoderModel) -> list[str]:
        """Return one line for each reason why this model cannot learn the task."""
        return []

    def length_problems(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Problem]:
        """List why rows of `max_length` tokens cannot be made; the paths are keys of the study file."""
        return []

    def metric(self, class_names: Sequence[str]) -> Metric:
        """Return the metric that ranks and compares the variants."""
        return ACCURACY

    def extra_metrics(self, class_names: Sequence[str]) -> tuple[Metric, ...]:
        """Return the metrics that tables show beside it, each with its interval over the test rows."""
        return ()

    def mean_score(self, key: str, runs: Sequence[Mapping[str, float]]) -> float | None:
        """Return the mean over runs of the score `key`. None if no run has it. runs: the numbers of `metrics`."""
        values = [scores[key] for scores in runs if key in scores]
        return float(np.mean(values)) if values else None

    def compared_by(self, class_names: Sequence[str]) -> str:
        """Return the metric in words. If encoderlab inferred the meaning of the labels, the words include it."""
        return self.metric(class_names).label

    def cut_warning(self, tokenized: TokenizedRows, rows: int, max_length: int) -> str | None:
        """Return a warning if truncation removed tokens from many rows of a split."""
        if tokenized.rows_cut <= MUCH * rows:
            return None
        return (
            f"{tokenized.rows_cut} of {rows} rows ({tokenized.rows_cut / rows:.0%}) are longer than train.max_length = "
            f"{max_length}; {tokenized.share_lost:.0%} of the tokens are lost"
        )

    def warnings(self, tokenized: TokenizedRows) -> list[str]:
        """Return warnings about a tokenized split before training, one line each."""
        return []

    def value(self, metrics: Mapping[str, Any]) -> float:
        """Return the score that selects epochs and learning rates on validation: higher is better."""
        return metrics["accuracy"]

    def scale(self, labels: np.ndarray) -> tuple[float, float] | None:
        """Return (centre, spread) of numeric training labels, which are learned as (label - centre) / spread."""
        return None

    def constant(self, train: TokenizedRows, rows: TokenizedRows, class_names: Sequence[str]) -> np.ndarray:
        """Return scores for `rows` that depend only on the training labels, for the baseline.

        For classes these are log frequencies, over the labels that a row can have. A label without a training row
        counts as half a row.
        """
        counts = np.bincount(train.labels, minlength=len(class_names))
        scores = np.log(np.maximum(counts, 0.5) / counts.sum()).astype(np.float32)
        return np.where(rows.present(len(scores)), scores, -np.inf)

    def label_counts(self, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
        """Return the facts about the labels of a split for a table: rows per class."""
        counts = np.bincount(labels, minlength=len(class_names))
        return {name: int(n) for name, n in zip(class_names, counts, strict=True)}

    def masked(self, tokenized: TokenizedRows, rows: np.ndarray, draw: tuple[int, ...]) -> Masked | None:
        """Mask tokens of some rows, drawn from `draw`; None for a task without masks."""
        return None

    def masked_scores(self, logits: Tensor, masked: Masked) -> Tensor:
        """Reduce logits of masked tokens to the input of `losses`: (masked, vocabulary) -> (rows, c)."""
        raise NotImplementedError

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return one differentiable loss per row, (b, c) and (b,) -> (b,); a row has no class with a logit of -inf."""

    @abstractmethod
    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the metrics of a split for result.json as plain Python numbers, from (n, c) and (n,)."""

    @abstractmethod
    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        """Return the columns that `predict` adds to its input, from logits (n, c) and the n rows."""
