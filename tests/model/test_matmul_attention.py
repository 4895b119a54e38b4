"""Attention in written-out products: its gradient against finite differences, and both against autograd's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from encoderlab.model import matmul_attention
from encoderlab.model.dropout import DropoutRNG
from encoderlab.model.packing import Group

HEADS, SIZE = 3, 4
PADDED = torch.zeros(2, 1, 1, 5, dtype=torch.float64)
PADDED[1, ..., 3:] = -1e9
GROUPS = (Group(2, 5, PADDED), Group(3, 2, None), Group(1, 1, None))


class Same(DropoutRNG):
    """Draws the same in every call, as finite differences need it."""

    def __init__(self) -> None:
        super().__init__(3)

    def mask(self, like: Tensor, p: float) -> Tensor:
        return DropoutRNG(3).mask(like, p)


def drawn(*sizes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def plain(query: Tensor, key: Tensor, value: Tensor, groups, scale: float, prefix=None, kept: Tensor | None = None):
    """Sequence by sequence, head by head."""
    found, asked, there, used = [], 0, 0, 0
    for group in groups:
        asking = 1 if query.size(0) != key.size(0) else group.length
        seen = 0 if prefix is None else prefix[0].size(1)
        for i in range(group.count):
            heads = []
            for head in range(query.size(1)):
                q = query[asked : asked + asking, head]
                k, v = (x[there : there + group.length, head] for x in (key, value))
                if prefix is not None:
                    k, v = torch.cat([prefix[0][head], k]), torch.cat([prefix[1][head], v])
                scores = scale * q @ k.T
                if group.mask is not None:
                    scores = scores + F.pad(group.mask[i, 0], (seen, 0))
                weights = scores.softmax(-1)
                if kept is not None:
                    weights = weights * kept[used : used + weights.numel()].view_as(weights)
                    used += weights.numel()
                heads.append(weights @ v)
            found.append(torch.stack(heads, 1))
            asked, there = asked + asking, there + group.length
    return torch.cat(found)


TOKENS = sum(group.count * group.length for group in GROUPS)
SEQUENCES = sum(group.count for group in GROUPS)


@pytest.mark.parametrize("asking", [TOKENS, SEQUENCES], ids=["every token", "first tokens"])
@pytest.mark.parametrize("prefixed", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_context_and_gradient(asking: int, prefixed: bool, dropout: float) -> None:
    prefix = (drawn(HEADS, 2, SIZE), drawn(HEADS, 2, SIZE)) if prefixed else ()
    inputs = (drawn(asking, HEADS, SIZE), drawn(TOKENS, HEADS, SIZE), drawn(TOKENS, HEADS, SIZE), *prefix)

    def attend(query: Tensor, key: Tensor, value: Tensor, *prefix: Tensor) -> Tensor:
        pair = (prefix[0], prefix[1]) if prefix else None
        return matmul_attention.attend(query, key, value, GROUPS, 0.7, prefix=pair, rng=Same(), dropout=dropout)

    lengths = [(g, (1 if asking == SEQUENCES else g.length) * (g.length + 2 * prefixed)) for g in GROUPS]
    pairs = HEADS * sum(group.count * size for group, size in lengths)
    kept = Same().mask(torch.empty(pairs, dtype=torch.float64), dropout) if dropout else None
    slow = plain(*inputs[:3], GROUPS, 0.7, prefix or None, kept)
    torch.testing.assert_close(attend(*inputs), slow, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(attend, inputs)


@pytest.mark.parametrize("shape", [(4, HEADS, 4, 4), (1, HEADS, 4, 4), (4, 1, 1, 4)])
def test_a_bias_trains(shape: tuple[int, ...]) -> None:
    inputs = (*(drawn(16, HEADS, SIZE) for _ in range(3)), drawn(*shape))
    groups = (Group(4, 4, None),)
    assert torch.autograd.gradcheck(lambda q, k, v, b: matmul_attention.attend(q, k, v, groups, 0.5, bias=b), inputs)


def test_what_is_frozen_gets_no_gradient() -> None:
    query, key, value = (drawn(TOKENS, HEADS, SIZE) for _ in range(3))
    matmul_attention.attend(query, key.detach(), value.detach(), GROUPS, 0.5).square().sum().backward()
    alone = query.grad
    query.grad = None
    matmul_attention.attend(query, key, value, GROUPS, 0.5).square().sum().backward()
    assert alone is not None and query.grad is not None and torch.equal(alone, query.grad)


def test_short_sequences_of_a_bf16_model_are_attended_in_fp32() -> None:
    length = math.isqrt(matmul_attention.SMALL // 2)
    short, long = (Group(2, one, None) for one in (length, length + 1))
    key = torch.empty(1, dtype=torch.bfloat16)
    assert (
        matmul_attention.precision(key, [short]) == torch.float32
        and matmul_attention.precision(key, [long]) == torch.bfloat16
    )
    assert matmul_attention.precision(key, [long, short, short]) == torch.float32  # on average
    assert matmul_attention.precision(key.float(), [long]) == torch.float32
    for group in (short, long):
        exact = [drawn(2 * group.length, HEADS, 8, dtype=torch.float32) for _ in range(3)]
        rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
        found = []
        for inputs in (exact, rounded):
            query, key, value = inputs
            context = matmul_attention.attend(query, key, value, [group], 0.3)
            context.square().sum().backward()
            found.append([context, *(x.grad for x in inputs)])
        for one, other in zip(*found, strict=True):
            assert other.dtype == torch.bfloat16
            assert (one - other).abs().max() < 0.03 * one.abs().max()
