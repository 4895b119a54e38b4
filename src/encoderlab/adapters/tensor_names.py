"""The names of tensors in our adapter file, and of the parameters of a transformers model.

Our names are relative to the base model ("encoder.layer.0.attention.self.query.lora_A.weight"), so that an adapter can
move between heads. The names of a head start with "head.".
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from encoderlab.core.errors import InputError, first_line
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import ROLES

HEAD = "head."
Layers = Literal["all"] | tuple[int, ...]  # the key `layers` of a method


def public(model: str) -> str:
    """Return the name of the base model in a file for others: a hub name, or the last part of a folder."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def parameter_name(encoder: EncoderModel, name: str) -> str:
    """Return the name of a parameter in this model for one of our names."""
    return name.removeprefix(HEAD) if name.startswith(HEAD) else encoder.base_prefix + name


def our_name(encoder: EncoderModel, parameter: str) -> str:
    """Return our name of a parameter of this model."""
    prefix = encoder.base_prefix
    return parameter.removeprefix(prefix) if parameter.startswith(prefix) else HEAD + parameter


def ours(encoder: EncoderModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give our names to tensors with the parameter names of any model of this family.

    These names have the prefix of the base model ("bert.encoder...") or, in a bare encoder, none ("encoder...").
    """
    prefix = encoder.model.base_model_prefix + "."
    inside = {name for name, _ in encoder.base_model.named_children()}
    if hasattr(encoder.base_model, encoder.family.pooler):  # a bare encoder may have None
        inside.add(encoder.family.pooler)
    bare = not any(name.startswith(prefix) for name in tensors)

    def named(name: str) -> str:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
        return name if bare and name.partition(".")[0] in inside else HEAD + name

    return {named(name): tensor for name, tensor in tensors.items()}


def targets(encoder: EncoderModel, paths: Iterable[str]) -> tuple[tuple[str, ...], Layers]:
    """Return the keys (target, layers) of a method that changes exactly these linear layers.

    The targets are roles if roles describe these layers, else paths.

    Args:
        encoder: the encoder.
        paths: paths relative to the base model.
    """
    wanted, every = set(paths), encoder.layer_numbers("all")
    by_role = {role: [path for i in every for path in encoder.linear_paths(role, [i])] for role in ROLES}
    if encoder.family.fused:
        del by_role["key"], by_role["value"]  # "query" stands for the layer that computes all three
    roles = tuple(role for role in by_role if wanted & set(by_role[role]))
    layers = tuple(i for i in every if any(by_role[role][i] in wanted for role in roles))
    if wanted == {by_role[role][i] for role in roles for i in layers}:
        return roles, "all" if list(layers) == every else layers
    return tuple(sorted(wanted)), "all"


def load_tensors(folder: Path, *names: str) -> dict[str, Tensor]:
    """Load the tensors of the first of `names` in the folder in fp32, from safetensors or a pickle of tensors.

    Raises:
        InputError: there is no file, or it is damaged, or it contains numbers that are not finite.
    """
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: no adapter weights; expected {' or '.join(names)} in it")
    try:
        safe = path.suffix == ".safetensors"
        tensors = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: damaged, or not a file of tensors ({first_line(error)})") from None
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise InputError(f"{path}: expected a dict of tensors, as torch.save(model.state_dict()) writes it")
    for name, tensor in tensors.items():
        if tensor.is_complex() or not tensor.isfinite().all():
            raise InputError(
                f"{path}: the tensor {name!r} holds numbers that are not finite (nan, inf or complex); every answer "
                "would be nan: copy the file again, or train the adapter again"
            )
    # A bias that float32 would round too coarsely is in float64 (`Trainer._given`).
    return {name: t if t.dtype == torch.float64 else t.float() for name, t in tensors.items()}


def paths(tensors: Mapping[str, Tensor], end: str) -> list[str]:
    """Return the paths of the modules that have a tensor with this end of its name."""
    return [name.removesuffix(end) for name in tensors if name.endswith(end)]
