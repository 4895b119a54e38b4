"""The attention every backbone runs: softmax(Q K' / sqrt(d)) V, with a learned prefix in front of K and V where a
method put one.

Registered with transformers under the name `encoderlab`, so that the families' own modules call it. Written out in
matrix products because the backward pass of torch's CPU kernel for scaled-dot-product attention is several times
slower than these. Without gradients that kernel is the faster one, so inference uses it.

A module may carry `prefix_key`, `prefix_value` of shape (heads, length, head size) and `noise` (a `Noise`). Positions
and the mask's own columns are untouched by a prefix: it is seen by every token, and all of the model's positions stay
usable.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

NAME = "encoderlab"


def attention(
    module: Any,  # the family's attention module; what it may carry is said above
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, None]:
    """query, key, value: (batch, heads, tokens, head size); mask: None, or additive and of a shape that
    widens to (batch, heads, tokens, tokens). A bias of the scores is part of it.

    Returns the context as (batch, tokens, heads, head size), and no weights.
    """
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    prefix = getattr(module, "prefix_key", None)
    if prefix is not None:
        key, value, attention_mask = _with_prefix(module, key, value, attention_mask)
    if not torch.is_grad_enabled() and dropout == 0:
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scale)
    else:
        scores = torch.matmul(query * scale, key.transpose(2, 3))
        if attention_mask is not None:
            scores = scores + attention_mask
        weights = torch.softmax(scores, dim=-1)
        if dropout > 0:
            weights = weights * module.noise.mask(weights, dropout)
        context = torch.matmul(weights, value)
    return context.transpose(1, 2).contiguous(), None


def _with_prefix(module: Any, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    prefix_key, prefix_value = module.prefix_key, module.prefix_value
    batch, length = key.size(0), prefix_key.size(1)
    key = torch.cat([prefix_key.expand(batch, -1, -1, -1), key], dim=2)
    value = torch.cat([prefix_value.expand(batch, -1, -1, -1), value], dim=2)
    if mask is not None:
        mask = F.pad(mask, (length, 0))
    return key, value, mask


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, eager_mask)
