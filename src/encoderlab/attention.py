"""The attention every backbone runs: softmax(Q K' / sqrt(d)) V, with a learned prefix in front of K and V where a
method put one.

Registered with transformers under the name `encoderlab`, so that the families' own modules call it. Torch's kernel for
scaled-dot-product attention is the faster one without gradients. Its backward pass on a CPU is several times slower
than written-out matrix products on short sequences, and has no dropout; on long ones it wins (docs/performance.md).

A module may carry `prefix_key`, `prefix_value` of shape (heads, length, head size) and `noise` (a `Noise`). Positions
and the mask's own columns are untouched by a prefix: it is seen by every token, and all of the model's positions stay
usable. Where a layout is active (`encoderlab.packing`), the one row holds many sequences, and each attends to itself.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from encoderlab import packing
from encoderlab.packing import Layout

NAME = "encoderlab"
# Tokens from which torch's kernel trains faster on a CPU, or as fast in a tenth of the memory.
LONG = {torch.float32: 256, torch.bfloat16: 1024}


def attention(
    module: Any,  # the family's attention module; what it may carry is said above
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """query, key, value: (batch, heads, tokens, head size); mask: None, or additive and of a shape that
    widens to (batch, heads, tokens, tokens). A bias of the scores, and a sliding window, are part of it; of a packed
    row the window is put on here: tokens less than `sliding_window` apart see each other.

    Returns the context as (batch, tokens, heads, head size), and no weights.
    """
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    if (layout := packing.active()) is not None:
        return _packed(module, query, key, value, layout, scale, dropout, sliding_window), None
    return _attend(module, query, key, value, attention_mask, scale, dropout).contiguous(), None


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, dropout: float
) -> Tensor:
    """(batch, tokens, heads, head size), a view."""
    if getattr(module, "prefix_key", None) is not None:
        key, value, mask = with_prefix(module, key, value, mask)
    if dropout == 0 and (not torch.is_grad_enabled() or _fused(key, mask)):
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    else:
        scores = torch.matmul(query * scale, key.transpose(2, 3))
        if mask is not None:
            scores = scores + mask
        weights = torch.softmax(scores, dim=-1)
        if dropout > 0:
            weights = weights * module.noise.mask(weights, dropout)
        context = torch.matmul(weights, value)
    return context.transpose(1, 2)


def _fused(key: Tensor, mask: Tensor | None) -> bool:
    """Whether torch's kernel is the one to train with. It gives no gradient to a bias that trains."""
    quicker = key.device.type != "cpu" or key.size(-2) >= LONG.get(key.dtype, 0)
    return quicker and not (mask is not None and mask.requires_grad)


def _packed(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    scale: float,
    dropout: float,
    window: int | None,
) -> Tensor:
    """Group by group: (1, heads, tokens, head size) -> (1, tokens, heads, head size)."""
    # split, not slices: the gradients of slices are each as large as the whole
    sizes = layout.sizes
    parts = zip(*(x[0].transpose(0, 1).split(sizes) for x in (query, key, value)), strict=True)
    found = []
    for group, part in zip(layout.groups, parts, strict=True):
        q, k, v = (x.unflatten(0, (group.count, group.length)).transpose(1, 2) for x in part)
        mask = group.mask
        if window is not None and group.length > window:
            local = _local(group.length, window, q)
            mask = local if mask is None else torch.minimum(mask, local)
        found.append(_attend(module, q, k, v, mask, scale, dropout).flatten(0, 1))
    return torch.cat(found).unsqueeze(0)


def _local(length: int, window: int, like: Tensor) -> Tensor:
    place = torch.arange(length, device=like.device)
    far = (place[:, None] - place[None, :]).abs() >= window
    return like.new_zeros(length, length).masked_fill_(far, torch.finfo(like.dtype).min)


def with_prefix(module: Any, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys, values and mask with the module's prefix in front."""
    prefix_key, prefix_value = module.prefix_key, module.prefix_value
    batch, length = key.size(0), prefix_key.size(1)
    key = torch.cat([prefix_key.expand(batch, -1, -1, -1), key], dim=2)
    value = torch.cat([prefix_value.expand(batch, -1, -1, -1), value], dim=2)
    if mask is not None:
        mask = F.pad(mask, (length, 0))
    return key, value, mask


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """transformers' additive mask; none of a packed row, whose layout says it."""
    return None if packing.active() is not None else eager_mask(*args, **kwargs)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _mask)
