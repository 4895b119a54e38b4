"""What tensors are called: in our adapter file, and as parameters of a model in transformers.

Ours are relative to the encoder trunk ("encoder.layer.0.attention.self.query.lora_A.weight"), so that an adapter moves
between heads; those of a head start with "head.".
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

from encoderlab.core.errors import InputError
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import ROLES

HEAD = "head."
Layers = Literal["all"] | tuple[int, ...]  # as method sections say it


def public(model: str) -> str:
    """What a file that others get calls the base model: a hub name as it is, a folder by its last name."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def parameter_name(encoder: EncoderModel, name: str) -> str:
    """The parameter of this model that one of our names means."""
    return name.removeprefix(HEAD) if name.startswith(HEAD) else encoder.base_prefix + name


def our_name(encoder: EncoderModel, parameter: str) -> str:
    """Our name of a parameter of this model."""
    prefix = encoder.base_prefix
    return parameter.removeprefix(prefix) if parameter.startswith(prefix) else HEAD + parameter


def ours(encoder: EncoderModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for tensors that are called as the parameters of some model of this family, whatever its head: with
    the trunk's prefix ("bert.encoder...") or, from a bare encoder, without it ("encoder...")."""
    prefix = encoder.model.base_model_prefix + "."
    inside = {name for name, _ in encoder.base_model.named_children()}
    if hasattr(encoder.base_model, encoder.family.pooler):  # a bare encoder's may be None
        inside.add(encoder.family.pooler)
    bare = not any(name.startswith(prefix) for name in tensors)

    def named(name: str) -> str:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
        return name if bare and name.partition(".")[0] in inside else HEAD + name

    return {named(name): tensor for name, tensor in tensors.items()}


def targets(encoder: EncoderModel, paths: Iterable[str]) -> tuple[tuple[str, ...], Layers]:
    """(target, layers) of a method section whose linear layers are exactly `paths` (relative to the trunk): roles where
    roles say it, else the paths themselves."""
    wanted, every = set(paths), encoder.layer_numbers("all")
    by_role = {role: [path for i in every for path in encoder.linear_paths(role, [i])] for role in ROLES}
    if encoder.family.fused:
        del by_role["key"], by_role["value"]  # one layer for the three: "query" says it
    roles = tuple(role for role in by_role if wanted & set(by_role[role]))
    layers = tuple(i for i in every if any(by_role[role][i] in wanted for role in roles))
    if wanted == {by_role[role][i] for role in roles for i in layers}:
        return roles, "all" if list(layers) == every else layers
    return tuple(sorted(wanted)), "all"


def load_tensors(folder: Path, *names: str) -> dict[str, Tensor]:
    """The tensors of the first of `names` that is in the folder, fp32: safetensors, or a pickle, of which tensors only
    are unpacked. InputError where there is none, or it is damaged, or holds what is no number."""
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: no adapter weights; expected {' or '.join(names)} in it")
    try:
        safe = path.suffix == ".safetensors"
        tensors = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path}: damaged, or not a file of tensors ({said})") from None
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise InputError(f"{path}: expected a dict of tensors, as torch.save(model.state_dict()) writes it")
    for name, tensor in tensors.items():
        if tensor.is_complex() or not tensor.isfinite().all():
            raise InputError(
                f"{path}: the tensor {name!r} holds numbers that are not finite (nan, inf or complex); every answer "
                "would be nan: copy the file again, or train the adapter again"
            )
    # float64 is a bias that float32 rounds by too much (`Trainer._given`).
    return {name: t if t.dtype == torch.float64 else t.float() for name, t in tensors.items()}


def paths(tensors: Mapping[str, Tensor], end: str) -> list[str]:
    """The modules that have a tensor of this name."""
    return [name.removesuffix(end) for name in tensors if name.endswith(end)]
