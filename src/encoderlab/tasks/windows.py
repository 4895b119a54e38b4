"""Where the windows over a long text begin and end.

A window is `size` tokens; the next begins `stride` later. The last one is as long as the others and ends where the text
ends, so that no token is read with a short context when a long one is to be had: n tokens have
1 + ceil((n - size) / stride) windows, or one.
"""

from __future__ import annotations

from typing import Any


def spans(tokens: int, size: int, stride: int, shortest: int = 1) -> list[tuple[int, int]]:
    """First and last token (the latter excluded) of every window over `tokens` tokens.

    Fewer than `shortest` tokens have no window, and as few left over behind the last whole one get none of their own.
    """
    if tokens <= size:
        return [(0, tokens)] if tokens >= max(1, shortest) else []
    starts = list(range(0, tokens - size + 1, stride))
    if tokens - (starts[-1] + size) >= shortest:
        starts.append(tokens - size)
    return [(start, start + size) for start in starts]


def window_size(tokenizer: Any, max_length: int) -> int:
    """Tokens of a text in a row of `max_length`, special ones included."""
    return max_length - tokenizer.num_special_tokens_to_add()


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens in front of a text and behind it."""
    encoding = tokenizer("a", return_special_tokens_mask=True)
    mask, ids = encoding["special_tokens_mask"], encoding["input_ids"]
    first = mask.index(0)
    return ids[:first], ids[first + mask.count(0) :]
