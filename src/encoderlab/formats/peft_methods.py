"""Each method as PEFT configures it: the fields of its config, and its tensors where PEFT shapes them otherwise.

LORA            lora (with rslora), lora_plus, qlora, dora: A (rank, in), B (out, rank); scale alpha/r or alpha/sqrt(r)
ADALORA         adalora: A, E, B of the surviving ranks; scale alpha/init_r, whatever survives
IA3             ia3: a vector per module, on its outputs, or on the inputs of those in `feedforward_modules`
PREFIX_TUNING   prefix: (length, layers x (key, value) x heads x head size), one tensor for all layers
PROMPT_TUNING   prompt: (length, embedding size)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from encoderlab.backbone import Backbone
from encoderlab.errors import InputError
from encoderlab.formats import names
from encoderlab.methods import Lora, Method

INSERTED = re.compile(r"(^|\.)(lora_\w+(\.weight|\.bias)?|ia3_l|prefix_key|prefix_value|prompt_embeddings)$")
PROMPTS = ("PREFIX_TUNING", "PROMPT_TUNING")

# What would make LoRA another function than ours, by the key of PEFT's config that says so.
OTHER_LORA = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)


def is_inserted(name: str) -> bool:
    """Whether a tensor is a method's, and not a module's of the model."""
    return INSERTED.search(name) is not None


def is_prompt(peft_type: str) -> bool:
    """Whether PEFT keeps a method beside the model, and not inside its modules."""
    return peft_type in PROMPTS


def refusal(backbone: Backbone, method: Method) -> str | None:
    """Why PEFT's format cannot hold this method; None where it can."""
    match method:
        case Lora():
            return None
        case _:
            return f"PEFT has no method like {method.name!r}"


def encode(
    backbone: Backbone, method: Method, inserted: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(fields of PEFT's config, tensors), both with names relative to the trunk."""
    match method:
        case Lora():
            return _lora_fields(method, inserted), dict(inserted)
        case _:
            raise AssertionError(method)


def decode(
    backbone: Backbone, config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str
) -> tuple[Method, dict[str, Tensor]]:
    """The method and the tensors of PEFT's config and tensors. InputError naming what is not supported."""
    match config["peft_type"]:
        case "LORA":
            return _lora(backbone, config, inserted, origin)
        case other:
            raise InputError(f"{origin}: PEFT's {other} is not among the methods that can be read here")


def paths(tensors: Mapping[str, Tensor], end: str) -> list[str]:
    """The modules that have a tensor of this name."""
    return [name.removesuffix(end) for name in tensors if name.endswith(end)]


def _lora_fields(method: Lora, inserted: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "r": method.rank,
        "lora_alpha": _whole(method.alpha),
        "lora_dropout": method.dropout,
        "use_rslora": method.rslora,
        "use_dora": False,
        "target_modules": paths(inserted, ".lora_A.weight"),
        "bias": "none",
        "fan_in_fan_out": False,
    }


def _lora(
    backbone: Backbone, config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str
) -> tuple[Method, dict[str, Tensor]]:
    """One rank and one alpha for all modules: a smaller rank is padded with zeros, another scale goes into B."""
    _refuse_other_lora(config, inserted, origin)
    rslora, prefix = bool(config.get("use_rslora")), backbone.model.base_model_prefix
    where = paths(inserted, ".lora_A.weight")
    if not where:
        raise InputError(f"{origin}: the weights hold no LoRA matrices; expected names that end in lora_A.weight")
    ranks = {path: inserted[f"{path}.lora_A.weight"].size(0) for path in where}
    rank, alpha = max(ranks.values()), float(config.get("lora_alpha", 8))
    scale = alpha / (math.sqrt(rank) if rslora else rank)
    tensors = dict(inserted)
    for path, own in ranks.items():
        own_alpha = _pattern(config.get("alpha_pattern"), f"{prefix}.{path}", alpha)
        factor = own_alpha / (math.sqrt(own) if rslora else own) / scale
        if (own, factor) != (rank, 1.0):
            a, b = inserted[f"{path}.lora_A.weight"], inserted[f"{path}.lora_B.weight"]
            tensors[f"{path}.lora_A.weight"] = F.pad(a, (0, 0, 0, rank - own))
            tensors[f"{path}.lora_B.weight"] = F.pad(b * factor, (0, rank - own))
    target, layers = names.targets(backbone, where)
    dropout = float(config.get("lora_dropout", 0.0))
    method = Lora(rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, target=target, layers=layers)
    return method, tensors


def _refuse_other_lora(config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str) -> None:
    found = [f"{key} = {config[key]!r}" for key in OTHER_LORA if config.get(key)]
    if config.get("bias", "none") != "none":
        found.append(f"bias = {config['bias']!r}")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        found.append(f"init_lora_weights = {start!r} (its base weights are not the pretrained ones)")
    if strange := [n for n in inserted if not re.search(r"\.(lora_[AB]\.weight|lora_magnitude_vector)$", n)]:
        found.append(f"the tensor {min(strange)}")
    if found:
        raise InputError(f"{origin}: not supported: {'; '.join(found)}; have PEFT merge it into the model instead")


def _pattern(pattern: Mapping[str, Any] | None, path: str, default: float) -> float:
    """The value of the first key that the path ends in, as PEFT matches its rank_pattern and alpha_pattern."""
    return next((float(v) for key, v in (pattern or {}).items() if re.match(rf"(.*\.)?({key})$", path)), default)


def _whole(number: float) -> float | int:
    """16.0 as 16, which is how PEFT's own files say it."""
    return int(number) if number == int(number) else number
