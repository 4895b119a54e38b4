"""Turn tokenized rows into the tensors of one forward pass, with little padding.

An optimizer step is `batch_size` rows on any hardware. Its rows are sorted by length and cut into micro-batches of
similar length and at most `budget` tokens, padding included. Text lengths are so uneven that a batch padded to its
longest row holds more than twice its real tokens. Each row's loss is divided by the rows of the whole batch, so the
summed gradient is that of the padded batch.

If the model takes its rows packed (`encoderlab.model.packing`), there is hardly any padding, and a micro-batch is as
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
    """Shuffle the rows of an epoch and cut them into optimizer steps.

    Args:
        rows: how many rows the split has.
        batch_size: rows of one step.
        seed: the seed of the run.
        epoch: the number of the epoch; each has an order of its own.

    Returns:
        The row numbers of each step, int64 (batch_size,). Every row comes once; the last batch may be smaller.
    """
    order = numpy_generator(seed, "order", epoch).permutation(rows)
    return [order[start : start + batch_size] for start in range(0, rows, batch_size)]


def without_gradients(token_budget: int) -> int:
    """Return the token budget of a pass without gradients, which keeps the states of only one layer at a time."""
    return 4 * token_budget


def micro_batches(
    lengths: np.ndarray, rows: np.ndarray, budget: int, sizes: np.ndarray | None = None
) -> list[np.ndarray]:
    """Cut `rows` into groups of similar length, longest first.

    A group costs its padded tokens plus `GROUP_COST`. Dynamic programming finds the cheapest cut:
    best[j] = min over i of best[i] + cost(rows i to j).

    Args:
        lengths: (rows of the split,), the tokens of each row's longest sequence.
        rows: (n,), the row numbers to cut.
        budget: the tokens that a group may have after padding. A longer row is a group by itself.
        sizes: (rows of the split,), the sequences of each row; None: one sequence a row.

    Returns:
        The row numbers of each group.
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
    """Cut `rows` into as few groups as the budget allows, longest first and about equally full.

    Args:
        tokens: (rows of the split,), the tokens of each row without padding.
        lengths: (rows of the split,), the tokens of each row's longest sequence.
        rows: (n,), the row numbers to cut.
        budget: the tokens that a group may have. A longer row is a group by itself.

    Returns:
        The row numbers of each group.
    """
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
    """Lay the sequences of some rows end to end in one packed row.

    Args:
        tokenized: a split.
        rows: (n,), the numbers of its rows.
        pad_id: the token that fills the gaps.
        cost: the time of one more attention group, in tokens.
        dtype: the precision of the attention masks.
        device: where the tensors go.

    Returns:
        The inputs: `input_ids` and, where used, `token_type_ids`, (1, tokens), or (1, 1, tokens) where a row is several
            sequences; `position_ids`, counted from 0, (1, tokens).
        The layout of the packed row.
        Each sequence's first place, int64 (sequences,), on the host.
        Which token of the split lies at each place, int64 (tokens,); -1 is padding.
    """
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
    """Return the inputs of each sequence's first token alone.

    Args:
        tokenized: a split.
        rows: (n,), the numbers of its rows.
        device: where the tensors go.

    Returns:
        input_ids and, where used, token_type_ids: (sequences, 1), or (sequences, 1, 1) where a row has several.
    """
    chosen = tokenized.offsets[tokenized.sequences(rows)]
    shape = (len(chosen), 1) if tokenized.groups is None else (len(chosen), 1, 1)
    inputs = {"input_ids": torch.from_numpy(tokenized.ids[chosen].astype(np.int64)).view(shape)}
    if tokenized.type_ids is not None:
        inputs["token_type_ids"] = torch.from_numpy(tokenized.type_ids[chosen].astype(np.int64)).view(shape)
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def collate(
    tokenized: TokenizedRows, rows: Sequence[int] | np.ndarray, pad_id: int, device: torch.device
) -> dict[str, Tensor]:
    """Build the padded inputs of some rows.

    Where a row is several sequences, each sequence is a row of one choice. A model that scores choices then gives each
    sequence a logit of its own, and rows may have different numbers of choices.

    Args:
        tokenized: a split.
        rows: (n,), the numbers of its rows.
        pad_id: the token that fills shorter sequences.
        device: where the tensors go.

    Returns:
        input_ids, attention_mask (left out where nothing is padded) and, where used, token_type_ids: (rows, length), or
        (sequences, 1, length) where a row is several sequences.
    """
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
    """Arrange a model's output for the inputs of `collate` as one row of logits for each row.

    Args:
        scores: (rows, c), or (sequences, 1) where a row is several sequences.
        tokenized: the split.
        rows: (n,), the numbers of its rows.

    Returns:
        (rows, c). Where a row is several sequences, c is the largest number of sequences among these rows. A row with
        fewer has -inf in the remaining columns, which gives them no probability and no gradient.
    """
    if tokenized.groups is None:
        return scores
    present = torch.arange(int(tokenized.sizes[rows].max()))[None, :] < torch.from_numpy(tokenized.sizes[rows])[:, None]
    empty = scores.new_full(present.shape, -torch.inf)
    return empty.masked_scatter(present.to(scores.device), scores.flatten())
