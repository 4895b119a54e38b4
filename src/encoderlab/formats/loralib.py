"""The .bin of microsoft/LoRA: a pickled state dict of LoRA's matrices and the head. It holds no config."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from encoderlab.backbone import Backbone
from encoderlab.methods import Lora


def read(backbone: Backbone, path: Path, alpha: float = 16.0) -> tuple[Lora, dict[str, Tensor]]:
    """The method, its rank taken from the shapes, and the tensors under our names. `alpha` is not in the file: 16 is
    what the GLUE scripts of that repository train with. InputError for anything but LoRA's matrices and a head."""
    raise NotImplementedError
