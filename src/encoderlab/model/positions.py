"""Count positions as a model does, for methods and packed rows that have to give them explicitly.

Most families number the tokens from 0. Where the table of learned positions has a padding row p (RoBERTa's kin), tokens
other than padding are numbered from p + 1, and padding gets p. A model without such a table (rotary or relative
positions) uses the place of a token in the row.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoderlab.core.errors import InputError


def arguments(encoder: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of the encoder by name, without those that are None."""
    given = {**dict(zip(inspect.signature(encoder.forward).parameters, args, strict=False)), **kwargs}
    return {name: value for name, value in given.items() if value is not None}


def table(encoder: nn.Module) -> nn.Embedding | None:
    """Return the embedding of learned absolute positions, (positions, hidden); None where the model has none."""
    words, rows = encoder.get_input_embeddings(), encoder.config.max_position_embeddings  # type: ignore[operator, union-attr]
    embeddings = (m for m in encoder.modules() if isinstance(m, nn.Embedding) and m is not words)
    return next((embedding for embedding in embeddings if embedding.num_embeddings == rows), None)


def usable(encoder: nn.Module) -> int:
    """Return how many tokens the model has positions for: rows of the table, or the config's number without one."""
    rows: int = encoder.config.max_position_embeddings  # type: ignore[union-attr, assignment]
    found = table(encoder)
    return rows if found is None or found.padding_idx is None else rows - found.padding_idx - 1


def counted(encoder: nn.Module, given: Mapping[str, Any], before: int = 0) -> Tensor:
    """Count the positions of a call's tokens as the family does.

    Args:
        encoder: the encoder.
        given: the arguments of the call, with `input_ids` (batch, tokens) or `inputs_embeds` (batch, tokens, hidden).
        before: positions that are taken in front of the tokens.

    Returns:
        int64 (batch, tokens), or (1, tokens) where all rows have the same positions.
    """
    found = table(encoder)
    padding = None if found is None else found.padding_idx
    if padding is not None and "input_ids" in given:
        real = given["input_ids"].ne(padding).long()
        return (real.cumsum(1) + before) * real + padding
    tokens = given["input_ids"] if "input_ids" in given else given["inputs_embeds"]
    first = before if padding is None else before + padding + 1
    return torch.arange(first, first + tokens.size(1), device=tokens.device).unsqueeze(0)


def packed(ids: Tensor, places: Tensor, padding: int) -> Tensor:
    """Count the positions of a packed row as RoBERTa's kin do: a padding token in a text takes none.

    Args:
        ids: int64 (1, tokens), the tokens.
        places: int64 (1, tokens), each token's place in its sequence, from 0.
        padding: the table's row for padding, which is also the padding token.

    Returns:
        int64 (1, tokens).
    """
    real = ids.ne(padding).long()
    before = real.cumsum(1) - real  # tokens that count, in front of each one
    start = torch.arange(ids.size(1), device=ids.device).unsqueeze(0) - places
    return (before - before.gather(1, start) + 1) * real + padding


def mark(ids: np.ndarray, padding: int | None) -> str:
    """Return a mark for the cache key of rows in which a padding token stands in a text; "" for other rows.

    An older version gave such a token a position of its own, so its cached states are not used for these rows.
    """
    return "" if padding is None or not (ids == padding).any() else ":padding inside"


def fit(encoder: nn.Module, tokens: int, taken: int) -> None:
    """Check that the model has positions for `tokens` and the `taken` ones in front of them.

    Raises:
        InputError: they are more than the model has.
    """
    if tokens + taken > usable(encoder):
        raise InputError(
            f"{tokens} tokens and {taken} learned positions in front of them: the model has {usable(encoder)} "
            f"positions; use a max_length of at most {usable(encoder) - taken}"
        )
