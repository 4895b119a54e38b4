"""BitFit (Ben Zaken et al. 2022, arXiv:2106.10199): train the bias vectors of the encoder, freeze its weights.

    y = W x + b,   LN(x) = g * x^ + b          every b trains; W and g are frozen

Nothing is added, so there is nothing to merge, and inference costs as much as before. On BERT-base it trains 102,912
values (0.09 %), including those of the LayerNorms and of the pooler, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel


@final
@dataclass(frozen=True, kw_only=True)
class BitFit(Method):
    """Train every bias vector of the encoder."""

    name: Literal["bitfit"] = "bitfit"
    # The upper end of the paper's search for BERT-base (1e-4 to 1e-3), because our runs are shorter.
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
