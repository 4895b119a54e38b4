"""Attention in written-out matrix products, and its gradient, for many groups of sequences at once.

    S = scale Q K' + mask    P = softmax(S)    D = P * kept    O = D V

    dV = D' dO    dP = (dO V') * kept    dS = P * (dP - rowsum(dP * P))    dQ = scale dS K    dK = scale dS' Q

`kept` is dropout's: 0, or 1 / (1 - p). Autograd would find the same gradient from a few dozen small steps a group; here
it is one step for all groups, and dropout's products run over all of them together. Torch's own kernel has no dropout
on a CPU, and its gradient is slow in bf16 on short sequences (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from encoderlab.model.dropout import DropoutRNG
from encoderlab.model.packing import Group

SMALL = 14_000  # scores of a group's head, below which attention in fp32 is the faster one in a bf16 model, on a CPU


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    groups: Sequence[Group],
    scale: float,
    *,
    prefix: tuple[Tensor, Tensor] | None = None,
    bias: Tensor | None = None,
    rng: DropoutRNG | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attend to each sequence of a packed row by itself.

    Args:
        query: (queries, heads, head size); one query a token, or equally many a sequence.
        key: (tokens, heads, head size), the sequences end to end.
        value: (tokens, heads, head size), likewise.
        groups: which sequences those are, in their order; masks are additive.
        scale: what the scores are multiplied with.
        prefix: keys and values that every token sees too, (heads, length, head size) each.
        bias: a mask that may train, for one group alone; its shape widens to (sequences, heads, queries, keys).
        rng: draws which attention weights are dropped; None: none are.
        dropout: the probability that a weight is dropped.

    Returns:
        The context of each query, (queries, heads, head size).
    """
    inner = precision(key, groups)
    seen = 0 if prefix is None else prefix[0].size(1)
    parts = list(_parts(groups, query, key, seen))
    if bias is not None and seen:
        bias = F.pad(bias, (seen, 0))
    kept = None
    if rng is not None and dropout > 0:
        kept = rng.mask(query.new_empty((), dtype=inner).expand(parts[-1].scores.stop), dropout)
    return _Attention.apply(query, key, value, *(prefix or (None, None)), bias, kept, parts, scale, inner)  # type: ignore[no-any-return]


def precision(key: Tensor, groups: Sequence[Group]) -> torch.dtype:
    """Choose the precision of the matrix products.

    A CPU builds a kernel for every shape of bf16 matrices, and each group has a shape of its own. Where groups are
    small, building takes longer than bf16 saves, so the products run in fp32.

    Args:
        key: (tokens, heads, head size), in the model's precision.
        groups: the groups of sequences.
    """
    if key.device.type != "cpu" or key.dtype != torch.bfloat16:
        return key.dtype
    scores = sum(group.count * group.length**2 for group in groups)
    return torch.float32 if scores < SMALL * len(groups) else key.dtype


def queries(groups: Sequence[Group], query: Tensor, key: Tensor) -> list[int]:
    """Return the number of queries of each group.

    Args:
        groups: the groups of sequences.
        query: (queries, heads, head size); one query a token, or equally many a sequence.
        key: (tokens, heads, head size).
    """
    if query.size(0) == key.size(0):
        return [group.tokens for group in groups]
    each = query.size(0) // sum(group.count for group in groups)
    return [group.count * each for group in groups]


@final
@dataclass(frozen=True)
class _Part:
    """Where a group's queries, keys and scores lie in the flat tensors.

    Attributes:
        count: sequences of the group.
        heads: attention heads.
        queries: the group's rows of all queries.
        keys: the group's rows of all keys and values.
        scores: the group's elements of all scores.
        mask: additive, (sequences, 1, 1, prefix + length) or wider; None: no padding.
    """

    count: int
    heads: int
    queries: slice
    keys: slice
    scores: slice
    mask: Tensor | None

    def square(self, flat: Tensor) -> Tensor:
        """View the group's scores, (all scores,) -> (sequences x heads, queries, keys)."""
        asked = (self.queries.stop - self.queries.start) // self.count
        return flat[self.scores].view(self.count * self.heads, asked, -1)

    def matrices(self, x: Tensor, where: slice, dtype: torch.dtype) -> Tensor:
        """Copy the group's rows, (all tokens, heads, head size) -> (sequences, heads, tokens, head size)."""
        own = x[where].unflatten(0, (self.count, -1)).transpose(1, 2)
        return torch.empty(own.shape, dtype=dtype, device=x.device).copy_(own)

    def put(self, into: Tensor, where: slice, found: Tensor) -> None:
        """Write the group's rows back: `found`, (sequences x heads, tokens, head size), into (all tokens, ...)."""
        into[where].unflatten(0, (self.count, -1)).transpose(1, 2).copy_(found.unflatten(0, (self.count, -1)))


def _parts(groups: Sequence[Group], query: Tensor, key: Tensor, seen: int) -> Iterator[_Part]:
    """Find each group's place in the flat tensors. seen: tokens of the prefix, which every query sees as well."""
    asked = there = pairs = 0
    for group, asking in zip(groups, queries(groups, query, key), strict=True):
        size = key.size(1) * asking * (group.length + seen)
        mask = group.mask if group.mask is None or not seen else F.pad(group.mask, (seen, 0))
        yield _Part(
            group.count,
            key.size(1),
            slice(asked, asked + asking),
            slice(there, there + group.tokens),
            slice(pairs, pairs + size),
            mask,
        )
        asked, there, pairs = asked + asking, there + group.tokens, pairs + size


