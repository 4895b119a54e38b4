r"""DoRA (Liu et al. 2024, arXiv:2402.09353): LoRA on the direction of each weight row, and a trained length.

    y = x W*' + b          W* = m (W + s B A) / ||W + s B A||          per output row; A: (rank, in)   B: (out, rank)

m starts as ||W|| and B at zero, so the model is unchanged at step 0. The gradient takes the norm for a constant
(section 4.3 of the paper): the same direction of training for less memory. In training, dropout acts on all of the
change, as in PEFT: with the scale c = m / ||W + s B A|| and x~ = dropout(x),

    y = x W' + b + (c - 1) x~ W' + c s (x~ A') B'

Merging is exact: W* is a plain weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoderlab.methods.lora import LoraLinear
from encoderlab.methods.low_rank import FixedRank
from encoderlab.model.prepacked_linear import linear


class DoraLinear(LoraLinear):
    """A linear layer with the weight W*. The parameter `lora_magnitude_vector` is m, (out,)."""

    def __init__(
        self, base: nn.Linear, rank: int, scale: float, dropout: nn.Module, generator: torch.Generator
    ) -> None:
        super().__init__(base, rank, scale, dropout, generator)
        self.lora_magnitude_vector = nn.Parameter(self.norm())

    @torch.no_grad()
    def norm(self) -> Tensor:
        """Return the row norms ||W + s B A||, (out,), in fp32.

        A norm rounded to bf16 would scale whole rows. Norms are never zero, so that a row of zeros, as in pruned
        encoders, stays a row of zeros.
        """
        norms = torch.linalg.vector_norm(self.weight + self.delta(), dim=1, dtype=torch.float32)
        return norms.clamp_min(torch.finfo(torch.float32).tiny)

    def tuned(self, x: Tensor) -> Tensor:
        c = self.lora_magnitude_vector / self.norm()
        dropped = self.lora_dropout(x)
        y = linear(x, self.weight)
        dropped_y = y if dropped is x else linear(dropped, self.weight)
        low = F.linear(F.linear(dropped, self.lora_A.weight), self.lora_B.weight * self.scale)
        y = y + (c - 1).to(x.dtype) * dropped_y + c.to(x.dtype) * low
        return y if self.bias is None else y + self.bias

    def whole(self) -> Tensor:
        c = self.lora_magnitude_vector / self.norm()
        return c[:, None] * (self.weight + self.delta())


@final
@dataclass(frozen=True, kw_only=True)
class Dora(FixedRank):
    """m (W + s B A) / ||W + s B A|| in place of chosen weights W."""

    name: Literal["dora"] = "dora"
    default_learning_rate: ClassVar[float] = 1e-3

    def wrap(self, base: nn.Linear, dropout: nn.Module, generator: torch.Generator) -> nn.Linear:
        return DoraLinear(base, self.rank, self.scale, dropout, generator)
