"""Convert methods to configs of PEFT and back, and tensors that have another shape in PEFT.

LORA            lora (with rslora), lora_plus, qlora, dora: A (rank, in), B (out, rank); scale alpha/r or alpha/sqrt(r)
ADALORA         adalora: A, E, B of the surviving ranks; scale alpha/init_r, whatever survives
IA3             ia3: a vector per module: on its outputs, or on its inputs if `feedforward_modules` names it
PREFIX_TUNING   prefix: (length, layers x (key, value) x heads x head size), one tensor for all layers
PROMPT_TUNING   prompt: (length, embedding size)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from encoderlab.adapters.peft_adalora import adalora_fields, read_adalora
from encoderlab.adapters.peft_ia3 import ia3_fields, ia3_whole, read_ia3
from encoderlab.adapters.peft_lora import lora_fields, read_lora
from encoderlab.adapters.peft_prompt import PROMPT, joined, prompt_fields, split
from encoderlab.methods.adalora import AdaLora
from encoderlab.methods.base import Method
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.layernorm import LayerNorm
from encoderlab.methods.low_rank import FixedRank
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model.encoder import EncoderModel

INSERTED = re.compile(r"(^|\.)(lora_\w+(\.weight|\.bias)?|ia3_l|prefix_key|prefix_value|prompt_embeddings)$")
PROMPTS = ("PREFIX_TUNING", "PROMPT_TUNING")


def is_inserted(name: str) -> bool:
    """Return whether a tensor belongs to a method, and not to a module of the model."""
    return INSERTED.search(name) is not None


def is_prompt(peft_type: str) -> bool:
    """Return whether PEFT keeps the tensors of a type beside the model, and not inside its modules."""
    return peft_type in PROMPTS


def refusal(encoder: EncoderModel, method: Method) -> str | None:
    """Return why the format of PEFT cannot hold this method; None if it can."""
    match method:
        case FixedRank() | AdaLora() | Ia3():
            return None
        case Prompt(placement=placement):
            if placement != "front":
                return 'PEFT puts the virtual tokens in front of [CLS]; this prompt has placement = "after_cls"'
        case Prefix():
            return _refusal_of_prefix(encoder, method)
        case LayerNorm():
            return 'PEFT\'s LN_TUNING is written by the method name = "peft" with type = "LN_TUNING"'
        case _:
            return f"PEFT has no method like {method.name!r}"
    return None


def _refusal_of_prefix(encoder: EncoderModel, prefix: Prefix) -> str | None:
    """Return why PEFT cannot hold or run this prefix; None if it can."""
    if not prefix.shift_positions:
        return "PEFT counts a prefix among the positions; this one does not (shift_positions = false)"
    if prefix.layers != "all":
        return "PEFT's prefix always covers all layers"
    if len(encoder.layer_paths()) != encoder.model.config.num_hidden_layers:
        return "PEFT's prefix has separate keys for every layer, but the layers of this model share their weights"
    if "past_key_values" not in inspect.signature(encoder.base_model.forward).parameters:
        return f"PEFT's prefix does not run on the family {encoder.model.config.model_type!r}"
    return None


def to_peft_config(
    encoder: EncoderModel, method: Method, inserted: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the fields of PEFT's config, and the tensors, both with names relative to the base model."""
    match method:
        case FixedRank():
            return lora_fields(method, inserted), dict(inserted)
        case AdaLora():
            return adalora_fields(encoder, method, inserted), dict(inserted)
        case Ia3():
            return ia3_fields(encoder, inserted), ia3_whole(encoder, inserted)
        case Prefix():
            return prompt_fields(encoder, "PREFIX_TUNING", method.length), {PROMPT: joined(encoder, inserted)}
        case Prompt():
            return prompt_fields(encoder, "PROMPT_TUNING", method.length), dict(inserted)
        case _:
            raise AssertionError(method)


def from_peft_config(
    encoder: EncoderModel, config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str, root: str
) -> tuple[Method, dict[str, Tensor]]:
    """Return the method and its tensors for a config and tensors of PEFT.

    Args:
        encoder: the encoder that the adapter is for.
        config: the config of PEFT.
        inserted: the tensors of the method, with names relative to the base model.
        origin: the folder, for messages.
        root: the prefix of the base model's names in the model of PEFT.

    Raises:
        InputError: the config or the tensors are not supported.
    """
    match config["peft_type"]:
        case "LORA":
            return read_lora(encoder, config, inserted, origin, root)
        case "ADALORA":
            return read_adalora(encoder, config, inserted), dict(inserted)
        case "IA3":
            return read_ia3(encoder, inserted, origin)
        case "PREFIX_TUNING":
            return Prefix(length=len(inserted[PROMPT]), shift_positions=True), split(encoder, inserted, origin)
        case _:  # PROMPT_TUNING; `peft_library` reads every other type
            return Prompt(length=len(inserted[PROMPT]), placement="front"), dict(inserted)
