"""Write tensors to a safetensors file atomically."""
# safetensors annotates a path as `PathLike` without its type argument, which leaves `save_file` partly unknown.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from encoderlab.core.files import write_atomically


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, in any device's memory, to a safetensors file.

    Args:
        path: the file.
        tensors: the tensors by name.
        metadata: texts for the header of the file.

    Raises:
        InputError: the disk is full, or the folder is not writable.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda beside: save_file(whole, beside, dict(metadata or {})))
