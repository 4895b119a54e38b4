"""PEFT's configuration of LoRA and DoRA."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from encoderlab.adapters import tensor_names
from encoderlab.adapters.tensor_names import paths
from encoderlab.core.errors import InputError
from encoderlab.methods.base import Method
from encoderlab.methods.dora import Dora
from encoderlab.methods.lora import Lora
from encoderlab.methods.low_rank import FixedRank
from encoderlab.model.encoder import EncoderModel

# Keys of PEFT's config that make LoRA another function than ours.
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


def lora_fields(method: FixedRank, inserted: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the fields of PEFT's config."""
    return {
        "peft_type": "LORA",
        "r": method.rank,
        "lora_alpha": whole(method.alpha),
        "lora_dropout": method.dropout,
        "use_rslora": method.rslora,
        "use_dora": isinstance(method, Dora),
        "target_modules": paths(inserted, ".lora_A.weight"),
        "bias": "none",
        "fan_in_fan_out": False,
    }


def read_lora(
    encoder: EncoderModel, config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str, root: str
) -> tuple[Method, dict[str, Tensor]]:
    """Return the method of a config of PEFT, and its tensors.

    Our method has one rank and one alpha for all modules: smaller ranks are padded with zeros, and B is multiplied by
    the ratio of another scale to ours.

    Raises:
        InputError: the config describes another function than our LoRA, or there are no tensors of LoRA.
    """
    refuse_other_lora(config, inserted, origin)
    rslora = bool(config.get("use_rslora"))
    where = paths(inserted, ".lora_A.weight")
    if not where:
        raise InputError(f"{origin}: the weights hold no LoRA matrices; expected names that end in lora_A.weight")
    ranks = {path: inserted[f"{path}.lora_A.weight"].size(0) for path in where}
    rank, alpha = max(ranks.values()), float(config.get("lora_alpha", 8))
    scale = alpha / (math.sqrt(rank) if rslora else rank)
    tensors = dict(inserted)
    for path, path_rank in ranks.items():
        path_alpha = pattern(config.get("alpha_pattern"), f"{root}{path}", alpha)
        factor = path_alpha / (math.sqrt(path_rank) if rslora else path_rank) / scale
        if (path_rank, factor) != (rank, 1.0):
            a, b = inserted[f"{path}.lora_A.weight"], inserted[f"{path}.lora_B.weight"]
            tensors[f"{path}.lora_A.weight"] = F.pad(a, (0, 0, 0, rank - path_rank))
            tensors[f"{path}.lora_B.weight"] = F.pad(b * factor, (0, rank - path_rank))
    target, layers = tensor_names.targets(encoder, where)
    dropout = float(config.get("lora_dropout", 0.0))
    cls = Dora if config.get("use_dora") else Lora
    return cls(rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, target=target, layers=layers), tensors


def refuse_other_lora(config: Mapping[str, Any], inserted: Mapping[str, Tensor], origin: str) -> None:
    """Raise InputError if a config of PEFT describes another function than our LoRA."""
    problems = [f"{key} = {config[key]!r}" for key in OTHER_LORA if config.get(key)]
    if config.get("bias", "none") != "none":
        problems.append(f"bias = {config['bias']!r}")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        problems.append(f"init_lora_weights = {start!r} (its base weights are not the pretrained ones)")
    if strange := [n for n in inserted if not re.search(r"\.(lora_[AB]\.weight|lora_magnitude_vector)$", n)]:
        problems.append(f"the tensor {min(strange)}")
    if problems:
        raise InputError(
            f"{origin}: not supported: {'; '.join(problems)}; merge the adapter into the model with PEFT instead"
        )


def pattern(pattern: Mapping[str, Any] | None, path: str, default: float) -> float:
    """Return the value of the first key that matches the end of a path, as in PEFT's rank_pattern and alpha_pattern."""
    return next((float(v) for key, v in (pattern or {}).items() if re.match(rf"(.*\.)?({key})$", path)), default)


def whole(number: float) -> float | int:
    """Return 16.0 as 16, as in the files of PEFT."""
    return int(number) if number == int(number) else number
