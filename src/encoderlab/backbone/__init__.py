"""The name that model cards written by earlier versions import `load` from; use `encoderlab.model.load`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoderlab.model.encoder import EncoderModel
    from encoderlab.model.encoder import EncoderModel as Backbone
    from encoderlab.model.load import load

__all__ = ["Backbone", "EncoderModel", "load"]


def __getattr__(name: str) -> Any:  # importing the package imports no torch
    if name == "load":
        from encoderlab.model.load import load

        return load
    if name in __all__:
        from encoderlab.model.encoder import EncoderModel

        return EncoderModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
