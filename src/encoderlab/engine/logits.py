"""The logits of rows: of a few in one forward pass, or of a whole split without gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import by_row
from encoderlab.engine.distributed import ALONE, Ranks
from encoderlab.engine.runner import ModelRunner
from encoderlab.model.dropout import DropoutRNG
from encoderlab.tasks.base import Task


def scores(
    model: ModelRunner,
    task: Task,
    tokenized: TokenizedRows,
    rows: np.ndarray,
    *,
    pad_id: int,
    device: torch.device,
    draw: tuple[int, ...],
    rng: DropoutRNG | None = None,
) -> Tensor:
    """Compute the logits of some rows for `task.losses` and `task.metrics`, in one forward pass.

    Args:
        model: the runner of the tuned model.
        task: the task of the run.
        tokenized: a split of the task's rows.
        rows: (n,), the numbers of rows.
        pad_id: the token that fills a batch.
        device: where the model is.
        draw: seeds the choice of tokens in a task that masks tokens.
        rng: what dropout draws from; None: no dropout.

    Returns:
        (n, c), or (n, words, c) where each word has an answer.
    """
    masked = task.masked(tokenized, rows, draw)
    found = model.run(tokenized, rows, pad_id, device, masked, rng=rng)
    if masked is not None:
        return task.masked_scores(found, masked)
    if tokenized.places is not None:
        return _at_words(found, tokenized.places[rows])
    return by_row(found, tokenized, rows)


def _at_words(found: Tensor, places: np.ndarray) -> Tensor:
    """Put the logits of the words that exist in their places: (n, c) -> (rows, words, c).

    places: (rows, words), below 0 where a row has no such word, or no token of it; the answer there is -inf.
    """
    whole = found.new_full((*places.shape, found.size(1)), -torch.inf)
    return whole.index_put(torch.from_numpy(places >= 0).to(found.device).nonzero(as_tuple=True), found)


@torch.no_grad()
def logits(
    model: ModelRunner,
    task: Task,
    tokenized: TokenizedRows,
    *,
    pad_id: int,
    budget: int,
    device: torch.device,
    on_progress: Any = None,
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Compute the scores of all rows, without dropout. Masked tokens are the same in every call.

    Rows run in batches of similar length, each on one of the ranks.

    Args:
        model: the runner of the tuned model.
        task: the task of the run.
        tokenized: a split of the task's rows.
        pad_id: the token that fills a batch.
        budget: tokens of a batch.
        device: where the model is.
        on_progress: gets the tokens of each batch after it.
        ranks: the processes that share the work.

    Returns:
        float32 (rows, c), -inf where a row has fewer; or (rows, words, c). In the rows' order.
    """
    model.eval()
    rows, tokens, widest = np.arange(len(tokenized)), tokenized.tokens, int(tokenized.sizes.max(initial=0))
    out: np.ndarray | None = None
    groups = model.micro_batches(tokenized, rows, budget)
    mine: list[tuple[int, np.ndarray]] = []
    for number in ranks.deal([int(tokens[chosen].sum()) for chosen in groups]):
        found = scores(model, task, tokenized, groups[number], pad_id=pad_id, device=device, draw=(0, 0))
        mine.append((number, found.float().cpu().numpy()))
        if on_progress is not None:
            on_progress(int(tokens[groups[number]].sum()))
    for number, result in (one for some in ranks.all(mine) for one in some):
        if out is None:
            width = result.shape[1] if tokenized.groups is None else widest
            out = np.full((len(rows), width, *result.shape[2:]), -np.inf, dtype=np.float32)
        out[groups[number], : result.shape[1]] = result
    assert out is not None, "no rows"
    return out
