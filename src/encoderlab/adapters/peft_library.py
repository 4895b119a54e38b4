"""Convert runs of the method `peft` to the config and the tensor names of PEFT, and back.

PEFT names the tensors: they are copied into its model with the same config, which then gives the tensors that it would
save. Reading uses the names that PEFT gives to the parameters of the layers. The files of some types contain frozen
random tensors. These are compared with the ones drawn here, because the adapter depends on them.
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
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.peft_types import configs, layers, settable
from encoderlab.model.checkpoint_config import quiet
from encoderlab.model.encoder import EncoderModel

PREFIX, ADAPTER = "base_model.model.", "default"
# Types of PEFT that are read as our methods.
OUR_METHODS = {"LORA": "lora", "ADALORA": "adalora", "IA3": "ia3", "PREFIX_TUNING": "prefix", "PROMPT_TUNING": "prompt"}
# Fields that name the layers; the file names them by paths.
PLACES = ("target_modules", "feedforward_modules", "exclude_modules", "layers_to_transform", "layers_pattern")


def refusal(method: Peft) -> str | None:
    """Return why the folder of PEFT cannot hold a run of this method; None if it can."""
    if ours := OUR_METHODS.get(method.type):
        return f"PEFT's {method.type} is written by our own method, name = {ours!r}"
    if method.type == "LILY":
        return (
            "PEFT's LILY shares matrices among all layers that match one name in target_modules; encoderlab names each "
            "layer by its path, so that nothing would be shared"
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
    """Return the fields of PEFT's config, and the tensors of its file.

    Args:
        encoder: the model, with or without the method in it.
        method: the method.
        tensors: the tensors of the adapter, under our names.
        modules_to_save: the field of PEFT's config.
        targets: returns `target_modules` that mean exactly some paths.
    """
    plain = _without_method(encoder)
    tuned = _with_method(plain, method)  # with the frozen random tensors as they are drawn
    config = _config(
        plain, method, targets([tensor_names.parameter_name(encoder, path) for path in layers(tuned.base_model)])
    )
    config.modules_to_save = list(modules_to_save) or None
    state = _as_saved(plain, tuned, config, tensors)
    parameters = {tensor_names.parameter_name(encoder, name): tensor for name, tensor in tensors.items()}
    state |= {PREFIX + name: tensor for name, tensor in parameters.items() if encoder.is_head(name)}
    settings = config.to_dict() | {"peft_type": method.type}
    settings = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
    return settings, {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}


def from_peft_config(
    encoder: EncoderModel,
    config: Mapping[str, Any],
    inside: Mapping[str, Tensor],
    shared: Mapping[str, Tensor],
    origin: str,
) -> tuple[Peft, dict[str, Tensor]]:
    """Return the method, and its tensors under our names.

    Args:
        encoder: the encoder that the adapter is for, without a method.
        config: the config of PEFT.
        inside: the tensors of the encoder and of the head, with the names of the file relative to the base model.
        shared: the tensors that all layers share.
        origin: the folder, for messages.

    Raises:
        InputError: the type is not supported, or its frozen tensors differ from the ones drawn here.
    """
    method = Peft(type=config["peft_type"], options=_options(encoder, config, inside))
    if reason := refusal(method):
        raise InputError(f"{origin}: not supported: {reason}")
    tuned = _with_method(encoder, method)
    ours = {id(p): name for name, p in tuned.base_model.named_parameters()}
    config = _config(encoder, method, [tensor_names.parameter_name(encoder, path) for path in layers(tuned.base_model)])
    state = _as_saved(_without_method(encoder), tuned, config, {})
    drawn = tensor_names.ours(encoder, {n.removeprefix(PREFIX): t for n, t in state.items() if n.startswith(PREFIX)})
    drawn |= {name: tensor for name, tensor in state.items() if not name.startswith(PREFIX)}
    our_names = {}
    for path, layer in layers(tuned.base_model).items():
        for name, tensor in _inserted_tensors(layer):
            if tensor.requires_grad:
                our_names[_file_name(method, f"{path}.{name}")] = ours[id(tensor)]
                our_names[_file_name(method, f"base_model.{name}")] = ours[id(tensor)]  # if all layers share it
    tensors: dict[str, Tensor] = {}
    for name, tensor in {**inside, **shared}.items():
        if name in our_names or name not in drawn:
            tensors[our_names.get(name, name)] = tensor
        elif drawn[name].shape != tensor.shape or not torch.allclose(drawn[name].float(), tensor, rtol=1e-4, atol=1e-6):
            raise InputError(
                f"{origin}: {name}: the frozen numbers of {method.type} differ from those that encoderlab draws; merge "
                "the adapter into the model with PEFT instead"
            )
    return method, tensors


def _config(plain: EncoderModel, method: Peft, targets: list[str]) -> Any:
    """Return the config of PEFT with these names as its only field about layers."""
    config = method.config(plain)
    for key in PLACES:
        if hasattr(config, key):
            setattr(config, key, None)
    config.target_modules = targets
    if hasattr(config, "save_only_topk_weights"):
        config.save_only_topk_weights = False  # a field of VBLORA; training can resume only from the whole tensors
    return config


def _as_saved(
    plain: EncoderModel, tuned: EncoderModel, config: Any, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors that PEFT saves for its model of this config.

    Args:
        plain: the encoder without the method; it becomes the model of PEFT.
        tuned: the encoder with the method, whose tensors are saved unless `tensors` has them.
        config: the config of PEFT.
        tensors: tensors of the adapter, under our names.
    """
    from peft import PeftModel, get_peft_model_state_dict

    ours = {id(p): name for name, p in tuned.base_model.named_parameters()}
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # as in the method `peft`
        theirs = PeftModel(plain.model, copy.deepcopy(config), ADAPTER)
        for path, layer in layers(tuned.base_model).items():
            targets = dict(_inserted_tensors(theirs.get_submodule(PREFIX + tensor_names.parameter_name(tuned, path))))
            for name, tensor in _inserted_tensors(layer):
                targets[name].copy_(tensors.get(ours.get(id(tensor), ""), tensor))
        return get_peft_model_state_dict(theirs, save_embedding_layers=False)


