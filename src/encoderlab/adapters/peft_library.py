"""Runs of the bridge to PEFT in PEFT's own folder: its config, its names.

PEFT names the tensors itself: they are put into its model of the same config and taken out as it saves them. Reading
goes the other way, by the names that PEFT gives to the parameters of the layers. What a type keeps frozen and random is
in some types' files; it is compared with what is drawn here, as the adapter computes something else beside other ones.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from encoderlab.adapters import tensor_names
from encoderlab.core.errors import InputError
from encoderlab.methods.peft_library import Peft, configs, layers, settable
from encoderlab.model.checkpoint_config import quiet
from encoderlab.model.encoder import EncoderModel

PREFIX, ADAPTER = "base_model.model.", "default"
# A folder of such a type is read as our own method.
OWN = {"LORA": "lora", "ADALORA": "adalora", "IA3": "ia3", "PREFIX_TUNING": "prefix", "PROMPT_TUNING": "prompt"}
# Which fields say where the layers are; the file says it by paths.
PLACES = ("target_modules", "feedforward_modules", "exclude_modules", "layers_to_transform", "layers_pattern")


def refusal(method: Peft) -> str | None:
    """Why PEFT's folder cannot hold a run of this method; None where it can."""
    if own := OWN.get(method.type):
        return f"PEFT's {method.type} is written by our own method, name = {own!r}"
    if method.type == "LILY":
        return (
            "PEFT's LILY shares matrices among the layers that one name in target_modules means; these are paths here"
        )
    if method.options.get("bias", "none") != "none":
        return (
            f"bias = {method.options['bias']!r} changes the base model's own tensors, which PEFT saves under any name"
        )
    return None


