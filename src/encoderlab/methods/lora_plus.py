r"""LoRA+ (Hayou et al. 2024, arXiv:2402.12354): LoRA whose B trains faster than its A.

    y = x W' + b + s (x A') B'          learning rate of B = ratio x learning rate of A

B starts at zero and A does not, and in a wide layer one rate for both is too slow for B or too fast for A: the paper
derives that B's has to grow with the width relative to A's, and recommends a ratio of 16. `learning_rate` is A's and
the head's.

The default rate is LoRA's divided by sqrt(16): A at a quarter and B at four times LoRA's own rate, so that the first
change of B A, which goes with the product of the two rates, has LoRA's size. On the demo's sentences the best rate of
LoRA, 3e-3, and the best of LoRA+, 8e-4, stand in this relation, and so do the rates at which they diverge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from torch import nn

from encoderlab.core.types import Doc
from encoderlab.methods.lora import LoraLinear
from encoderlab.methods.low_rank import FixedRank
from encoderlab.model.encoder import EncoderModel


@final
@dataclass(frozen=True, kw_only=True)
class LoraPlus(FixedRank):
    """LoRA with a higher learning rate for B."""

    name: Literal["lora_plus"] = "lora_plus"
    ratio: Annotated[float, Doc("ratio of the learning rate of B to that of A")] = 16.0
    default_learning_rate: ClassVar[float] = 2.5e-4

    def wrap(self, base: nn.Linear, dropout: nn.Module, generator: torch.Generator) -> nn.Linear:
        return LoraLinear(base, self.rank, self.scale, dropout, generator)

    def rate_factors(self, backbone: EncoderModel) -> dict[str, float]:
        layers = (name for name, module in backbone.model.named_modules() if isinstance(module, LoraLinear))
        return {f"{name}.lora_B.weight": self.ratio for name in layers}

    def problems(self, backbone: EncoderModel) -> list[str]:
        found = super().problems(backbone)
        if not (self.ratio > 0 and math.isfinite(self.ratio)):
            found.append(f"ratio = {self.ratio}: expected a number above 0, such as 16 (1 is plain LoRA)")
        return found
