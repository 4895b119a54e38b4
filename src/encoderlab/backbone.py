"""The name that model cards written by earlier versions import `load` from; use `encoderlab.model.load`."""

from encoderlab.model.encoder import EncoderModel
from encoderlab.model.load import load

Backbone = EncoderModel

__all__ = ["Backbone", "EncoderModel", "load"]
