"""Sequences end to end in one row, so that only attention knows where one ends and the next begins.

    tokens   [a a a a a | b b b b . | c c | d d]          one row of the model, (1, tokens)
    groups    2 x 5                   2 x 2                 sequences of similar length; `.` is padding

Linear layers, norms and activations work token by token, so they run once over all sequences of a micro-batch.
Attention runs group by group: a group's queries are a view of shape (sequences, heads, length, head size). Padding is
left only inside a group, a few per cent of the tokens; which sequences share a group is chosen so that padding and the
time that one more group takes are least together.

The layout belongs to one forward pass. It reaches the attention function through `active`, because the models between
pass tensors only; each thread has its own.
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
    """Sequences of similar length that attention handles together.

    Attributes:
        count: how many sequences.
        length: tokens of each, padding included.
        mask: additive, (count, 1, 1, length); None where nothing is padding.
    """

    count: int
    length: int
    mask: Tensor | None

    @property
    def tokens(self) -> int:
        """The tokens of the group, padding included."""
        return self.count * self.length


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """Where the sequences of a batch lie in a packed row.

    Attributes:
        groups: the groups, in the order of the row.
        cu_seqlens: int32 (sequences + 1,), in the order of the row: where each sequence starts, and where the last one
            ends. The padding behind a sequence counts as part of it.
        max_seqlen: tokens of the longest sequence.
        starts: int64 (sequences,), in the order of the batch: the place of each sequence's first token.
        ranks: int64 (sequences,), in the order of the batch: which sequence of the row each one is, so that
            `cu_seqlens[ranks]` equals `starts`.
    """

    groups: tuple[Group, ...]
    cu_seqlens: Tensor
    max_seqlen: int
    starts: Tensor
    ranks: Tensor


@contextmanager
def use(layout: Layout | None) -> Iterator[None]:
    """Let attention inside the block use this layout. None: the batch is padded."""
    token = _ACTIVE.set(layout)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def active() -> Layout | None:
    """Return the layout of the innermost `use` around this call; None outside."""
    return _ACTIVE.get()


def typical(groups: Sequence[Group]) -> float:
    """Return the mean over tokens of their sequence's length, to which attention's time is proportional."""
    return sum(group.tokens * group.length for group in groups) / sum(group.tokens for group in groups)


def groups(lengths: np.ndarray, cost: float) -> list[np.ndarray]:
    """Cut sequences into groups of similar length, longest first.

    A group costs its padded tokens plus `cost`. Dynamic programming over the sorted lengths finds the cheapest cut:
    best[j] = min over i of best[i] + cost(sequences i to j).

    Args:
        lengths: int64 (sequences,), tokens of each.
        cost: the time of one more group, in tokens.

    Returns:
        The numbers of each group's sequences.
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
    """Lay sequences end to end in one packed row.

    Args:
        lengths: int64 (sequences,), tokens of each.
        cost: the time of one more group, in tokens.
        dtype: the precision of the masks.
        device: where the layout's tensors go.

    Returns:
        The layout, and its `starts` as an array on the host.
    """
    made, members_of, widths = [], groups(lengths, cost), []
    for members in members_of:
        count, length = len(members), int(lengths[members[0]])
        widths += [length] * count  # of each sequence of the row, padding included
        mask = None  # (count, 1, 1, length): the lowest number at padding, else 0
        if int(lengths[members[-1]]) < length:
            empty = torch.from_numpy(np.arange(length)[None, :] >= lengths[members][:, None])
            mask = torch.zeros(count, 1, 1, length, dtype=dtype).masked_fill_(
                empty[:, None, None], torch.finfo(dtype).min
            )
            mask = mask.to(device, non_blocking=True)
        made.append(Group(count, length, mask))
    cu_seqlens = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    ranks = np.argsort(np.concatenate(members_of))  # the inverse: which sequence of the row is each of the batch
    starts = cu_seqlens[ranks].astype(np.int64)
    bounds, firsts, order = (torch.from_numpy(x).to(device, non_blocking=True) for x in (cu_seqlens, starts, ranks))
    return Layout(tuple(made), bounds, max(widths), firsts, order), starts
