"""PEFT's configuration of prefix and prompt tuning."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from encoderlab.core.errors import InputError
from encoderlab.model.encoder import EncoderModel

PROMPT = "prompt_embeddings"


def prompt_fields(encoder: EncoderModel, peft_type: str, length: int) -> dict[str, object]:
    """Return the fields of PEFT's config."""
    config = encoder.model.config
    return {
        "peft_type": peft_type,
        "num_virtual_tokens": length,
        "num_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_transformer_submodules": 1,
        "token_dim": config.hidden_size if peft_type == "PREFIX_TUNING" else embedding_size(encoder),
    }


def embedding_size(encoder: EncoderModel) -> int:
    """Return the size of a word embedding."""
    return encoder.base_model.get_input_embeddings().embedding_dim  # type: ignore[operator, return-value]


def prompt_places(encoder: EncoderModel) -> list[str]:
    """Return our names of the prefix in the order of PEFT's tensor: key, value of layer 0, of layer 1, ..."""
    attention = encoder.family.attention
    return [f"{path}.{attention}.prefix_{role}" for path in encoder.layer_paths() for role in ("key", "value")]


def joined(encoder: EncoderModel, inserted: Mapping[str, Tensor]) -> Tensor:
    """Join the keys and values of all layers, (heads, length, head size), into (length, 2 layers x hidden)."""
    return torch.stack([inserted[name] for name in prompt_places(encoder)]).permute(2, 0, 1, 3).flatten(1).contiguous()


def split(encoder: EncoderModel, inserted: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Split a prefix of PEFT, the inverse of `joined`."""
    places, heads = prompt_places(encoder), encoder.model.config.num_attention_heads
    prompt = inserted[PROMPT]
    if prompt.size(1) != len(places) // 2 * 2 * encoder.model.config.hidden_size:
        raise InputError(f"{origin}: a prefix of {prompt.size(1)} numbers a token does not fit {encoder.name}")
    parts = prompt.view(len(prompt), len(places), heads, -1).permute(1, 2, 0, 3)
    return {name: part.contiguous() for name, part in zip(places, parts, strict=True)}
