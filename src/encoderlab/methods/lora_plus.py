r"""LoRA+ (Hayou et al. 2024, arXiv:2402.12354): LoRA whose B trains faster than its A.

    y = x W' + b + s (x A') B'          learning rate of B = ratio x learning rate of A

B starts at zero and A does not. In a wide layer a single rate is too slow for B or too fast for A. The paper derives
that the ratio of the two rates must grow with the width, and recommends 16. `learning_rate` is the rate of A and of
the head.

The default rate is that of LoRA divided by sqrt(16): A trains at a quarter of it and B at four times it. The first
change of B A is proportional to the product of the two rates, so it has the size that LoRA gives it. On the sentences
of the demo, the best rates of LoRA (3e-3) and of LoRA+ (8e-4) have this ratio, and so have the rates at which they
diverge.
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

    def rate_factors(self, encoder: EncoderModel) -> dict[str, float]:
        layers = (name for name, module in encoder.model.named_modules() if isinstance(module, LoraLinear))
        return {f"{name}.lora_B.weight": self.ratio for name in layers}

    def problems(self, encoder: EncoderModel) -> list[str]:
        problems = super().problems(encoder)
        if not (self.ratio > 0 and math.isfinite(self.ratio)):
            problems.append(f"ratio = {self.ratio}: expected a number above 0, such as 16 (1 is plain LoRA)")
        return problems
