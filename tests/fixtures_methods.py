"""What several test files share with `test_methods`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification

from encoderlab.adapters import folder as adapters
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
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES

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


HEAD = "AutoModelForSequenceClassification"


def load_in_place(folder: Path, seed: int = 0) -> EncoderModel:
    """A tiny model with a head for two classes, without dropout."""
    made = load.load(str(folder), head=HEAD, class_names=["no", "yes"], seed=seed)
    made.model.eval()
    return made


def saved_and_loaded(method: Method, model: Path, folder: Path) -> Mapping[str, Tensor]:
    """Save random values of a method that trains in place. What loads them has the same logits. Gives the tensors."""
    made = load_in_place(model)
    method.inject(made, 0)
    generator = torch.Generator().manual_seed(0)
    for _, parameter in made.trainable():
        parameter.data.normal_(generator=generator)
    tensors = adapters.adapter_tensors(made)
    adapters.save(made, method, tensors, folder)
    loaded = load_in_place(model, seed=5)
    assert adapters.load_adapter(loaded, folder) == method
    batch = made.tokenizer(["a good film", "bad"], padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(loaded.model(**batch).logits, made.model(**batch).logits)
    return tensors


def trained_on_bert_base(method: Method) -> int:
    """How many values the method trains in a model of the size of BERT-base, which takes no memory."""
    config = AutoConfig.for_model("bert", vocab_size=30, num_labels=2)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    made = EncoderModel(
        name="bert", model=model, tokenizer=None, family=FAMILIES["bert"], newly_initialized=frozenset(), fingerprint=""
    )
    method.inject(made, 0)
    return made.counts()["adapter"]
