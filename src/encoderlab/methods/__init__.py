"""How a backbone becomes trainable. One method, one file; `METHODS` is the only list."""

from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix

METHODS: tuple[type[Method], ...] = (Full, Head, Lora, Adapter, Prefix)

__all__ = ["METHODS", "Adapter", "Full", "Head", "Lora", "Method", "Prefix"]
