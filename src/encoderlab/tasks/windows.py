"""The begin and the end of the windows over a long text.

A window has `size` tokens, and the next one begins `stride` tokens later. The last one is as long as the others and
ends where the text ends, so that no token has a shorter context than necessary: n tokens have
1 + ceil((n - size) / stride) windows, or one.
"""

from __future__ import annotations

from typing import Any


def spans(tokens: int, size: int, stride: int, shortest: int = 1) -> list[tuple[int, int]]:
    """Return the first token, and the token after the last, of every window over `tokens` tokens.

    A text of fewer than `shortest` tokens has no window. A rest of fewer than `shortest` tokens has no window either.
    """
    if tokens <= size:
        return [(0, tokens)] if tokens >= max(1, shortest) else []
    starts = list(range(0, tokens - size + 1, stride))
    if tokens - (starts[-1] + size) >= shortest:
        starts.append(tokens - size)
    return [(start, start + size) for start in starts]


def window_size(tokenizer: Any, max_length: int) -> int:
    """Return how many tokens of a text fit into a row of `max_length` tokens with its special tokens."""
    return max_length - tokenizer.num_special_tokens_to_add()


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens before and after a text."""
    encoding = tokenizer("a", return_special_tokens_mask=True)
    mask, ids = encoding["special_tokens_mask"], encoding["input_ids"]
    first = mask.index(0)
    return ids[:first], ids[first + mask.count(0) :]
