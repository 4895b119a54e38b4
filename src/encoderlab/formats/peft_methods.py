"""Each method as PEFT configures it: the fields of its config, and its tensors where PEFT shapes them otherwise.

LORA            lora (with rslora), lora_plus, qlora, dora: A (rank, in), B (out, rank); scale alpha/r or alpha/sqrt(r)
ADALORA         adalora: A, E, B of the surviving ranks; scale alpha/init_r, whatever survives
IA3             ia3: a vector per module, on its outputs, or on the inputs of those in `feedforward_modules`
PREFIX_TUNING   prefix: (length, layers x (key, value) x heads x head size), one tensor for all layers
PROMPT_TUNING   prompt: (length, embedding size)
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoderlab.backbone import Backbone
from encoderlab.errors import InputError
from encoderlab.formats import names
from encoderlab.methods import AdaLora, Dora, Ia3, Lora, Method, Prefix, Prompt
from encoderlab.methods.ia3 import INPUTS as IA3_INPUTS
from encoderlab.methods.ia3 import OUTPUTS as IA3_OUTPUTS
from encoderlab.methods.low_rank import FixedRank

INSERTED = re.compile(r"(^|\.)(lora_\w+(\.weight|\.bias)?|ia3_l|prefix_key|prefix_value|prompt_embeddings)$")
PROMPT = "prompt_embeddings"
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
        case FixedRank() | AdaLora() | Ia3():
            return None
        case Prompt(placement=placement):
            if placement != "front":
                return 'PEFT puts the virtual tokens in front of [CLS], this prompt has placement = "after_cls"'
        case Prefix(shift_positions=shift, layers=layers):
            if not shift:
                return "PEFT counts a prefix among the positions, this one does not (shift_positions = false)"
            if layers != "all":
                return "PEFT's prefix is one of all layers"
            if len(backbone.layer_paths()) != backbone.model.config.num_hidden_layers:
                return "PEFT's prefix has keys of its own for every layer, and this model's layers share their weights"
            if "past_key_values" not in inspect.signature(backbone.trunk.forward).parameters:
                return f"PEFT's prefix does not run on the family {backbone.model.config.model_type!r}"
        case _:
            return f"PEFT has no method like {method.name!r}"
    return None


def encode(
    backbone: Backbone, method: Method, inserted: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(fields of PEFT's config, tensors), both with names relative to the trunk."""
    match method:
        case FixedRank():
            return _lora_fields(method, inserted), dict(inserted)
        case AdaLora():
            return _adalora_fields(backbone, method, inserted), dict(inserted)
        case Ia3():
            return _ia3_fields(backbone, inserted), _ia3_whole(backbone, inserted)
        case Prefix():
            return _prompt_fields(backbone, "PREFIX_TUNING", method.length), {PROMPT: _joined(backbone, inserted)}
        case Prompt():
            return _prompt_fields(backbone, "PROMPT_TUNING", method.length), dict(inserted)
        case _:
            raise AssertionError(method)


def decode(
    backbone: Backbone, config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str, root: str
) -> tuple[Method, dict[str, Tensor]]:
    """The method and the tensors of PEFT's config and tensors. InputError naming what is not supported. `root`: what
    stands before the trunk's names in the model that PEFT had."""
    match config["peft_type"]:
        case "LORA":
            return _lora(backbone, config, inserted, origin, root)
        case "ADALORA":
            return _adalora(backbone, config, inserted), dict(inserted)
        case "IA3":
            return _ia3(backbone, inserted, origin)
        case "PREFIX_TUNING":
            return Prefix(length=len(inserted[PROMPT]), shift_positions=True), _split(backbone, inserted, origin)
        case _:  # PROMPT_TUNING; every other type is the bridge's
            return Prompt(length=len(inserted[PROMPT]), placement="front"), dict(inserted)


def paths(tensors: Mapping[str, Tensor], end: str) -> list[str]:
    """The modules that have a tensor of this name."""
    return [name.removesuffix(end) for name in tensors if name.endswith(end)]


