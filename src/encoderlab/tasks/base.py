"""What every task offers: from rows to tokens, from logits to losses and metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from encoderlab.data import Rows, Splits

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


@final
@dataclass(frozen=True, eq=False)
class Encoded:
    """The tokens of n rows, end to end without padding: row i is ids[offsets[i]:offsets[i + 1]].

    ids: int32 (tokens,), with the special tokens
    offsets: int64 (n + 1,)
    type_ids: int8 (tokens,), 0 for the first text and 1 for the second; None where the model family has none
    labels: int64 (n,), position in class_names; -1 where the rows came without a label
    rows_cut, tokens_lost: what truncation did: rows that were longer, and tokens they lost together
    fingerprint: of texts, tokenizer and max_length, so equal fingerprints mean equal tokens; labels are not in it
    """

    ids: np.ndarray
    offsets: np.ndarray
    type_ids: np.ndarray | None
    labels: np.ndarray
    rows_cut: int
    tokens_lost: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """int64 (n,), tokens per row."""
        return np.diff(self.offsets)


class Task(ABC):
    """A frozen dataclass, which is the [task] section of a study file, with a `kind` that names it.

    head: the transformers Auto class that carries the prediction head
    best: the metric that picks checkpoints and learning rates; higher is better
    """

    head: ClassVar[str]
    best: ClassVar[str]

    @property
    @abstractmethod
    def text_columns(self) -> tuple[str, ...]:
        """The columns that the model reads, in order."""

    @property
    @abstractmethod
    def label_column(self) -> str:
        """The column that the model predicts."""

    @abstractmethod
    def problems(self) -> list[str]:
        """Everything wrong that shows without the data, one line each: the key, a colon, what is wrong with it."""

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
        """Tokens and label numbers of rows from `load_splits` or `prepare`; `cache` is a folder for the tokens."""

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(b, c) and (b,) -> (b,): one differentiable loss per row."""

    @abstractmethod
    def metrics(self, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """(n, c) and (n,) -> what result.json keeps of a split; plain Python numbers."""

    @abstractmethod
    def predictions(self, logits: np.ndarray, class_names: Sequence[str]) -> dict[str, list]:
        """(n, c) -> the columns that `predict` adds to its input."""
