"""How a model with a table of learned positions counts them, for methods that have to say it explicitly.

Most families number the tokens from 0. Where the table has a padding row p (RoBERTa's kin), the tokens that are no
padding are numbered from p + 1, and padding gets p. A model without such a table (rotary or relative positions) goes by
where a token stands.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoderlab.core.errors import InputError


def arguments(trunk: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a call of the trunk was given, by name, without the Nones."""
    given = {**dict(zip(inspect.signature(trunk.forward).parameters, args, strict=False)), **kwargs}
    return {name: value for name, value in given.items() if value is not None}


def table(trunk: nn.Module) -> nn.Embedding | None:
    """The learned absolute positions, if there are any."""
    words, rows = trunk.get_input_embeddings(), trunk.config.max_position_embeddings  # type: ignore[operator, union-attr]
    embeddings = (m for m in trunk.modules() if isinstance(m, nn.Embedding) and m is not words)
    return next((embedding for embedding in embeddings if embedding.num_embeddings == rows), None)


def usable(trunk: nn.Module) -> int:
    """How many tokens the table has rows for, or, without one, how many the config says."""
    rows: int = trunk.config.max_position_embeddings  # type: ignore[union-attr, assignment]
    found = table(trunk)
    return rows if found is None or found.padding_idx is None else rows - found.padding_idx - 1


def counted(trunk: nn.Module, given: Mapping[str, Any], before: int = 0) -> Tensor:
    """(batch or 1, tokens): the position of each token of a call, as the family counts, after `before` others."""
    found = table(trunk)
    padding = None if found is None else found.padding_idx
    if padding is not None and "input_ids" in given:
        real = given["input_ids"].ne(padding).long()
        return (real.cumsum(1) + before) * real + padding
    tokens = given["input_ids"] if "input_ids" in given else given["inputs_embeds"]
    first = before if padding is None else before + padding + 1
    return torch.arange(first, first + tokens.size(1), device=tokens.device).unsqueeze(0)


def packed(ids: Tensor, places: Tensor, padding: int) -> Tensor:
    """Positions of a packed row as RoBERTa's kin count them: a padding token in a text takes none.

    Args:
        ids, places: (1, tokens); the tokens, and each one's place in its sequence.
        padding: the row of the padding, which is also its token.
    """
    real = ids.ne(padding).long()
    before = real.cumsum(1) - real  # tokens that count, in front of each one
    start = torch.arange(ids.size(1), device=ids.device).unsqueeze(0) - places
    return (before - before.gather(1, start) + 1) * real + padding


def mark(ids: np.ndarray, padding: int | None) -> str:
    """What tells the states of rows in which a padding token stands in a text from those of an older version, which
    gave it a position of its own; "" for other rows."""
    return "" if padding is None or not (ids == padding).any() else ":padding inside"


def fit(trunk: nn.Module, tokens: int, taken: int) -> None:
    """InputError where `tokens` and the `taken` ones before them are more than the model has positions for."""
    if tokens + taken > usable(trunk):
        raise InputError(
            f"{tokens} tokens and {taken} learned positions in front of them: the model has {usable(trunk)} positions; "
            f"use a max_length of at most {usable(trunk) - taken}"
        )
