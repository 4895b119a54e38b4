"""Linear probe: freeze the encoder and train the head, which shows what the pretrained features alone achieve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel


@final
@dataclass(frozen=True, kw_only=True)
class Head(Method):
    """y = head(encoder(x)), the encoder fixed (a linear probe: Alain & Bengio 2016, arXiv:1610.01644)."""

    name: Literal["head"] = "head"
    default_learning_rate: ClassVar[float] = 3e-3

    def problems(self, encoder: EncoderModel) -> list[str]:
        if encoder.frozen_head and not encoder.newly_initialized:
            return ["nothing would train: the head of a masked-lm checkpoint is pretrained and stays frozen"]
        return []

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        """Add nothing: the head trains under every method."""
