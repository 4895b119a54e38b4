"""Cut stories into windows of tokens, and weigh the windows that contain a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from encoderlab.core.errors import InputError
from encoderlab.model import positions
from encoderlab.model.encoder import EncoderModel

Combine = Literal["mean", "weighted", "central"]


@final
@dataclass(frozen=True, kw_only=True)
class Windows:
    """How stories are cut into windows.

    Attributes:
        window: tokens that the encoder reads at once, special tokens included; None means 512, or as many as the
            encoder has positions for if these are fewer.
        stride: tokens from the start of one window to that of the next; None means half of `window`.
        combine: how the vectors of a word from several windows are combined.
        batch_tokens: tokens of one forward pass, padding included.
    """

    window: int | None = None
    stride: int | None = None
    combine: Combine = "mean"
    batch_tokens: int = 4096

    def sizes(self, encoder: EncoderModel) -> tuple[int, int]:
        """Compute (tokens of a story in one window, stride), or raise InputError if they do not fit the encoder."""
        limit = _limit(encoder)
        special = encoder.tokenizer.num_special_tokens_to_add()
        window = min(512, limit) if self.window is None else self.window
        if not special < window <= limit:
            raise InputError(
                f"window = {window}; expected {special + 1} to {limit} tokens, special ones included ({encoder.name})"
            )
        size, stride = window - special, window // 2 if self.stride is None else self.stride
        if not 0 < stride <= size:
            raise InputError(f"stride = {stride}; expected 1 to {size}, so that no token is left out")
        return size, stride


def word_shares(
    first: np.ndarray, last: np.ndarray, windows: list[tuple[int, int]], tokens: int, combine: Combine
) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """Compute {window: (the words that it contains whole, the share of each word's vector that comes from it)}.

    Args:
        first: (words,) first token of each word.
        last: (words,) token after the last of each word.
        windows: (first token, token after the last) of each window.
        tokens: number of tokens of the story.
        combine: how windows are combined.
    """
    # For each window: the words inside, and their context, the tokens to the nearer end that cuts something off.
    whole_words, context = {}, {}
    total, best = np.zeros(len(first)), np.full(len(first), -np.inf)
    for start, stop in windows:
        inside = np.flatnonzero((first >= start) & (last <= stop) & (last > first))
        left = first[inside] - start + 1.0 if start > 0 else np.full(len(inside), np.inf)
        right = stop - last[inside] + 1.0 if stop < tokens else np.full(len(inside), np.inf)
        nearer = np.minimum(np.minimum(left, right), stop - start)
        whole_words[start, stop], context[start, stop] = inside, nearer
        total[inside] += 1 if combine == "mean" else nearer
        best[inside] = np.maximum(best[inside], nearer)
    # Divide by the total of each word, or choose its most central window.
    shares = {}
    taken = np.zeros(len(first), dtype=bool)
    for window, words in whole_words.items():
        if combine == "central":  # the first of equally central windows
            chosen = (context[window] == best[words]) & ~taken[words]
            taken[words[chosen]] = True
            shares[window] = (words[chosen], np.ones(chosen.sum()))
        else:
            shares[window] = (words, (1.0 if combine == "mean" else context[window]) / total[words])
    return shares


def _limit(encoder: EncoderModel) -> int:
    """Count the tokens that the encoder can read at once; a prompt in front takes positions from the text."""
    prompt = getattr(encoder.base_model, "prompt_embeddings", None)
    return positions.usable(encoder.base_model) - (0 if prompt is None else len(prompt))
