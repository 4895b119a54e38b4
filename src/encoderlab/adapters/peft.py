"""The folder of the `peft` library, as `PeftModel.from_pretrained(model, folder)` reads it.

It contains adapter_config.json and adapter_model.safetensors, with these names:

    base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight      a tensor that the method inserts
    base_model.model.classifier.weight                                            a tensor of `modules_to_save`

PEFT finds modules by the ends of their names, and does not report if it finds too many. `write` therefore matches the
names with the modules of the model by PEFT's rules. It writes the short name ("query") if that means exactly our
modules, else the exact paths. Every other trained or newly initialized tensor (head, pooler) is in `modules_to_save`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from encoderlab.adapters import peft_library, peft_methods, tensor_names
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json, write_json
from encoderlab.core.tensor_files import save_tensors
from encoderlab.methods.base import Method
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model.encoder import EncoderModel

CONFIG, WEIGHTS, BASE = "adapter_config.json", "adapter_model.safetensors", "base_model_name_or_path"
TASKS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
}


def refusal(encoder: EncoderModel, method: Method) -> str | None:
    """Return why the format of PEFT cannot hold this method; None if it can.

    PEFT may not have the method, or compute another function.
    """
    if reason := peft_library.refusal(method) if isinstance(method, Peft) else peft_methods.refusal(encoder, method):
        return reason
    if isinstance(method, Prefix | Prompt) and _task(encoder)["task_type"] is None:
        return f"PEFT has no task for {type(encoder.model).__name__}, and its prompts and prefixes need one"
    try:
        _modules(encoder, [name for name, _ in encoder.model.named_parameters() if encoder.is_head(name)])
    except InputError as error:
        return str(error)
    return None


def write(encoder: EncoderModel, method: Method, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write the two files of the folder.

    Args:
        encoder: the model, with or without the method in it.
        method: the method.
        tensors: all tensors of the adapter, under our names, including head and newly initialized tensors.
        folder: the folder to write.

    Raises:
        InputError: the format cannot hold the method (`refusal`).
    """
    if reason := refusal(encoder, method):
        raise InputError(reason)
    if isinstance(method, Peft):
        _write_bridged(encoder, method, tensors, folder)
        return
    inserted = {name: tensor for name, tensor in tensors.items() if peft_methods.is_inserted(name)}
    whole = {tensor_names.parameter_name(encoder, n): tensor for n, tensor in tensors.items() if n not in inserted}
    modules = _modules(encoder, whole)
    for name in inserted:  # PEFT silently inserts nothing into a module of `modules_to_save`
        if tensor_names.parameter_name(encoder, name).startswith(tuple(f"{module}." for module in modules)):
            raise InputError(
                f"PEFT saves a newly initialized module as a whole, so it cannot also hold the method's {name}"
            )
    fields, files = peft_methods.to_peft_config(encoder, method, inserted)
    for key in ("feedforward_modules", "target_modules"):  # the first must be a part of the second
        if key in fields:
            paths = [tensor_names.parameter_name(encoder, path) for path in fields[key]]
            fields[key] = _targets(encoder, paths, modules)
    if "feedforward_modules" in fields:
        fields["target_modules"] = sorted({*fields["target_modules"], *fields["feedforward_modules"]})
    config = {
        "base_model_name_or_path": tensor_names.public(encoder.name),
        "inference_mode": True,
        "modules_to_save": modules or None,
        **_task(encoder),
        **fields,
    }
    if peft_methods.is_prompt(config["peft_type"]):
        renamed = files | {f"base_model.{name}": tensor for name, tensor in whole.items()}
    else:
        files = {tensor_names.parameter_name(encoder, name): tensor for name, tensor in files.items()}
        renamed = {f"base_model.model.{name}": tensor for name, tensor in (files | whole).items()}
    save_tensors(folder / WEIGHTS, renamed, {"format": "pt"})
    write_json(folder / CONFIG, dict(sorted(config.items())))


def _write_bridged(encoder: EncoderModel, method: Peft, tensors: Mapping[str, Tensor], folder: Path) -> None:
    whole = [name for name in (tensor_names.parameter_name(encoder, n) for n in tensors) if encoder.is_head(name)]
    modules = _modules(encoder, whole)
    targets = partial(_targets, encoder, modules_to_save=modules)
    fields, files = peft_library.to_peft_config(encoder, method, tensors, modules, targets)
    base = {"base_model_name_or_path": tensor_names.public(encoder.name), "inference_mode": True, **_task(encoder)}
    save_tensors(folder / WEIGHTS, files, {"format": "pt"})
    write_json(folder / CONFIG, dict(sorted((fields | base).items())))


