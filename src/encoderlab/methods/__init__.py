"""How a backbone becomes trainable. One method, one file; `METHODS` is the only list."""

from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.bitfit import BitFit
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix

METHODS: tuple[type[Method], ...] = (Full, Head, Lora, Adapter, Prefix, Ia3, BitFit)

__all__ = ["Adapter", "BitFit", "Full", "Head", "Ia3", "Lora", "Method", "METHODS", "Prefix"]
