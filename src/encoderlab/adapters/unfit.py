"""What an adapter folder says of its method, held to what such a method can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from encoderlab.core.types import fits, show, types, words
from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel

SIZES = ("length", "bottleneck")  # settings that are a size of the tensors themselves


def problems(encoder: EncoderModel, method: Method, tensors: Mapping[str, Tensor]) -> list[str]:
    """Say why a method that a file describes is none, or is not that of its tensors; one line each."""
    settings: dict[str, Any] = {key: getattr(method, key) for key in types(type(method))}
    kinds = types(type(method))
    if wrong := [key for key, value in settings.items() if not fits(kinds[key], value)]:
        return [f"{key} = {show(settings[key])}: expected {words(kinds[key])}" for key in wrong]
    if found := method.problems(encoder):
        return found
    sizes = {size for tensor in tensors.values() for size in tensor.shape}
    return [
        f"{key} = {settings[key]}: none of its tensors has this size; its files do not belong together"
        for key in SIZES
        if key in settings and settings[key] not in sizes
    ]
