"""The attention that every encoder runs: softmax(Q K' / sqrt(d)) V.

It is registered with transformers under the name `encoderlab`, so that the families' own modules call it. Torch's
kernel for scaled-dot-product attention is the faster one without gradients. On a CPU it has no dropout, and in bf16 its
backward pass is several times slower than written-out matrix products on short sequences (docs/performance.md).

A method may put a learned prefix in front of K and V: a module then carries `prefix_key` and `prefix_value` of shape
(heads, length, head size). Every token sees the prefix. Positions and the mask's own columns do not change, so all of
the model's positions stay usable.

Nothing that belongs to one call lies in a module. Where a layout is active (`encoderlab.model.packing`), the one row
holds many sequences, and each attends to itself. The active `DropoutRNG` draws the dropped weights; without one,
nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from encoderlab.model import matmul_attention, packing
from encoderlab.model.dropout import active_rng
from encoderlab.model.packing import Group

NAME = "encoderlab"
# Tokens from which torch's kernel trains faster on a CPU, or as fast in a tenth of the memory.
LONG = {torch.float32: 256, torch.bfloat16: 1024}


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend, as transformers calls it.

    Args:
        module: the family's attention module, which may carry a prefix.
        query: (batch, heads, tokens, head size). A packed row may have queries for its sequences' first tokens alone,
            one a sequence, in the order of the row.
        key: (batch, heads, tokens, head size).
        value: (batch, heads, tokens, head size).
        attention_mask: None, or additive and of a shape that widens to (batch, heads, tokens, tokens). It includes a
            bias of the scores and a sliding window.
        scaling: what the scores are multiplied with; None: 1 / sqrt(head size).
        dropout: the probability that a weight is dropped; 0 outside training.
        sliding_window: in a packed row, tokens less than this far apart see each other.

    Returns:
        The context, (batch, tokens, heads, head size), and no weights.
    """
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    batch, bias = query.size(0), attention_mask
    groups: Sequence[Group] = (Group(batch, key.size(2), None),)
    if (layout := packing.active()) is not None:
        groups, bias = layout.groups, None
        if sliding_window is not None:
            groups = [_local(group, sliding_window, query) for group in groups]
    # (batch, heads, tokens, head size) -> (batch x tokens, heads, head size): the padded batch is a packed row too
    query, key, value = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    rng = active_rng() if dropout > 0 else None
    if rng is None and (not torch.is_grad_enabled() or _fused(key, groups, bias)):
        context = _kernel(module, query, key, value, groups, bias, scale)
    else:
        prefix = None
        if getattr(module, "prefix_key", None) is not None:
            prefix = module.prefix_key, module.prefix_value
        context = matmul_attention.attend(
            query, key, value, groups, scale, prefix=prefix, bias=bias, rng=rng, dropout=dropout
        )
    return context.unflatten(0, (batch, -1)), None


def _fused(key: Tensor, groups: Sequence[Group], bias: Tensor | None) -> bool:
    """Return whether to train with torch's kernel, which is faster for these groups but gives no gradient to a bias."""
    quicker = key.device.type != "cpu" or packing.typical(groups) >= LONG.get(key.dtype, 0)
    return quicker and not (bias is not None and bias.requires_grad)


def _kernel(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    groups: Sequence[Group],
    bias: Tensor | None,
    scale: float,
) -> Tensor:
    """Attend with torch's kernel, group by group.

    query: (queries, heads, head size); key, value: (tokens, heads, head size), the groups end to end. Returns the
    context of each query, (queries, heads, head size).
    """
    # split, not slices: the gradients of slices are each as large as the whole
    asked, there = matmul_attention.queries(groups, query, key), [group.tokens for group in groups]
    split = [query.split(asked), key.split(there), value.split(there)]
    found = []
    for group, *part in zip(groups, *split, strict=True):
        q, k, v = (x.unflatten(0, (group.count, -1)).transpose(1, 2) for x in part)
        mask = group.mask if bias is None else bias
        if getattr(module, "prefix_key", None) is not None:
            k, v, mask = with_prefix(module, k, v, mask)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        found.append(context.transpose(1, 2).flatten(0, 1))
    return found[0] if len(found) == 1 else torch.cat(found)


def _local(group: Group, window: int, like: Tensor) -> Group:
    """Return the group with a mask that hides tokens `window` or more places away."""
    if group.length <= window:
        return group
    place = torch.arange(group.length, device=like.device)
    far = (place[:, None] - place[None, :]).abs() >= window
    mask = like.new_zeros(group.length, group.length).masked_fill_(far, torch.finfo(like.dtype).min)
    return replace(group, mask=mask if group.mask is None else torch.minimum(group.mask, mask))


def with_prefix(module: Any, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the module's prefix in front of keys, values and mask.

    Args:
        module: an attention module with `prefix_key` and `prefix_value`, (heads, length, head size).
        key: (sequences, heads, tokens, head size).
        value: (sequences, heads, tokens, head size).
        mask: additive, its last axis the keys; None: every token sees every token.

    Returns:
        Keys, values and mask, each with `length` more tokens in front.
    """
    if mask is not None:
        mask = F.pad(mask, (module.prefix_key.size(1), 0))
    return matmul_attention.behind(module.prefix_key, key), matmul_attention.behind(module.prefix_value, value), mask


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """Return the additive mask of transformers; None for a packed row, whose layout holds the masks."""
    return None if packing.active() is not None else eager_mask(*args, **kwargs)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _mask)
