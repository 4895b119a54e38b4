"""From encoded rows to the tensors of one forward pass, with little padding.

An optimizer step is `batch_size` rows whatever the hardware. Its rows are sorted by length and cut into micro-batches
of similar length and at most `budget` tokens, padding included: text lengths are so uneven that a batch padded to its
longest row holds more than twice its real tokens. Each row's loss is divided by the rows of the whole batch, so the
summed gradient is that of the padded batch.

Where the model takes its rows packed (`encoderlab.model.packing`) there is next to no padding, and a micro-batch is as
many rows as the budget holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from encoderlab.core.rng import numpy_generator
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.model.packing import Layout, arrange

GROUP_COST = 96  # tokens' worth of time that one more forward and backward pass takes by itself, on 2 cores


def epoch_batches(rows: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The row numbers of each optimizer step of an epoch; every row once, the last batch may be smaller."""
    order = numpy_generator(seed, "order", epoch).permutation(rows)
    return [order[start : start + batch_size] for start in range(0, rows, batch_size)]


def without_gradients(token_budget: int) -> int:
    """The budget of a pass that keeps the states of one layer, and not of all for a way back."""
    return 4 * token_budget


def micro_batches(
    lengths: np.ndarray, rows: np.ndarray, budget: int, sizes: np.ndarray | None = None
) -> list[np.ndarray]:
    """Cut `rows`, longest first, into groups of similar length, each at most `budget` tokens after padding or one row.

    A row is `sizes` sequences (None: one), the longest of them `lengths` tokens. Of all such cuts the cheapest, where a
    group costs its padded tokens and `GROUP_COST` more. Found by dynamic programming:
    best[j] = min over i of best[i] + cost(rows i to j).
    """
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    longest = lengths[rows]  # of a group that starts here
    before = np.concatenate([[0], np.cumsum(np.ones(len(rows), int) if sizes is None else sizes[rows])])
    best, cut = np.zeros(len(rows) + 1), np.zeros(len(rows) + 1, dtype=np.int64)
    for end in range(1, len(rows) + 1):
        starts = np.arange(max(0, end - max(1, budget // int(longest[end - 1]))), end)
        padded = (before[end] - before[starts]) * longest[starts]
        costs = np.where((padded <= budget) | (starts == end - 1), best[starts] + padded + GROUP_COST, np.inf)
        cut[end] = starts[costs.argmin()]
        best[end] = costs.min()
    groups, end = [], len(rows)
    while end:
        groups.append(rows[cut[end] : end])
        end = int(cut[end])
    return groups[::-1]


def full_batches(tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray, budget: int) -> list[np.ndarray]:
    """Cut `rows`, longest first, into as few groups as hold at most `budget` real `tokens` each, or one row; the groups
    are about equally full."""
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    share = int(tokens[rows].sum()) / max(1, -(-int(tokens[rows].sum()) // budget))
    groups, filled = [[rows[0]]], int(tokens[rows[0]])
    for row in rows[1:]:
        held = int(tokens[row])
        if filled + held > budget or filled + held / 2 > share:
            groups.append([])
            filled = 0
        groups[-1].append(row)
        filled += held
    return [np.array(group) for group in groups]


def pack(
    tokenized: TokenizedRows,
    rows: Sequence[int] | np.ndarray,
    pad_id: int,
    cost: float,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[dict[str, Tensor], Layout, np.ndarray, np.ndarray]:
    """The sequences of some rows end to end: input_ids and, where used, token_type_ids, each (1, tokens), or
    (1, 1, tokens) where a row is several sequences; `position_ids` counted from 0, (1, tokens). The layout; each
    sequence's first place; and which of the split's tokens lies at each place, -1 for padding."""
    spans = [slice(*tokenized.offsets[one : one + 2].tolist()) for one in tokenized.sequences(rows)]
    lengths = np.array([int(span.stop - span.start) for span in spans])
    layout, starts = arrange(lengths, cost, dtype, device)
    total = sum(group.tokens for group in layout.groups)
    ids, types = np.full(total, pad_id, dtype=np.int64), np.zeros(total, dtype=np.int64)
    places, source = np.zeros(total, dtype=np.int64), np.full(total, -1, dtype=np.int64)
    for span, start, length in zip(spans, starts.tolist(), lengths.tolist(), strict=True):
        ids[start : start + length] = tokenized.ids[span]
        places[start : start + length] = np.arange(length)
        source[start : start + length] = np.arange(span.start, span.stop)
        if tokenized.type_ids is not None:
            types[start : start + length] = tokenized.type_ids[span]
    shape = (1, total) if tokenized.groups is None else (1, 1, total)
    inputs = {"input_ids": torch.from_numpy(ids).view(shape)}
    if tokenized.type_ids is not None:
        inputs["token_type_ids"] = torch.from_numpy(types).view(shape)
    inputs["position_ids"] = torch.from_numpy(places).unsqueeze(0)  # which not every model flattens itself
    return {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}, layout, starts, source


def first_tokens(tokenized: TokenizedRows, rows: Sequence[int] | np.ndarray, device: torch.device) -> dict[str, Tensor]:
    """The inputs of each sequence's first token alone: (sequences, 1), or (sequences, 1, 1) where a row is several."""
    chosen = tokenized.offsets[tokenized.sequences(rows)]
    shape = (len(chosen), 1) if tokenized.groups is None else (len(chosen), 1, 1)
    inputs = {"input_ids": torch.from_numpy(tokenized.ids[chosen].astype(np.int64)).view(shape)}
    if tokenized.type_ids is not None:
        inputs["token_type_ids"] = torch.from_numpy(tokenized.type_ids[chosen].astype(np.int64)).view(shape)
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def collate(
    tokenized: TokenizedRows, rows: Sequence[int] | np.ndarray, pad_id: int, device: torch.device
) -> dict[str, Tensor]:
    """The model's inputs for some rows: input_ids, attention_mask (left out where nothing is padded),
    token_type_ids where used. (rows, length), or where a row is several sequences (sequences, 1, length): a model that
    scores choices then gives each sequence its logit, however many the rows have."""
    spans = [slice(tokenized.offsets[one], tokenized.offsets[one + 1]) for one in tokenized.sequences(rows)]
    lengths = [int(span.stop - span.start) for span in spans]
    shape = (len(spans), max(lengths))
    ids = np.full(shape, pad_id, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    for i, (span, length) in enumerate(zip(spans, lengths, strict=True)):
        ids[i, :length] = tokenized.ids[span]
        if tokenized.type_ids is not None:
            types[i, :length] = tokenized.type_ids[span]
    inputs = {"input_ids": torch.from_numpy(ids)}
    if min(lengths) < max(lengths):
        mask = np.arange(shape[1])[None, :] < np.array(lengths)[:, None]
        inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
    if tokenized.type_ids is not None:
        inputs["token_type_ids"] = torch.from_numpy(types)
    if tokenized.groups is not None:
        inputs = {name: tensor.unsqueeze(1) for name, tensor in inputs.items()}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}


def by_row(scores: Tensor, tokenized: TokenizedRows, rows: Sequence[int] | np.ndarray) -> Tensor:
    """What a model says to `collate`'s inputs -> logits (rows, c). Where a row is several sequences, c is the most that
    one of these rows has, and -inf stands where a row has fewer: no probability, and no gradient."""
    if tokenized.groups is None:
        return scores
    present = torch.arange(int(tokenized.sizes[rows].max()))[None, :] < torch.from_numpy(tokenized.sizes[rows])[:, None]
    empty = scores.new_full(present.shape, -torch.inf)
    return empty.masked_scatter(present.to(scores.device), scores.flatten())
