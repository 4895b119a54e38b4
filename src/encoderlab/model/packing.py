"""Sequences end to end in one row, so that only attention knows where one ends and the next begins.

    tokens   [a a a a a | b b b b . | c c | d d]          one row of the model, (1, tokens)
    groups    2 x 5                   2 x 2                 sequences of similar length; `.` is padding

Linear layers, norms and activations work token by token, so they run once over all sequences of a micro-batch.
Attention runs group by group: a group's queries are a view of shape (sequences, heads, length, head size). Padding is
left only inside a group, a few per cent of the tokens; which sequences share a group is chosen so that padding and the
time that one more group takes are least together.

The layout reaches the attention function through `active`: the models between pass tensors only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

_ACTIVE: ContextVar[Layout | None] = ContextVar("layout", default=None)


@final
@dataclass(frozen=True, eq=False)
class Group:
    """`count` sequences of `length` tokens. mask: additive, (count, 1, 1, length); None where nothing is padding."""

    count: int
    length: int
    mask: Tensor | None

    @property
    def tokens(self) -> int:
        return self.count * self.length


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """Where the sequences of a batch lie. starts: int64 (sequences,), the place of each one's first token, in the order
    of the batch. groups: in the order of the places."""

    groups: tuple[Group, ...]
    starts: Tensor


@contextmanager
def use(layout: Layout | None) -> Iterator[None]:
    """Attention inside goes by this layout."""
    token = _ACTIVE.set(layout)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def active() -> Layout | None:
    return _ACTIVE.get()


def typical(groups: Sequence[Group]) -> float:
    """The length of the sequence that a token lies in, on average: what attention's time goes by."""
    return sum(group.tokens * group.length for group in groups) / sum(group.tokens for group in groups)


def groups(lengths: np.ndarray, cost: float) -> list[np.ndarray]:
    """Numbers of the sequences, cut into groups of similar length, longest first.

    cost: the time of one more group, in tokens. Of all cuts of the sorted lengths the cheapest, where a group costs its
    padded tokens and `cost` more: best[j] = min over i of best[i] + cost(sequences i to j).
    """
    order = np.argsort(-lengths, kind="stable")
    longest = lengths[order]
    levels = np.flatnonzero(np.diff(longest, prepend=longest[0] + 1))  # a cut between equal lengths gains nothing
    ends = np.append(levels[1:], len(order))
    best, cut = np.zeros(len(levels) + 1), np.zeros(len(levels) + 1, dtype=np.int64)
    for end in range(1, len(levels) + 1):
        costs = best[:end] + (ends[end - 1] - levels[:end]) * longest[levels[:end]] + cost
        cut[end] = costs.argmin()
        best[end] = costs[cut[end]]
    found, end = [], len(levels)
    while end:
        found.append(order[levels[cut[end]] : ends[end - 1]])
        end = int(cut[end])
    return found[::-1]


def arrange(lengths: np.ndarray, cost: float, dtype: torch.dtype, device: torch.device) -> tuple[Layout, np.ndarray]:
    """The layout of sequences of these lengths, and the row's number of tokens per place of a sequence:
    places int64 (sequences,), as `starts` on the host."""
    starts, made, place = np.zeros(len(lengths), dtype=np.int64), [], 0
    for members in groups(lengths, cost):
        count, length = len(members), int(lengths[members[0]])
        starts[members] = place + length * np.arange(count)
        place += count * length
        mask = None
        if int(lengths[members[-1]]) < length:
            empty = torch.from_numpy(np.arange(length)[None, :] >= lengths[members][:, None])
            mask = torch.zeros(count, 1, 1, length, dtype=dtype).masked_fill_(
                empty[:, None, None], torch.finfo(dtype).min
            )
            mask = mask.to(device, non_blocking=True)
        made.append(Group(count, length, mask))
    return Layout(tuple(made), torch.from_numpy(starts).to(device, non_blocking=True)), starts
