"""What every task offers: from rows to tokens, from logits to losses and metrics."""

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
from encoderlab.tasks.metric import ACCURACY, Metric

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from encoderlab.model.encoder import EncoderModel
from encoderlab.data.tokenized import Encoded, Masked

MUCH = 0.1  # a larger share of rows that lose tokens is worth a warning


class Task(ABC):
    """A frozen dataclass, which is the [task] section of a study file, with a `kind` that names it.

    head: the transformers Auto class that carries the prediction head
    problem_type: what a transformers config calls the task, where a plain model needs to be told
    has_classes: whether a row has one class, so that rows are drawn in proportion to the classes
    has_probe: whether a trained head on the frozen encoder is a way to learn the task
    baseline: what the answer that is the same for every row is called, None where there is none
    always: that answer in words
    further: metrics that tables tell beside the one of `metric`
    """

    head: ClassVar[str]
    problem_type: ClassVar[str | None] = None
    has_classes: ClassVar[bool] = True
    has_probe: ClassVar[bool] = True
    baseline: ClassVar[str | None] = "majority"
    always: ClassVar[str] = "always giving one label"
    further: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def text_columns(self) -> tuple[str, ...]:
        """The columns that the model reads, in order."""

    @property
    @abstractmethod
    def label_column(self) -> str:
        """The column that the model predicts."""

    @abstractmethod
    def problems(self) -> list[Problem]:
        """Everything wrong that shows without the data, one line each: the key, a colon, what is wrong with it."""

    def prepare(self, rows: Rows, *, labelled: bool) -> Rows:
        """Rows as they were read -> `text_columns`, and `label_column` where `labelled`, in the form that `encode`
        takes. Raises InputError for a missing column and for a cell that cannot be used."""
        return prepare(rows, text=self.text_columns, label=self.label_column if labelled else None)

    def filler(self, texts: Sequence[str]) -> Rows:
        """Unlabelled rows made of any texts, one row each."""
        return Rows({name: list(texts) for name in self.text_columns}, "random words", np.arange(len(texts)))

    @abstractmethod
    def class_names(self, splits: Splits) -> list[str]:
        """The classes in the order of the logits. Raises InputError for labels that cannot be learned or scored."""

    @abstractmethod
    def encode(
        self,
        rows: Rows,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        class_names: Sequence[str],
        cache: Path | None = None,
    ) -> Encoded:
        """Tokens and label numbers of rows from `prepare`; `cache` is a folder for the tokens."""

    def model_problems(self, backbone: EncoderModel) -> list[str]:
        """Why the task cannot be learned with this model, one line each."""
        return []

    def length_problems(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Problem]:
        """List why rows of `max_length` tokens cannot be made; the paths are keys of the study file."""
        return []

    def metric(self, class_names: Sequence[str]) -> Metric:
        """What variants are ranked and compared by."""
        return ACCURACY

    def compared_by(self, class_names: Sequence[str]) -> str:
        """The metric in words, with what it takes the labels for where that was found out from them."""
        return self.metric(class_names).label

    def cut_warning(self, encoded: Encoded, rows: int, max_length: int) -> str | None:
        """What truncation took of a split of so many rows, where that is much."""
        if encoded.rows_cut <= MUCH * rows:
            return None
        return (
            f"{encoded.rows_cut} of {rows} rows ({encoded.rows_cut / rows:.0%}) are longer than train.max_length = "
            f"{max_length}; {encoded.share_lost:.0%} of the tokens are lost"
        )

    def warnings(self, encoded: Encoded) -> list[str]:
        """What to know of an encoded split before training, one line each."""
        return []

    def value(self, metrics: Mapping[str, Any]) -> float:
        """What picks checkpoints and learning rates on validation: higher is better."""
        return metrics["accuracy"]

    def evidence(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
        """(n, k): what each row adds to the metric. With k = 1 the metric is the mean of the rows' scores; bool: of
        rows right or wrong. With more, `weighted` makes the metric of them."""
        return (logits.argmax(axis=1) == labels)[:, None]

    def weighted(self, evidence: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(n, k) and (m, n) -> (m,): the metric of rows that are there as often as their weights say."""
        return weights @ evidence[:, 0] / weights.sum(axis=1)

    def scale(self, labels: np.ndarray) -> tuple[float, float] | None:
        """(centre, spread) of training labels that are numbers: they are learned as (label - centre) / spread."""
        return None

    def constant(self, train: Encoded, rows: Encoded, class_names: Sequence[str]) -> np.ndarray:
        """The scores of `rows` that know nothing but the training rows' labels. Of classes: their frequencies, over the
        labels that a row can have. A label that no training row has counts as half a row."""
        counts = np.bincount(train.labels, minlength=len(class_names))
        scores = np.log(np.maximum(counts, 0.5) / counts.sum()).astype(np.float32)
        return np.where(rows.present(len(scores)), scores, -np.inf)

    def label_counts(self, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
        """What a table tells of a split's labels: rows per class."""
        counts = np.bincount(labels, minlength=len(class_names))
        return {name: int(n) for name, n in zip(class_names, counts, strict=True)}

    def masked(self, encoded: Encoded, rows: np.ndarray, draw: tuple[int, ...]) -> Masked | None:
        """What the model is to guess of these rows, drawn from `draw`; None for a task that hides nothing."""
        return None

    def masked_scores(self, logits: Tensor, masked: Masked) -> Tensor:
        """(masked tokens, vocabulary) -> (rows, c): what `losses` and `metrics` take."""
        raise NotImplementedError

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(b, c) and (b,) -> (b,): one differentiable loss per row. A logit of -inf is one that the row has not."""

    @abstractmethod
    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """(n, c) and (n,) -> what result.json keeps of a split; plain Python numbers."""

    @abstractmethod
    def predictions(self, logits: np.ndarray, class_names: Sequence[str], rows: Rows) -> dict[str, list]:
        """(n, c) and the n rows -> the columns that `predict` adds to its input."""
