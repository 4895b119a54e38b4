"""Check that the method in an adapter folder is valid and belongs to the tensors of the folder."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from encoderlab.core.types import fits, show, types, words
from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel

SIZES = ("length", "bottleneck")  # settings that are a size of the tensors


def problems(encoder: EncoderModel, method: Method, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the problems with a method that a file describes, and with its tensors, one line each."""
    settings: dict[str, object] = {key: getattr(method, key) for key in types(type(method))}
    kinds = types(type(method))
    if wrong := [key for key, value in settings.items() if not fits(kinds[key], value)]:
        return [f"{key} = {show(settings[key])}: expected {words(kinds[key])}" for key in wrong]
    if problems := method.problems(encoder):
        return problems
    sizes = {size for tensor in tensors.values() for size in tensor.shape}
    return [
        f"{key} = {settings[key]}: none of its tensors has this size; its files do not belong together"
        for key in SIZES
        if key in settings and settings[key] not in sizes
    ]