def _options(encoder: EncoderModel, config: Mapping[str, Any], inside: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields that differ from PEFT's defaults, and the modules, read from the names of the tensors."""
    type_name = config["peft_type"]
    if type_name not in configs():
        return {}
    defaults = {}
    for f in fields(configs()[type_name]):
        defaults[f.name] = f.default if f.default_factory is MISSING else f.default_factory()
    options = {
        key: config[key]
        for key in settable(type_name)
        if key in config and key not in PLACES and config[key] != defaults[key]
    }
    modules = dict(encoder.base_model.named_modules())
    parameters = {name for name, _ in encoder.base_model.named_parameters()}
    paths: dict[str, None] = {}
    for name in inside:
        path = name if name not in parameters else ""
        while path and path not in modules:
            path = path.rpartition(".")[0]
        if path:
            paths[path] = None
    if not paths:  # all tensors are shared
        return options | {key: config[key] for key in PLACES if config.get(key) is not None}
    roles, numbers = tensor_names.targets(encoder, paths)
    return options | {"target_modules": list(roles) if numbers == "all" else sorted(paths)}


def _with_method(encoder: EncoderModel, method: Peft) -> EncoderModel:
    """Return a copy with the method in it."""
    tuned = replace(encoder, model=copy.deepcopy(encoder.model))
    method.inject(tuned, 0)
    return tuned


def _without_method(encoder: EncoderModel) -> EncoderModel:
    """Return a copy without the method, in fp32. A run in bf16 rounds the weights, so they are loaded again."""
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


def _inserted_tensors(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers that PEFT inserted into a layer, frozen or not, shared or not."""
    parts = [*layer.named_parameters(remove_duplicate=False), *layer.named_buffers(remove_duplicate=False)]
    return [(name, tensor) for name, tensor in parts if not name.startswith("base_layer.")]


def _file_name(method: Peft, name: str) -> str:
    """Return the name of a parameter or a buffer in the file of PEFT."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[method.type]  # type: ignore[index]
    return tuner._remove_adapter_name_from_key(name, ADAPTER)
