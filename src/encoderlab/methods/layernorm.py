"""LayerNorm tuning (Qi et al. 2022, arXiv:2211.08682): train the gain and the bias of every LayerNorm.

    LN(x) = g * x^ + b          every g and b trains; the rest of the encoder is frozen

Zhao et al. 2023 (arXiv:2312.11420) tune multimodal language models in the same way. Nothing is added, so there is
nothing to merge, and inference costs as much as before. A LayerNorm without bias trains its gain. BERT-base has 25
LayerNorms (two per layer, one behind the embeddings) of 2 * 768 values each: 38,400 trained values, or 0.035 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import nn

from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel


@final
@dataclass(frozen=True, kw_only=True)
class LayerNorm(Method):
    """Train every LayerNorm of the encoder, including that of the embeddings."""

    name: Literal["layernorm"] = "layernorm"
    # The rate of BitFit, for the same reason: short runs of few values. No paper is known to have searched it for BERT.
    default_learning_rate: ClassVar[float] = 1e-3

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        for module in encoder.base_model.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
