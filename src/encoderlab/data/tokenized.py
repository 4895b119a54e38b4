"""Tokenized rows: the output of a task's `tokenize`, and the input of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from encoderlab.core import hashing


def take(tokenized: TokenizedRows, rows: np.ndarray) -> TokenizedRows:
    """Return some rows of a tokenized split, in the given order."""
    sequences = tokenized.sequences(rows)
    spans = [slice(tokenized.offsets[i], tokenized.offsets[i + 1]) for i in sequences]
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
        texts=None if tokenized.texts is None else tokenized.texts[rows],
        fingerprint=f"{tokenized.fingerprint}:{hashing.array_hash(rows)}",
    )


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class MaskVocabulary:
    """The token ids that masking needs: the mask, the special tokens, and the tokens that may replace a word."""

    mask: int
    special: np.ndarray
    ordinary: np.ndarray


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Masked:
    """The masked tokens of a batch; the arrays are int64 (masked,).

    Attributes:
        places: Positions in the flattened batch, (rows, longest).
        inputs: The tokens that the model reads there.
        targets: The original tokens.
        owner: The row of the batch.
        rows: The number of rows of the batch.
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

    Attributes:
        ids: Token ids with the special tokens, int32 (tokens,).
        offsets: The start of each sequence in `ids`, int64 (sequences + 1,).
        type_ids: 0 for the first text and 1 for the second, int8 (tokens,). None if the model has no token types.
        labels: Positions in the class names, -1 for an unlabelled row, int64 (n,). For a regression float64, with nan.
        rows_cut: The number of truncated rows.
        tokens_lost: The number of tokens that truncation removed.
        fingerprint: Hash of texts, tokenizer and max_length, without the labels. Equal fingerprints mean equal tokens.
        groups: Row i has the sequences groups[i]:groups[i + 1], with one logit each, int64 (n + 1,). None: each row is
            one sequence.
        index: The number of each row in its split, int64 (n,), if rows are windows of texts.
        vocabulary: The tokens for masking, if the task masks tokens.
        read: The number of tokens covered by a window, if rows are windows, which may overlap. None: all tokens.
        places: The position of the first token of each word in the sequence of its row, -1 for a word without a token,
            int32 (n, w), if each of up to w words of a row has a label. `labels` is then (n, w).
        texts: The position of each row's text in its split, int64 (n,), if rows are windows of texts.
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
    texts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def tokens_kept(self) -> int:
        """The number of tokens that truncation left; tokens of overlapping windows count once."""
        return len(self.ids) if self.read is None else self.read

    @property
    def share_lost(self) -> float:
        """The share of the tokens that truncation removed."""
        return self.tokens_lost / (self.tokens_lost + self.tokens_kept)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each sequence, int64 (sequences,)."""
        return np.diff(self.offsets)

    @property
    def sizes(self) -> np.ndarray:
        """The number of sequences of each row, int64 (n,)."""
        return np.ones(len(self), dtype=np.int64) if self.groups is None else np.diff(self.groups)

    @property
    def longest(self) -> np.ndarray:
        """The number of tokens of the longest sequence of each row, int64 (n,)."""
        return self.lengths if self.groups is None else np.maximum.reduceat(self.lengths, self.groups[:-1])

    @property
    def tokens(self) -> np.ndarray:
        """The number of tokens of all sequences of each row, int64 (n,)."""
        return self.lengths if self.groups is None else np.add.reduceat(self.lengths, self.groups[:-1])

    def sequences(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the numbers of the sequences of some rows, row by row."""
        if self.groups is None:
            return np.asarray(rows, dtype=np.int64)
        return np.concatenate([np.arange(self.groups[row], self.groups[row + 1]) for row in rows])

    def present(self, width: int) -> np.ndarray:
        """Return which of `width` logits, or words, each row has, bool (n, width)."""
        if self.places is not None:
            return self.places >= 0
        if self.groups is None:
            return np.ones((len(self), width), dtype=bool)
        return np.arange(width)[None, :] < self.sizes[:, None]