def _lora_fields(method: FixedRank, inserted: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "r": method.rank,
        "lora_alpha": _whole(method.alpha),
        "lora_dropout": method.dropout,
        "use_rslora": method.rslora,
        "use_dora": isinstance(method, Dora),
        "target_modules": paths(inserted, ".lora_A.weight"),
        "bias": "none",
        "fan_in_fan_out": False,
    }


def _adalora_fields(backbone: Backbone, method: AdaLora, inserted: Mapping[str, Tensor]) -> dict[str, Any]:
    """PEFT drops the ranks of its `rank_pattern` when it loads, and keeps the scale of `init_r`."""
    start, pattern = method.first_rank, {}
    for path in paths(inserted, ".lora_E"):
        left = len(inserted[f"{path}.lora_E"])
        pattern[f"{names.parameter_name(backbone, path)}.lora_E"] = [True] * left + [False] * (start - left)
    return {
        "peft_type": "ADALORA",
        "init_r": start,
        "target_r": method.rank,
        "lora_alpha": _whole(method.alpha),
        "lora_dropout": method.dropout,
        "orth_reg_weight": method.orthogonality,
        "beta1": method.beta1,
        "beta2": method.beta2,
        "deltaT": method.interval,
        "tinit": 0,
        "tfinal": 0,
        "total_step": 1,  # PEFT asks for some; the ranks are chosen
        "rank_pattern": pattern if any(not all(kept) for kept in pattern.values()) else None,
        "target_modules": paths(inserted, ".lora_E"),
    }


def _ia3_fields(backbone: Backbone, inserted: Mapping[str, Tensor]) -> dict[str, Any]:
    where = paths(inserted, ".ia3_l")
    on_inputs = [path for path in where if inserted[f"{path}.ia3_l"].size(0) == 1]
    return {"peft_type": "IA3", "target_modules": where, "feedforward_modules": on_inputs, "fan_in_fan_out": False}