class _Attention(torch.autograd.Function):
    """The products of the module's docstring and their gradient, as one step of autograd."""

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd passes every argument by position)
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        prefix_key: Tensor | None,
        prefix_value: Tensor | None,
        bias: Tensor | None,
        kept: Tensor | None,
        parts: Sequence[_Part],
        scale: float,
        inner: torch.dtype,
    ) -> Tensor:
        # The scores of all groups lie in one flat tensor, (sum of sequences x heads x queries x keys,), so that dropout
        # is one product. `part.square` is the view of one group, (sequences x heads, queries, keys).
        weights = query.new_empty(parts[-1].scores.stop, dtype=inner)
        scores = torch.empty_like(weights)
        inputs = []
        for part in parts:
            # q: (sequences, heads, queries, head size); k, v: (sequences, heads, prefix + length, head size)
            q = part.matrices(query, part.queries, inner)
            k, v = (
                behind(prefix, part.matrices(x, part.keys, inner))
                for prefix, x in ((prefix_key, key), (prefix_value, value))
            )
            q, k, v = (x.flatten(0, 1) for x in (q, k, v))  # (sequences x heads, ...), as batched products take them
            square = part.square(scores)  # S = scale Q K' + mask
            torch.baddbmm(square, q, k.transpose(1, 2), beta=0, alpha=scale, out=square)
            for mask in (part.mask, bias):
                if mask is not None:
                    square.unflatten(0, (part.count, part.heads)).add_(mask.to(inner))
            torch.softmax(square, -1, out=part.square(weights))
            inputs += [q, k, v]
        # D = P * kept. The scores are no longer needed, so their memory holds it.
        dropped = weights if kept is None else torch.mul(weights, kept, out=scores)
        context = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        for part, v in zip(parts, inputs[2::3], strict=True):  # O = D V
            part.put(context, part.queries, torch.bmm(part.square(dropped), v))
        ctx.save_for_backward(weights, kept, *inputs)
        ctx.parts, ctx.scale = parts, scale
        ctx.shapes = [None if x is None else (x.shape, x.dtype) for x in (query, key, prefix_key, bias)]
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        weights, kept, *inputs = ctx.saved_tensors
        parts, needed = ctx.parts, ctx.needs_input_grad
        asked, there, prefixed, biased = ctx.shapes
        # D anew: to keep it would take as much memory again as P.
        dropped = weights if kept is None else weights * kept
        d_weights = torch.empty_like(weights)
        d_query, d_key, d_value = (grads[0].new_empty(shape, dtype=dtype) for shape, dtype in (asked, there, there))
        d_prefix = [None if prefixed is None else weights.new_zeros(prefixed[0]) for _ in range(2)]
        d_bias = None
        # First the values' side of every group: dV = D' dO, and dO V', the gradient of D.
        for part, v in zip(parts, inputs[2::3], strict=True):
            grad = part.matrices(grads[0], part.queries, weights.dtype).flatten(0, 1)  # dO of the group, as q
            torch.bmm(grad, v.transpose(1, 2), out=part.square(d_weights))
            if needed[2] or prefixed is not None:
                # (sequences x heads, prefix + length, head size); the prefix's rows are summed over the sequences
                found = torch.bmm(part.square(dropped).transpose(1, 2), grad)
                part.put(d_value, part.keys, _apart(found, part.count, d_prefix[1]))
        # dP = (dO V') * kept, over all groups at once.
        if kept is not None:
            d_weights *= kept
        # Then the scores' side: dS = P * (dP - rowsum(dP * P)), dQ = scale dS K, dK = scale dS' Q.
        for part, q, k in zip(parts, inputs[::3], inputs[1::3], strict=True):
            square = part.square(weights)
            d_scores = torch.ops.aten._softmax_backward_data(part.square(d_weights), square, -1, square.dtype)
            if needed[0]:
                found = torch.baddbmm(q, d_scores, k, beta=0, alpha=ctx.scale)
                part.put(d_query, part.queries, found)
            if needed[1] or prefixed is not None:
                found = torch.baddbmm(k, d_scores.transpose(1, 2), q, beta=0, alpha=ctx.scale)
                part.put(d_key, part.keys, _apart(found, part.count, d_prefix[0]))
            # The scores' gradient is the bias's own, summed where the bias was widened.
            if needed[5] and biased is not None:
                d_bias = d_scores.unflatten(0, (part.count, part.heads)).sum_to_size(biased[0]).to(biased[1])
        if prefixed is not None:
            d_prefix = [x.to(prefixed[1]) for x in d_prefix if x is not None]
        d_inputs = (x if wanted else None for x, wanted in zip((d_query, d_key, d_value), needed, strict=False))
        return *d_inputs, *d_prefix, d_bias, None, None, None, None


def behind(prefix: Tensor | None, x: Tensor) -> Tensor:
    """Put a prefix in front of each sequence's tokens.

    Args:
        prefix: (heads, length, head size); None: there is none.
        x: (sequences, heads, tokens, head size).

    Returns:
        (sequences, heads, length + tokens, head size).
    """
    return x if prefix is None else torch.cat([prefix.to(x.dtype).expand(x.size(0), -1, -1, -1), x], dim=2)


def _apart(found: Tensor, count: int, prefix: Tensor | None) -> Tensor:
    """Split the prefix's gradient from the tokens'.

    found: (sequences x heads, length + tokens, head size). prefix: (heads, length, head size); the part of the prefix,
    summed over the `count` sequences, is added to it. Returns the part of the tokens.
    """
    if prefix is None:
        return found
    seen = prefix.size(1)
    prefix += found[:, :seen].unflatten(0, (count, -1)).sum(0)
    return found[:, seen:]
