"""Published parameter counts, exactly. The configurations are the models' own; on the meta device no weight exists."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES

LINEARS = ("query", "key", "value", "attention_out", "ffn_in", "ffn_out")


def counts(family: str, method: Method, classes: int = 2) -> dict[str, int]:
    config = AutoConfig.for_model(family, num_labels=classes)
    words: Any = range(config.vocab_size)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
        made = EncoderModel(
            name=family,
            model=model,
            tokenizer=words,
            family=FAMILIES[family],
            newly_initialized=frozenset(),
            fingerprint="",
        )
        method.inject(made, 0)
    return made.counts()


@pytest.mark.parametrize(
    ("family", "method", "adapter"),
    [
        ("bert", Lora(), 294_912),  # Hu et al. 2021: 0.3 M
        ("bert", Lora(target=LINEARS), 1_327_104),  # Zhang et al. 2023, table 1: 1.33 M
        ("bert", Adapter(), 894_528),  # hidden / 16 = 48; Pfeiffer et al. 2020: 0.9 M
        ("bert", Adapter(placement="houlsby"), 1_789_056),
        ("bert", Prefix(length=30), 552_960),
        ("bert", Ia3(), 55_296),  # one vector each on keys, values and the feed-forward's inner width
        ("roberta", Lora(), 294_912),  # what the file of microsoft/LoRA holds
        ("distilbert", Lora(), 147_456),
    ],
    ids=repr,
)
def test_adapters_have_their_published_size(family: str, method: Method, adapter: int) -> None:
    assert counts(family, method)["adapter"] == adapter


def test_the_head_is_counted_apart() -> None:
    assert counts("distilbert", Lora())["head"] == 592_130
    assert counts("bert", Lora())["head"] == 1_538
    assert counts("roberta", Lora(), classes=3)["head"] == 592_899


def test_the_published_distilbert_run() -> None:
    """986,115 of 67,941,894 parameters = 1.4514 %, as peft prints it. Its total holds the head twice: the copy that
    trains, and the frozen one that it hides."""
    ours = counts("distilbert", Lora(rank=64, rslora=True, target=LINEARS[:4], layers=(5,)), classes=3)
    trained = ours["adapter"] + ours["head"]
    assert trained == 986_115
    assert ours["total"] == 67_348_995
    assert ours["total"] + ours["head"] == 67_941_894
    assert f"{trained / 67_941_894:.4%}" == "1.4514%"

    with torch.device("meta"):
        plain = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("distilbert", num_labels=3))
        lora = peft.LoraConfig(
            task_type="SEQ_CLS",
            r=64,
            use_rslora=True,
            target_modules=["q_lin", "k_lin", "v_lin", "out_lin"],
            layers_to_transform=[5],
        )
        theirs = peft.get_peft_model(plain, lora)
    assert theirs.get_nb_trainable_parameters() == (986_115, 67_941_894)
