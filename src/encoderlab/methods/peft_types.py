"""The types, config fields and layers of the `peft` library, for the method `peft`."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

from torch import nn

OURS = {"task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"}
OURS |= {"inference_mode", "modules_to_save"}  # fields of PEFT's configs that encoderlab sets


@cache
def configs() -> dict[str, type]:
    """Return the config class of each type of PEFT."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


@cache
def settable(peft_type: str) -> dict[str, Any]:
    """Return {field: annotation} of the fields of a type's config that encoderlab does not set itself."""
    config = configs()[peft_type]
    hints = get_type_hints(config, include_extras=True)
    return {f.name: hints[f.name] for f in fields(config) if f.init and f.name not in OURS}


def layers(base_model: nn.Module) -> dict[str, Any]:
    """Return the layers of PEFT by their paths relative to the base model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {path: module for path, module in base_model.named_modules() if isinstance(module, BaseTunerLayer)}


def type_name(kind: Any) -> str:
    """Return the name of a field's type for a message."""
    return getattr(kind, "__name__", None) if isinstance(kind, type) else str(kind).replace("typing.", "")  # type: ignore[return-value]
