"""What several test files share with `test_methods`."""

from __future__ import annotations

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

CASES: list[Method] = [
    *(Full(), Head(), Lora(), Adapter(), Prefix()),
    Lora(rank=3, alpha=5, rslora=True, target=("query", "key", "value", "attention_out", "ffn_in", "ffn_out")),
    Lora(rank=2, layers="last"),
    Adapter(placement="houlsby", bottleneck=5, activation="gelu"),
    Adapter(placement="parallel", bottleneck=6),
    Prefix(length=3, layers=(0,)),
    Prompt(length=5),
    Prompt(length=3, placement="front"),
    Ia3(),
    Ia3(target=("key", "value", "attention_out"), layers="last"),
    BitFit(),
    LayerNorm(),
    Peft(type="LOHA", options={"r": 2}),
    LoraPlus(),
    Dora(),
    AdaLora(rank=2, target=("query", "ffn_out")),
    Qlora(),
    Qlora(rank=2, layers="last", double_quantization=False),
]
IN_PLACE = (BitFit, LayerNorm)  # these train tensors of the encoder and add none
REFUSED = {("bitfit", "modernbert")}  # pairs where `Method.problems` says why there is nothing to train
CHANGES_STEP_0 = (Prefix, Prompt, Qlora)  # what these insert is no identity; all others leave the model as it is
CLASSES = ["no", "maybe", "yes"]
