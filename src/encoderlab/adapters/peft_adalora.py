"""PEFT's configuration of AdaLoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from encoderlab.adapters import tensor_names
from encoderlab.adapters.peft_lora import whole
from encoderlab.adapters.tensor_names import paths
from encoderlab.methods.adalora import AdaLora
from encoderlab.methods.base import Method
from encoderlab.model.encoder import EncoderModel


def adalora_fields(encoder: EncoderModel, method: AdaLora, inserted: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the fields of PEFT's config. PEFT drops ranks by `rank_pattern` and keeps the scale of `init_r`."""
    start, pattern = method.first_rank, {}
    for path in paths(inserted, ".lora_E"):
        remaining = len(inserted[f"{path}.lora_E"])
        pattern[f"{tensor_names.parameter_name(encoder, path)}.lora_E"] = [True] * remaining + [False] * (
            start - remaining
        )
    return {
        "peft_type": "ADALORA",
        "init_r": start,
        "target_r": method.rank,
        "lora_alpha": whole(method.alpha),
        "lora_dropout": method.dropout,
        "orth_reg_weight": method.orthogonality,
        "beta1": method.beta1,
        "beta2": method.beta2,
        "deltaT": method.interval,
        "tinit": 0,
        "tfinal": 0,
        "total_step": 1,  # PEFT requires a number, which has no effect because the ranks are chosen
        "rank_pattern": pattern if any(not all(in_use) for in_use in pattern.values()) else None,
        "target_modules": paths(inserted, ".lora_E"),
    }


def read_adalora(encoder: EncoderModel, config: Mapping[str, Any], inserted: Mapping[str, Tensor]) -> Method:
    """Return the method of a config of PEFT."""
    target, layers = tensor_names.targets(encoder, paths(inserted, ".lora_E"))
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
