"""The folder of the `adapters` library (Poth et al. 2023, arXiv:2311.11077): adapter_config.json, the adapter's
weights, and a head's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from encoderlab.backbone import Backbone
from encoderlab.methods import Method


def refusal(backbone: Backbone, method: Method) -> str | None:
    """Why the library's format cannot hold this method on this family; None where it can."""
    raise NotImplementedError


def write(
    backbone: Backbone, method: Method, tensors: Mapping[str, Tensor], folder: Path, name: str = "encoderlab"
) -> None:
    """Write the folder; `name`: what the library calls the adapter. `tensors`: of the adapter file's names.
    InputError with `refusal`'s reason."""
    raise NotImplementedError


def read(backbone: Backbone, folder: Path) -> tuple[Method, dict[str, Tensor]]:
    """The method of a folder, and its tensors under our names, the head's too where there is a head file. InputError
    naming what is not supported."""
    raise NotImplementedError
