"""Full fine-tuning: train every weight of the encoder and of the head. The other methods are compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel


@final
@dataclass(frozen=True, kw_only=True)
class Full(Method):
    """W <- W - step, for every W (Devlin et al. 2019, arXiv:1810.04805, section 4)."""

    name: Literal["full"] = "full"
    default_learning_rate: ClassVar[float] = 5e-5

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        encoder.model.requires_grad_(True)
