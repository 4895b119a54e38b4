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
        fingerprint=f"{tokenized.fingerprint}:{hashing.array_hash(rows)}",
    )


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class MaskVocabulary:
    """The ids that masking needs: of the mask, of the special tokens, and of the tokens that may replace a word."""

    mask: int
    special: np.ndarray
    ordinary: np.ndarray


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Masked:
    """The masked tokens of a batch of `rows` rows, all int64 (masked,).

    places: positions in the flattened (rows, longest) of the batch. inputs: the tokens that the model reads there.
    targets: the original tokens. owner: the row of the batch.
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
    type_ids: int8 (tokens,), 0 for the first text and 1 for the second; None if the model family has no token types
    labels: int64 (n,), positions in class_names, -1 for an unlabelled row; for a regression float64, with nan
    rows_cut, tokens_lost: the number of truncated rows, and of the tokens that they lost
    fingerprint: of texts, tokenizer and max_length, without the labels; equal fingerprints mean equal tokens
    groups: int64 (n + 1,): row i has the sequences groups[i]:groups[i + 1], with one logit each; None: a row is one
        sequence
    index: int64 (n,): the number of each row in its split, if rows are windows of texts
    vocabulary: the tokens for masking, if the task masks tokens
    read: the number of tokens covered by a window, if rows are windows, which may overlap; None: all tokens
    places: int32 (n, w), if each of up to w words of a row has a label: the position of its first token in the sequence
        of the row, -1 for a word without a token; labels are then (n, w)
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
