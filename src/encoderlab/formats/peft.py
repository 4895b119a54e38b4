"""The folder of the `peft` library: adapter_config.json and adapter_model.safetensors, as plain
`PeftModel.from_pretrained` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from encoderlab.backbone import Backbone
from encoderlab.methods import Method


def refusal(backbone: Backbone, method: Method) -> str | None:
    """Why PEFT's format cannot hold this method (PEFT has none like it, or would compute another function); None where
    it can."""
    raise NotImplementedError


def write(backbone: Backbone, method: Method, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write the folder's two files. `backbone`: with the method in it, or as loaded; `tensors`: of the adapter file's
    names, the head's and the fresh ones among them. InputError with `refusal`'s reason."""
    raise NotImplementedError


def read(backbone: Backbone, folder: Path) -> tuple[Method, dict[str, Tensor]]:
    """The method of a folder that PEFT or `write` wrote, and its tensors under our names. `backbone`: the encoder it is
    for, under any head, without a method in it. InputError naming what is not supported."""
    raise NotImplementedError
