"""The list of all methods. Each method is one file."""

from encoderlab.methods.adalora import AdaLora
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.bitfit import BitFit
from encoderlab.methods.dora import Dora
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.layernorm import LayerNorm
from encoderlab.methods.lora import Lora
from encoderlab.methods.lora_plus import LoraPlus
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.methods.qlora import Qlora

METHODS: tuple[type[Method], ...] = (
    Full,
    Head,
    Lora,
    LoraPlus,
    Dora,
    AdaLora,
    Qlora,
    Adapter,
    Prefix,
    Prompt,
    Ia3,
    BitFit,
    LayerNorm,
    Peft,
)
