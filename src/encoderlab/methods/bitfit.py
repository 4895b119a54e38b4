"""BitFit (Ben Zaken et al. 2022, arXiv:2106.10199): the encoder's bias vectors train, its weights stay.

    y = W x + b,   LN(x) = g * x^ + b          every b trains; W and g are frozen

Nothing is added, so there is nothing to merge and inference costs what it cost before. On BERT-base it trains 102,912
values (0.09 %), those of the LayerNorms and of the pooler included, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel


@final
@dataclass(frozen=True, kw_only=True)
class BitFit(Method):
    """All bias vectors of the encoder train, whatever layer they belong to."""

    name: Literal["bitfit"] = "bitfit"
    # The upper end of what the paper searches for BERT-base (1e-4 to 1e-3): our runs are shorter than its.
    default_learning_rate: ClassVar[float] = 1e-3

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        for name, parameter in encoder.base_model.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.requires_grad_(True)

    def problems(self, encoder: EncoderModel) -> list[str]:
        names = (name for layer in encoder.layers() for name, _ in layer.named_parameters())
        if any(name.rpartition(".")[2] == "bias" for name in names):
            return []
        return [
            f"the layers of {encoder.name} have no bias vectors (it was built and pretrained without them), so there "
            "is nothing for BitFit to train; use lora or ia3, which need none"
        ]
