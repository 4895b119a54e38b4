"""The folder of the `adapters` library (Poth et al. 2023, arXiv:2311.11077).

It contains adapter_config.json, the weights of the adapter, and those of a head:

    bert.encoder.layer.0.output.adapters.NAME.adapter_down.0.weight               bottleneck after the feed-forward
    bert.encoder.layer.0.attention.output.adapters.NAME.adapter_up.weight         bottleneck after the attention
    bert.encoder.layer.0.attention.self.query.loras.NAME.lora_A                   LoRA
    classifier.weight                                                             the head's file

encoderlab reads safetensors and pickles (tensors only). It writes pickles, which the library loads by default. The
library does not report a missing tensor, so the tests compare the written folder with the library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoderlab.adapters import tensor_names
from encoderlab.adapters.adapterhub_format import (
    ACTIVATIONS,
    ATTENTION,
    BOTTLENECK,
    LORA,
    PLACEMENTS,
    PLACES,
    renaming,
    settings,
)
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json, write_atomically, write_json
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.dora import Dora
from encoderlab.methods.lora import Lora
from encoderlab.methods.low_rank import FixedRank
from encoderlab.model.encoder import EncoderModel

VERSION = "adapters.1.3.0"  # the version that writes the same files
CONFIG, WEIGHTS, BASE = "adapter_config.json", ("adapter.safetensors", "pytorch_adapter.bin"), "model_name"
HEAD_CONFIG, HEAD_WEIGHTS = "head_config.json", ("model_head.safetensors", "pytorch_model_head.bin")


def refusal(encoder: EncoderModel, method: Method) -> str | None:
    """Return why the format of the library cannot hold this method on this family; None if it can."""
    family = encoder.model.config.model_type
    if family not in PLACES:
        return f"the adapters library has no place for adapters in the family {family!r} (it has: {', '.join(PLACES)})"
    match method:
        case Dora():
            return "encoderlab does not write the DoRA of the adapters library"
        case FixedRank():
            wrong = [target for target in method.target if target not in (*ATTENTION, "ffn_in", "ffn_out")]
            return f"the adapters library has no LoRA on {wrong[0]}" if wrong else None
        case Adapter():
            return None
        case _:
            return f"encoderlab does not write the {method.name!r} of the adapters library"


def write(
    encoder: EncoderModel, method: Method, tensors: Mapping[str, Tensor], folder: Path, name: str = "encoderlab"
) -> None:
    """Write the folder.

    Args:
        encoder: the model, with or without the method in it.
        method: the method of the adapter.
        tensors: the tensors of the adapter, under our names.
        folder: the folder to write.
        name: the name of the adapter in the library.

    Raises:
        InputError: the format cannot hold the method (`refusal`).
    """
    if reason := refusal(encoder, method):
        raise InputError(reason)
    in_head = {tensor_names.our_name(encoder, n) for n, p in encoder.model.named_parameters() if encoder.is_head(n)}
    inserted = {n: tensor for n, tensor in tensors.items() if n not in in_head}
    stored, layers = {}, set()
    for ours, theirs in renaming(encoder, method, name).items():
        if ours in inserted:
            stored[tensor_names.parameter_name(encoder, theirs)] = inserted.pop(ours).detach().cpu().contiguous()
            layers.add(_layer(encoder, ours))
    if inserted:
        raise InputError(f"the adapters library has no place for {min(inserted)}")
    left_out = [i for i in encoder.layer_numbers("all") if i not in layers]
    config = encoder.model.config
    about = {
        "hidden_size": config.hidden_size,
        "model_class": type(encoder.model).__name__,
        "model_name": tensor_names.public(encoder.name),
        "model_type": config.model_type,
        "version": VERSION,
    }
    _save(folder / WEIGHTS[1], stored)
    write_json(folder / CONFIG, about | {"name": name, "config": settings(encoder, method, left_out)})
    head = {
        tensor_names.parameter_name(encoder, n): t.detach().cpu().contiguous()
        for n, t in tensors.items()
        if n in in_head
    }
    if head:
        _save(folder / HEAD_WEIGHTS[1], head)
        labels = {"label2id": config.label2id, "num_labels": config.num_labels}
        write_json(folder / HEAD_CONFIG, about | labels | {"name": None, "config": None})


def read(encoder: EncoderModel, folder: Path, *, head: bool = True) -> tuple[Method, dict[str, Tensor]]:
    """Read the method of a folder, and its tensors under our names.

    Args:
        encoder: the encoder that the adapter is for, without a method.
        folder: the folder of the library.
        head: whether to read the head as well, if its file is for this model class.

    Raises:
        InputError: the folder contains something that is not supported.
    """
    adapter_config = read_json(folder / CONFIG)
    config = adapter_config.get("config") if isinstance(adapter_config, dict) else None
    if not isinstance(config, dict) or "name" not in adapter_config:
        raise InputError(
            f"{folder / CONFIG}: neither a config of PEFT nor one of the adapters library; expected the key peft_type "
            "or config"
        )
    family = encoder.model.config.model_type
    if family not in PLACES or adapter_config.get("model_type", family) != family:
        theirs = adapter_config.get("model_type")
        raise InputError(f"{folder}: an adapter for the family {theirs!r}, not for {family!r}")
    stored = tensor_names.ours(encoder, tensor_names.load_tensors(folder, *WEIGHTS))
    if not head:
        stored = {name: tensor for name, tensor in stored.items() if not name.startswith(tensor_names.HEAD)}
    match config.get("architecture"):
        case None:
            method, tensors = _bottleneck(encoder, adapter_config["name"], config, stored, folder)
        case "lora":
            method, tensors = _lora(encoder, adapter_config, stored, folder)
        case other:
            raise InputError(f"{folder}: {other!r} of the adapters library is not supported; bottlenecks and LoRA are")
    return method, tensors | (_head(encoder, folder) if head else {})


def _head(encoder: EncoderModel, folder: Path) -> dict[str, Tensor]:
    if encoder.frozen_head or not (folder / HEAD_CONFIG).is_file():
        return {}
    head_config = read_json(folder / HEAD_CONFIG)
    if head_config.get("config") is not None or head_config.get("model_class") != type(encoder.model).__name__:
        return {}
    stored = tensor_names.load_tensors(folder, *HEAD_WEIGHTS)
    prefix = encoder.model.base_model_prefix + "."
    return {n.removeprefix(prefix) if n.startswith(prefix) else tensor_names.HEAD + n: t for n, t in stored.items()}


def _bottleneck(
    encoder: EncoderModel, name: str, config: Mapping[str, Any], stored: Mapping[str, Tensor], folder: Path
) -> tuple[Method, dict[str, Tensor]]:
    placement = next((p for p, keys in PLACEMENTS.items() if all(config.get(k, False) == keys[k] for k in keys)), None)
    if placement is None:
        wrong = [f"{key} = {config.get(key)}" for key in PLACEMENTS["pfeiffer"]]
        raise InputError(
            f"{folder}: bottlenecks with {', '.join(wrong)} match no placement of encoderlab ({', '.join(PLACEMENTS)})"
        )
    _demand(config, BOTTLENECK, folder)
    scale, activation = config.get("scaling", 1.0), str(config.get("non_linearity")).lower()
    if not isinstance(scale, float | int) or activation not in ACTIVATIONS:
        raise InputError(f"{folder}: scaling = {scale!r}, non_linearity = {activation!r} are not supported")
    probe = Adapter(placement=placement)  # type: ignore[arg-type]
    tensors = _renamed(encoder, probe, name, stored, folder)
    if placement != "parallel":  # only the parallel adapter has a scale in our method
        tensors = {n: t * scale if ".adapter.up." in n else t for n, t in tensors.items()}
    widths = {len(tensor) for n, tensor in tensors.items() if n.endswith(".adapter.down.bias")}
    if len(widths) != 1:
        raise InputError(f"{folder}: bottlenecks of {len(widths)} widths; one width for all layers is supported")
    method = Adapter(
        placement=placement,  # type: ignore[arg-type]
        bottleneck=widths.pop(),
        activation=activation,  # type: ignore[arg-type]
        layers=_layers(encoder, tensors),
    )
    return (replace(method, scale=float(scale)) if placement == "parallel" else method), tensors


def _lora(
    encoder: EncoderModel, adapter_config: Mapping[str, Any], stored: Mapping[str, Tensor], folder: Path
) -> tuple[Method, dict[str, Tensor]]:
    config = adapter_config["config"]
    _demand(config, LORA, folder)
    tensors = _renamed(encoder, Lora(target=(*ATTENTION, "ffn_in", "ffn_out")), adapter_config["name"], stored, folder)
    paths = [n.removesuffix(".lora_A.weight") for n in tensors if n.endswith(".lora_A.weight")]
    target, layers = tensor_names.targets(encoder, paths)
    rank = len(tensors[f"{paths[0]}.lora_A.weight"])
    alpha = float(config.get("alpha", 8))
    if _before_1_1(str(adapter_config.get("version", ""))):
        alpha = float(rank)  # older versions trained without the scale that their files state (adapters#770)
    dropout = float(config.get("dropout", 0.0))
    return Lora(rank=rank, alpha=alpha, dropout=dropout, target=target, layers=layers), tensors


def _before_1_1(version: str) -> bool:
    numbers = re.fullmatch(r"adapters\.(\d+)\.(\d+).*", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < (1, 1)


def _demand(config: Mapping[str, Any], only: Mapping[str, Any], folder: Path) -> None:
    if wrong := [f"{key} = {config[key]!r}" for key, value in only.items() if key in config and config[key] != value]:
        raise InputError(f"{folder}: not supported: {', '.join(wrong)}")


def _renamed(
    encoder: EncoderModel, method: Method, name: str, stored: Mapping[str, Tensor], folder: Path
) -> dict[str, Tensor]:
    back = {theirs: ours for ours, theirs in renaming(encoder, method, name).items()}
    if strange := stored.keys() - back.keys():
        raise InputError(f"{folder}: the tensor {min(strange)} has no place in {tensor_names.public(encoder.name)}")
    if not stored:
        raise InputError(f"{folder}: the weights are empty")
    return {back[theirs]: tensor for theirs, tensor in stored.items()}


def _layer(encoder: EncoderModel, name: str) -> int:
    return next(i for i, path in enumerate(encoder.layer_paths()) if name.startswith(f"{path}."))


def _layers(encoder: EncoderModel, tensors: Mapping[str, Tensor]) -> Any:
    numbers = tuple(sorted({_layer(encoder, name) for name in tensors}))
    return "all" if list(numbers) == encoder.layer_numbers("all") else numbers


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    write_atomically(path, lambda beside: torch.save(tensors, beside))
