"""Rows as tokens: what a task makes of them and a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np

from encoderlab.core import hashing

if TYPE_CHECKING:
    pass


def take(tokenized: TokenizedRows, rows: np.ndarray) -> TokenizedRows:
    """Some rows of an encoded split, in the given order."""
    sequences = tokenized.sequences(rows)
    spans = [slice(tokenized.offsets[one], tokenized.offsets[one + 1]) for one in sequences]
    types, groups = tokenized.type_ids, tokenized.groups
    return replace(
        tokenized,
        ids=np.concatenate([tokenized.ids[span] for span in spans]),
        offsets=np.concatenate([[0], np.cumsum(tokenized.lengths[sequences])]).astype(np.int64),
        groups=None if groups is None else np.concatenate([[0], np.cumsum(tokenized.sizes[rows])]).astype(np.int64),
        type_ids=None if types is None else np.concatenate([types[span] for span in spans]),
        labels=tokenized.labels[rows],
        index=None if tokenized.index is None else tokenized.index[rows],
        places=None if tokenized.places is None else tokenized.places[rows],
        fingerprint=f"{tokenized.fingerprint}:{hashing.array_hash(rows)}",
    )


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class MaskVocabulary:
    """What masking needs of a tokenizer: the mask's id, the special ids, and the ids that a word may be replaced by."""

    mask: int
    special: np.ndarray
    ordinary: np.ndarray


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Masked:
    """The masked tokens of a batch of `rows` rows, all int64 (masked,).

    places: in the flattened (rows, longest) of the batch. inputs: what the model reads there. targets: what stood
    there. owner: the row of the batch.
    """

    places: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    owner: np.ndarray
    rows: int


@final
@dataclass(frozen=True, eq=False)
class TokenizedRows:
    """The tokens of n rows, end to end without padding: sequence s is ids[offsets[s]:offsets[s + 1]].

    ids: int32 (tokens,), with the special tokens
    offsets: int64 (sequences + 1,)
    type_ids: int8 (tokens,), 0 for the first text and 1 for the second; None where the model family has none
    labels: int64 (n,), position in class_names; -1 where the rows came without a label. Of a regression: float64, nan
    rows_cut, tokens_lost: what truncation did: rows that were longer, and tokens they lost together
    fingerprint: of texts, tokenizer and max_length, so equal fingerprints mean equal tokens; labels are not in it
    groups: int64 (n + 1,): row i has the sequences groups[i]:groups[i + 1], each with one logit; None: a row is one
        sequence
    index: int64 (n,): the number of each row in its split, where rows are not the rows of the source (windows of texts)
    vocabulary: where tokens are masked for the model to guess
    read: tokens of texts that some window has, where rows are windows, which share tokens; None: all that are there
    places: int32 (n, w), where each of up to w words of a row has a label: the place of its first token in the row's
        sequence, -1 where it has none. labels are (n, w) then
    """

    ids: np.ndarray
    offsets: np.ndarray
    type_ids: np.ndarray | None
    labels: np.ndarray
    rows_cut: int
    tokens_lost: int
    fingerprint: str
    groups: np.ndarray | None = None
    index: np.ndarray | None = None
    vocabulary: MaskVocabulary | None = None
    read: int | None = None
    places: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def tokens_kept(self) -> int:
        """What truncation left, counted once."""
        return len(self.ids) if self.read is None else self.read

    @property
    def share_lost(self) -> float:
        """Of the tokens, by truncation."""
        return self.tokens_lost / (self.tokens_lost + self.tokens_kept)

    @property
    def lengths(self) -> np.ndarray:
        """int64 (sequences,), tokens per sequence."""
        return np.diff(self.offsets)

    @property
    def sizes(self) -> np.ndarray:
        """int64 (n,), sequences per row."""
        return np.ones(len(self), dtype=np.int64) if self.groups is None else np.diff(self.groups)

    @property
    def longest(self) -> np.ndarray:
        """int64 (n,), tokens of each row's longest sequence."""
        return self.lengths if self.groups is None else np.maximum.reduceat(self.lengths, self.groups[:-1])

    @property
    def tokens(self) -> np.ndarray:
        """int64 (n,), tokens of each row in all its sequences."""
        return self.lengths if self.groups is None else np.add.reduceat(self.lengths, self.groups[:-1])

    def sequences(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The numbers of these rows' sequences, row by row."""
        if self.groups is None:
            return np.asarray(rows, dtype=np.int64)
        return np.concatenate([np.arange(self.groups[row], self.groups[row + 1]) for row in rows])

    def present(self, width: int) -> np.ndarray:
        """bool (n, width): which of `width` logits, or of `width` words' logits, a row has."""
        if self.places is not None:
            return self.places >= 0
        if self.groups is None:
            return np.ones((len(self), width), dtype=bool)
        return np.arange(width)[None, :] < self.sizes[:, None]