def _ia3_whole(backbone: Backbone, inserted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Where one layer gives query, key and value, PEFT's vector is of all three: ones for the query."""
    whole = {}
    for name, vector in inserted.items():
        out: int = backbone.trunk.get_submodule(name.removesuffix(".ia3_l")).out_features  # type: ignore[assignment]
        on_outputs = vector.size(1) == 1 and vector.size(0) > 1
        whole[name] = F.pad(vector, (0, 0, out - len(vector), 0), value=1.0) if on_outputs else vector
    return whole


def _prompt_fields(backbone: Backbone, peft_type: str, length: int) -> dict[str, Any]:
    config = backbone.model.config
    return {
        "peft_type": peft_type,
        "num_virtual_tokens": length,
        "num_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_transformer_submodules": 1,
        "token_dim": config.hidden_size if peft_type == "PREFIX_TUNING" else _embedding_size(backbone),
    }


def _embedding_size(backbone: Backbone) -> int:
    return backbone.trunk.get_input_embeddings().embedding_dim  # type: ignore[operator, return-value]


def _places(backbone: Backbone) -> list[str]:
    """Our names of the prefix, in the order of PEFT's tensor: key, value of layer 0, of layer 1, ..."""
    attention = backbone.family.attention
    return [f"{path}.{attention}.prefix_{role}" for path in backbone.layer_paths() for role in ("key", "value")]


def _joined(backbone: Backbone, inserted: Mapping[str, Tensor]) -> Tensor:
    """(length, 2 layers x hidden) of the (heads, length, head size) of each layer's keys and values."""
    return torch.stack([inserted[name] for name in _places(backbone)]).permute(2, 0, 1, 3).flatten(1).contiguous()


def _split(backbone: Backbone, inserted: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The inverse of `_joined`."""
    places, heads = _places(backbone), backbone.model.config.num_attention_heads
    prompt = inserted[PROMPT]
    if prompt.size(1) != len(places) // 2 * 2 * backbone.model.config.hidden_size:
        raise InputError(f"{origin}: a prefix of {prompt.size(1)} numbers a token does not fit {backbone.name}")
    parts = prompt.view(len(prompt), len(places), heads, -1).permute(1, 2, 0, 3)
    return {name: part.contiguous() for name, part in zip(places, parts, strict=True)}


def _lora(
    backbone: Backbone, config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str, root: str
) -> tuple[Method, dict[str, Tensor]]:
    """One rank and one alpha for all modules: a smaller rank is padded with zeros, another scale goes into B."""
    _refuse_other_lora(config, inserted, origin)
    rslora = bool(config.get("use_rslora"))
    where = paths(inserted, ".lora_A.weight")
    if not where:
        raise InputError(f"{origin}: the weights hold no LoRA matrices; expected names that end in lora_A.weight")
    ranks = {path: inserted[f"{path}.lora_A.weight"].size(0) for path in where}
    rank, alpha = max(ranks.values()), float(config.get("lora_alpha", 8))
    scale = alpha / (math.sqrt(rank) if rslora else rank)
    tensors = dict(inserted)
    for path, own in ranks.items():
        own_alpha = _pattern(config.get("alpha_pattern"), f"{root}{path}", alpha)
        factor = own_alpha / (math.sqrt(own) if rslora else own) / scale
        if (own, factor) != (rank, 1.0):
            a, b = inserted[f"{path}.lora_A.weight"], inserted[f"{path}.lora_B.weight"]
            tensors[f"{path}.lora_A.weight"] = F.pad(a, (0, 0, 0, rank - own))
            tensors[f"{path}.lora_B.weight"] = F.pad(b * factor, (0, rank - own))
    target, layers = names.targets(backbone, where)
    dropout = float(config.get("lora_dropout", 0.0))
    cls = Dora if config.get("use_dora") else Lora
    return cls(rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, target=target, layers=layers), tensors


def _adalora(backbone: Backbone, config: Mapping[str, Any], inserted: Mapping[str, Tensor]) -> Method:
    target, layers = names.targets(backbone, paths(inserted, ".lora_E"))
    steps = config.get("total_step") or 1
    return AdaLora(
        rank=config.get("target_r", 8),
        initial_rank=config.get("init_r", 12),
        alpha=float(config.get("lora_alpha", 8)),
        dropout=float(config.get("lora_dropout", 0.0)),
        warmup=config.get("tinit", 0) / steps,
        final=config.get("tfinal", 0) / steps,
        interval=config.get("deltaT", 1),
        beta1=config.get("beta1", 0.85),
        beta2=config.get("beta2", 0.85),
        orthogonality=config.get("orth_reg_weight", 0.5),
        target=target,
        layers=layers,
    )


def _ia3(backbone: Backbone, inserted: Mapping[str, Tensor], origin: str) -> tuple[Method, dict[str, Tensor]]:
    """Ours scales the outputs of key and value and the inputs of the two that follow an activation or the attention;
    PEFT can scale either side of any module."""
    target, layers = names.targets(backbone, paths(inserted, ".ia3_l"))
    if backbone.family.fused:
        target = tuple(role for name in target for role in (("key", "value") if name == "query" else (name,)))
    every = backbone.layer_numbers("all")
    on_inputs = {path for role in IA3_INPUTS for path in backbone.linear_paths(role, every)}
    misplaced = [n for n, v in inserted.items() if (v.size(0) == 1) != (n.removesuffix(".ia3_l") in on_inputs)]
    if misplaced or not set(target) <= {*IA3_OUTPUTS, *IA3_INPUTS}:
        raise InputError(
            f"{origin}: its vectors are at {', '.join(target)}; supported are those on the outputs of "
            f"{' and '.join(IA3_OUTPUTS)} and on the inputs of {' and '.join(IA3_INPUTS)}"
        )
    tensors = {}
    for name, vector in inserted.items():
        start = 0 if vector.size(0) == 1 else backbone.outputs("key", len(vector)).start
        if not (vector[:start] == 1).all():
            raise InputError(f"{origin}: {name} scales the queries too, which the paper's (IA)3 does not")
        tensors[name] = vector[start:]
    return Ia3(target=target, layers=layers), tensors


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
