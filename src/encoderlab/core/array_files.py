"""Read and write NumPy arrays in safetensors files. torch is not needed."""
# safetensors annotates a path as `PathLike` without its type argument, which leaves its functions partly unknown.
# `safe_open` has no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from encoderlab.core.files import write_atomically


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, str] | None = None) -> None:
    """Write arrays to a safetensors file atomically.

    Args:
        path: the file.
        arrays: the arrays by name.
        about: the metadata.

    Raises:
        InputError: the disk is full, or the folder is not writable.
    """
    metadata = None if about is None else dict(about)
    write_atomically(path, lambda beside: save_file(dict(arrays), beside, metadata=metadata))


def load_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """Read all arrays of a safetensors file, by name.

    Raises:
        OSError: the file is missing or cannot be read.
        SafetensorError: the file is not a whole safetensors file.
    """
    return load_file(path)


def read_about(path: Path) -> Mapping[str, str]:
    """Read the metadata of a safetensors file. They are empty if it has none.

    Raises:
        OSError: the file is missing or cannot be read.
        SafetensorError: the file is not a safetensors file.
    """
    with safe_open(path, framework="np") as file:
        about: Mapping[str, str] | None = file.metadata()
    return about or {}