def read(encoder: EncoderModel, folder: Path, *, head: bool = True) -> tuple[Method, dict[str, Tensor]]:
    """Read the method of a folder that PEFT or `write` wrote, and its tensors under our names.

    Args:
        encoder: the encoder that the adapter is for, under any head, without a method.
        folder: the folder.
        head: whether to read the tensors of the head as well.

    Raises:
        InputError: the folder contains something that is not supported.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or "peft_type" not in config:
        raise InputError(
            f"{folder / CONFIG}: the key peft_type is missing; expected the config of an adapter folder of PEFT"
        )
    stored = tensor_names.load_tensors(folder, WEIGHTS, "adapter_model.bin")
    prefix = "base_model." if peft_methods.is_prompt(config["peft_type"]) else "base_model.model."
    shared = {name: tensor for name, tensor in stored.items() if not name.startswith(prefix)}  # outside the modules
    inside = tensor_names.ours(encoder, {n.removeprefix(prefix): t for n, t in stored.items() if n not in shared})
    if not head:
        inside = {name: tensor for name, tensor in inside.items() if not name.startswith(tensor_names.HEAD)}
    elif in_head := [name for name in inside if name.startswith(tensor_names.HEAD) and peft_methods.is_inserted(name)]:
        raise InputError(
            f"{folder}: it also changes modules inside the head ({min(in_head).removeprefix(tensor_names.HEAD)}); only "
            "its tensors in the encoder can be used, without the head: load_adapter(..., head=False), or the key "
            "`adapter` of an encoding study"
        )
    if config["peft_type"] not in peft_library.OUR_METHODS:
        return peft_library.from_peft_config(encoder, config, inside, shared, str(folder))
    whole = {name: tensor for name, tensor in inside.items() if not peft_methods.is_inserted(name)}
    inserted = shared | {name: tensor for name, tensor in inside.items() if name not in whole}
    base = f"{encoder.model.base_model_prefix}."
    root = base if any(name.startswith(prefix + base) for name in stored) else ""  # a bare encoder has no prefix
    method, tensors = peft_methods.from_peft_config(encoder, config, inserted, str(folder), root)
    return method, tensors | whole


def _task(encoder: EncoderModel) -> dict[str, str | dict[str, str] | None]:
    """Return `task_type` if PEFT has one for this head, else the class by which PEFT's Auto class finds the model."""
    model = type(encoder.model)
    kind = next((task for end, task in TASKS.items() if model.__name__.endswith(end)), None)
    if encoder.base_model is encoder.model:
        kind = "FEATURE_EXTRACTION"
    mapping = {"base_model_class": model.__name__, "parent_library": model.__module__}
    return {"task_type": kind, "auto_mapping": None if kind else mapping}


def _modules(encoder: EncoderModel, parameters: Iterable[str]) -> list[str]:
    """Return `modules_to_save` for exactly these parameters. PEFT takes every module whose name has such an end."""
    left, chosen = set(parameters), []
    modules = dict(encoder.model.named_modules())
    for path, module in modules.items():  # outer modules come first
        inside = {f"{path}.{name}" for name, _ in module.named_parameters()}
        if path and inside and inside <= left:
            chosen.append(path)
            left -= inside
    matched = {path for path in modules if any(path.endswith(end) for end in chosen)}
    if left or matched != set(chosen):
        raise InputError(f"PEFT's modules_to_save cannot name {min(left or matched - set(chosen))} alone")
    return chosen


def _targets(encoder: EncoderModel, paths: Sequence[str], modules_to_save: Sequence[str]) -> list[str]:
    """Return `target_modules` for exactly these paths: the shortest ends of names that PEFT matches, else the paths."""
    saved = tuple(f"{name}." for name in modules_to_save)
    every = [p for p, _ in encoder.model.named_modules() if not f"{p}.".startswith(saved)]
    for parts in range(1, 4):
        ends = {".".join(path.split(".")[-parts:]) for path in paths}
        if any(end[0].isdigit() for end in ends):
            break  # the number of a layer: exact, but hard to read
        if {p for p in every if p in ends or p.endswith(tuple(f".{end}" for end in ends))} == set(paths):
            return sorted(ends)
    return sorted(paths)