def to_peft_config(
    encoder: EncoderModel,
    method: Peft,
    tensors: Mapping[str, Tensor],
    modules_to_save: Sequence[str],
    targets: Callable[[Sequence[str]], list[str]],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(fields of PEFT's config, tensors of its file), of the adapter's tensors under our names. `targets`: names for
    `target_modules` that mean exactly some paths."""
    plain = _without_method(encoder)
    tuned = _with_method(plain, method)  # with the frozen numbers as they are drawn
    config = _config(
        plain, method, targets([tensor_names.parameter_name(encoder, path) for path in layers(tuned.base_model)])
    )
    config.modules_to_save = list(modules_to_save) or None
    state = _as_saved(plain, tuned, config, tensors)
    parameters = {tensor_names.parameter_name(encoder, name): tensor for name, tensor in tensors.items()}
    state |= {PREFIX + name: tensor for name, tensor in parameters.items() if encoder.is_head(name)}
    said = config.to_dict() | {"peft_type": method.type}
    said = {key: sorted(value) if isinstance(value, set) else value for key, value in said.items()}
    return said, {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}


def from_peft_config(
    encoder: EncoderModel,
    config: Mapping[str, Any],
    inside: Mapping[str, Tensor],
    free: Mapping[str, Tensor],
    origin: str,
) -> tuple[Peft, dict[str, Tensor]]:
    """The method and its tensors under our names. `inside`: those of the trunk and the heads, as the file says them,
    but relative to the trunk; `free`: those that all layers share. InputError for a type that is not read, and for
    frozen tensors that are not those drawn here."""
    method = Peft(type=config["peft_type"], options=_options(encoder, config, inside))
    if reason := refusal(method):
        raise InputError(f"{origin}: not supported: {reason}")
    tuned = _with_method(encoder, method)
    ours = {id(p): name for name, p in tuned.base_model.named_parameters()}
    config = _config(encoder, method, [tensor_names.parameter_name(encoder, path) for path in layers(tuned.base_model)])
    state = _as_saved(_without_method(encoder), tuned, config, {})
    drawn = tensor_names.ours(encoder, {n.removeprefix(PREFIX): t for n, t in state.items() if n.startswith(PREFIX)})
    drawn |= {name: tensor for name, tensor in state.items() if not name.startswith(PREFIX)}
    called = {}
    for path, layer in layers(tuned.base_model).items():
        for name, tensor in _own_tensors(layer):
            if tensor.requires_grad:
                called[_file_name(method, f"{path}.{name}")] = ours[id(tensor)]
                called[_file_name(method, f"base_model.{name}")] = ours[id(tensor)]  # where all layers share it
    found: dict[str, Tensor] = {}
    for name, tensor in {**inside, **free}.items():
        if name in called or name not in drawn:
            found[called.get(name, name)] = tensor
        elif drawn[name].shape != tensor.shape or not torch.allclose(drawn[name].float(), tensor, rtol=1e-4, atol=1e-6):
            raise InputError(
                f"{origin}: {name}: frozen numbers of {method.type} that are not those drawn here; have PEFT merge it "
                "into the model instead"
            )
    return method, found


def _config(plain: EncoderModel, method: Peft, targets: list[str]) -> Any:
    """PEFT's config with the layers said by these names alone."""
    config = method.config(plain)
    for key in PLACES:
        if hasattr(config, key):
            setattr(config, key, None)
    config.target_modules = targets
    if hasattr(config, "save_only_topk_weights"):
        config.save_only_topk_weights = False  # VBLORA's; training goes on from the whole tensors only
    return config


def _as_saved(
    plain: EncoderModel, tuned: EncoderModel, config: Any, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What PEFT saves of its model of this config (made of `plain`, which is used up), with `tensors` and, where they
    have none, the tensors of `tuned` in it."""
    from peft import PeftModel, get_peft_model_state_dict

    ours = {id(p): name for name, p in tuned.base_model.named_parameters()}
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # as in the bridge
        theirs = PeftModel(plain.model, copy.deepcopy(config), ADAPTER)
        for path, layer in layers(tuned.base_model).items():
            there = dict(_own_tensors(theirs.get_submodule(PREFIX + tensor_names.parameter_name(tuned, path))))
            for name, tensor in _own_tensors(layer):
                there[name].copy_(tensors.get(ours.get(id(tensor), ""), tensor))
        return get_peft_model_state_dict(theirs, save_embedding_layers=False)


def _options(encoder: EncoderModel, config: Mapping[str, Any], inside: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields that are not as PEFT has them by itself, and the modules, by what the tensors are called."""
    type_name = config["peft_type"]
    if type_name not in configs():
        return {}
    usual = {}
    for f in fields(configs()[type_name]):
        usual[f.name] = f.default if f.default_factory is MISSING else f.default_factory()
    options = {
        key: config[key]
        for key in settable(type_name)
        if key in config and key not in PLACES and config[key] != usual[key]
    }
    modules, own = dict(encoder.base_model.named_modules()), {name for name, _ in encoder.base_model.named_parameters()}
    paths: dict[str, None] = {}
    for name in inside:
        path = name if name not in own else ""
        while path and path not in modules:
            path = path.rpartition(".")[0]
        if path:
            paths[path] = None
    if not paths:  # all tensors are shared
        return options | {key: config[key] for key in PLACES if config.get(key) is not None}
    roles, numbers = tensor_names.targets(encoder, paths)
    return options | {"target_modules": list(roles) if numbers == "all" else sorted(paths)}


def _with_method(encoder: EncoderModel, method: Peft) -> EncoderModel:
    """A copy with the method in it."""
    tuned = replace(encoder, model=copy.deepcopy(encoder.model))
    method.inject(tuned, 0)
    return tuned


def _without_method(encoder: EncoderModel) -> EncoderModel:
    """A copy in fp32 as the checkpoint has it; a run in bf16 has rounded the frozen weights, so they are read again."""
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in encoder.model.parameters()):
        config = copy.deepcopy(encoder.model.config)
        with torch.random.fork_rng(devices=[]), quiet():
            model = type(encoder.model).from_pretrained(
                encoder.name, config=config, dtype=torch.float32, ignore_mismatched_sizes=True
            )
        return replace(encoder, model=model.eval())
    plain = replace(encoder, model=copy.deepcopy(encoder.model).cpu())
    for path, layer in layers(plain.base_model).items():
        plain.base_model.set_submodule(path, layer.get_base_layer())
    return plain


def _own_tensors(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """What PEFT put into a layer, frozen or not, shared with other layers or not."""
    parts = [*layer.named_parameters(remove_duplicate=False), *layer.named_buffers(remove_duplicate=False)]
    return [(name, tensor) for name, tensor in parts if not name.startswith("base_layer.")]


def _file_name(method: Peft, name: str) -> str:
    """What PEFT's file calls a parameter or a buffer."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[method.type]  # type: ignore[index]
    return tuner._remove_adapter_name_from_key(name, ADAPTER)
