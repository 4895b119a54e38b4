r"""LoRA (Hu et al. 2021, arXiv:2106.09685): a low-rank change beside a frozen linear layer.

    y = x W' + b + s (x A') B'          A: (rank, in)   B: (out, rank)

    s = alpha / rank, or alpha / sqrt(rank) with rslora (Kalajdzievski 2023, arXiv:2312.03732)

A starts random (Kaiming-uniform with a = sqrt(5), as the paper's code), B at zero: at step 0 the model is unchanged.
Merging is exact: W + s B A is the same function, and costs nothing at inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from encoderlab.methods.low_rank import FixedRank, LowRankLinear
from encoderlab.model.prepacked_linear import with_low_rank


class LoraLinear(LowRankLinear):
    """A linear layer with the change s B A."""

    def __init__(
        self, base: nn.Linear, rank: int, scale: float, dropout: nn.Module, generator: torch.Generator
    ) -> None:
        super().__init__(base, dropout)
        self.scale = scale
        self.lora_A, self.lora_B = lora_pair(base, rank, generator)

    def tuned(self, x: Tensor) -> Tensor:
        a, b = self.lora_A.weight, self.lora_B.weight * self.scale
        return with_low_rank(x, self.weight, self.bias, self.lora_dropout(x), a, b)

    def delta(self) -> Tensor:
        """Return the change s B A, (out, in)."""
        return self.scale * (self.lora_B.weight @ self.lora_A.weight)

    def whole(self) -> Tensor:
        return self.weight + self.delta()


def lora_pair(base: nn.Linear, rank: int, generator: torch.Generator) -> tuple[nn.Linear, nn.Linear]:
    """Return A, initialized at random, and B, initialized at zero, for a layer."""
    a = nn.Linear(base.in_features, rank, bias=False)
    b = nn.Linear(rank, base.out_features, bias=False)
    with torch.no_grad():
        bound = 1 / math.sqrt(base.in_features)
        a.weight.uniform_(-bound, bound, generator=generator)
        b.weight.zero_()
    return a, b


@final
@dataclass(frozen=True, kw_only=True)
class Lora(FixedRank):
    """W + s B A beside chosen linear layers."""

    name: Literal["lora"] = "lora"
    default_learning_rate: ClassVar[float] = 1e-3

    def wrap(self, base: nn.Linear, dropout: nn.Module, generator: torch.Generator) -> nn.Linear:
        return LoraLinear(base, self.rank, self.scale, dropout, generator)
