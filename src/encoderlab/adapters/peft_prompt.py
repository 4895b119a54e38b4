"""PEFT's configuration of prefix and prompt tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from encoderlab.core.errors import InputError
from encoderlab.model.encoder import EncoderModel

PROMPT = "prompt_embeddings"


def prompt_fields(backbone: EncoderModel, peft_type: str, length: int) -> dict[str, Any]:
    config = backbone.model.config
    return {
        "peft_type": peft_type,
        "num_virtual_tokens": length,
        "num_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_transformer_submodules": 1,
        "token_dim": config.hidden_size if peft_type == "PREFIX_TUNING" else embedding_size(backbone),
    }


def embedding_size(backbone: EncoderModel) -> int:
    return backbone.trunk.get_input_embeddings().embedding_dim  # type: ignore[operator, return-value]


def prompt_places(backbone: EncoderModel) -> list[str]:
    """Our names of the prefix, in the order of PEFT's tensor: key, value of layer 0, of layer 1, ..."""
    attention = backbone.family.attention
    return [f"{path}.{attention}.prefix_{role}" for path in backbone.layer_paths() for role in ("key", "value")]


def joined(backbone: EncoderModel, inserted: Mapping[str, Tensor]) -> Tensor:
    """(length, 2 layers x hidden) of the (heads, length, head size) of each layer's keys and values."""
    return torch.stack([inserted[name] for name in prompt_places(backbone)]).permute(2, 0, 1, 3).flatten(1).contiguous()


def split(backbone: EncoderModel, inserted: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The inverse of `_joined`."""
    places, heads = prompt_places(backbone), backbone.model.config.num_attention_heads
    prompt = inserted[PROMPT]
    if prompt.size(1) != len(places) // 2 * 2 * backbone.model.config.hidden_size:
        raise InputError(f"{origin}: a prefix of {prompt.size(1)} numbers a token does not fit {backbone.name}")
    parts = prompt.view(len(prompt), len(places), heads, -1).permute(1, 2, 0, 3)
    return {name: part.contiguous() for name, part in zip(places, parts, strict=True)}
