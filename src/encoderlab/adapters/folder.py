"""Save and load the adapter folder of a run.

    adapter/adapter_model.safetensors   every trained and every newly initialized tensor
    adapter/adapter_config.json         the config of PEFT, if PEFT has the method; the tensors then have PEFT's names
    adapter/encoderlab.json             our config: the method, the base model and its fingerprint, the task
    adapter/README.md                   the model card

If PEFT does not have the method, the tensors have our names (`tensor_names`), and there is no adapter_config.json, so
that no other library takes the folder for its own.

Loading requires the same names and shapes, or reports the differences. No tensor is silently left at random: use
`head=False` to load an adapter under another head, or on a bare encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoderlab.adapters import adapterhub, base_name, model_card, peft, tensor_names, unfit
from encoderlab.adapters.folder_files import OURS, WEIGHTS
from encoderlab.core.errors import InputError, first_line
from encoderlab.core.files import build, read_json, write_json, write_text
from encoderlab.core.hashing import as_json, file_hash
from encoderlab.core.tensor_files import save_tensors
from encoderlab.methods.base import Method
from encoderlab.methods.registry import METHODS
from encoderlab.model.encoder import EncoderModel

FORMAT = "encoderlab-adapter/3"

log = logging.getLogger(__name__)


def adapter_tensors(encoder: EncoderModel) -> dict[str, Tensor]:
    """Return the tensors that training changes or that the checkpoint lacks, under our names."""
    return {
        tensor_names.our_name(encoder, name): parameter.detach()
        for name, parameter in encoder.model.named_parameters()
        if parameter.requires_grad or name in encoder.newly_initialized
    }


def save(
    encoder: EncoderModel,
    method: Method,
    tensors: Mapping[str, Tensor],
    folder: Path,
    about: Mapping[str, Any] | None = None,
) -> int:
    """Write the folder.

    Args:
        encoder: the model with the method in it.
        method: the method.
        tensors: the tensors to save, under our names.
        folder: the folder to write.
        about: more entries of encoderlab.json (task, class_names, max_length, seed, head).

    Returns:
        The size of the tensor file in bytes.

    Raises:
        ValueError: a trained or newly initialized tensor is missing.
    """
    if missing := adapter_tensors(encoder).keys() - tensors.keys():
        raise ValueError(f"refusing to save an adapter without {sorted(missing)}")
    as_peft = peft.refusal(encoder, method) is None
    if as_peft:
        peft.write(encoder, method, tensors, folder)
    else:
        (folder / peft.CONFIG).unlink(missing_ok=True)
        save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    contents = as_json(
        {
            "format": FORMAT,
            "layout": "peft" if as_peft else "encoderlab",
            "base": {
                "name": tensor_names.public(encoder.name),
                "fingerprint": encoder.fingerprint,
                "pooler": encoder.pooler_fingerprint,  # frozen, so not in the file
                "tokenizer": encoder.tokenizer_fingerprint,
            },
            "method": asdict(replace(method, learning_rate=None)),
            "sha256": file_hash(folder / WEIGHTS),
            **(about or {}),
        }
    )
    write_json(folder / OURS, contents)
    write_card(folder)
    return (folder / WEIGHTS).stat().st_size


def write_card(folder: Path, result: model_card.Result | None = None) -> None:
    """Write the model card of a folder that `save` wrote.

    Args:
        folder: the folder.
        result: the record of the run, if the run was scored.
    """
    write_text(folder / "README.md", model_card.card(read_json(folder / OURS), result))


def read(
    encoder: EncoderModel, folder: Path, *, head: bool = True, force: bool = False
) -> tuple[Method, dict[str, Tensor]]:
    """Read the method of an adapter folder, and its tensors under our names.

    Args:
        encoder: the encoder that the adapter is for, under any head, without a method.
        folder: a folder of encoderlab, PEFT or the `adapters` library.
        head: whether the head of the file is used, which needs the pooler that it was trained with; without it, only
            the tensors of the encoder are read.
        force: whether to log another base model than the one that the adapter was trained on, instead of raising.

    Raises:
        InputError: the adapter was trained on another base model, the folder is damaged, or it contains something of
            another library that is not supported.
    """
    with _one_line(folder):
        method, tensors = _read(encoder, folder, head, force)
        if problems := unfit.problems(encoder, method, tensors):
            raise InputError(*problems)
        return method, tensors


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Turn any exception while reading a folder into an InputError of one line that names the folder."""
    try:
        yield
    except InputError as error:
        named = (p if str(folder) in str(p) else p.at(str(folder)) for p in error.problems)
        raise InputError(*named) from None
    except MemoryError:
        raise
    except Exception as error:
        reason = first_line(error, named=True)
        raise InputError(f"{folder}: a file of this adapter is damaged ({reason}); copy the folder again") from None


def _read(encoder: EncoderModel, folder: Path, head: bool, force: bool) -> tuple[Method, dict[str, Tensor]]:
    if (folder / OURS).is_file():
        return _ours(encoder, folder, head, force)
    if not (folder / peft.CONFIG).is_file():
        raise InputError(f"{folder}: no adapter folder; expected {OURS} or {peft.CONFIG} in it")
    config = read_json(folder / peft.CONFIG)
    theirs = peft if "peft_type" in config else adapterhub
    if line := base_name.problem(encoder, config.get(theirs.BASE)):
        _other_base(f"{folder}: {line}", f"or correct {theirs.BASE} in {peft.CONFIG} if it is the same one", force)
    return theirs.read(encoder, folder, head=head)


def _ours(encoder: EncoderModel, folder: Path, head: bool, force: bool) -> tuple[Method, dict[str, Tensor]]:
    contents = read_json(folder / OURS)
    if contents["format"] != FORMAT:
        raise InputError(
            f"{folder}: its format is {contents['format']!r}; this version reads {FORMAT!r}: train the adapter again"
        )
    base = contents["base"]
    parts = [
        ("base", "fingerprint", encoder.fingerprint),
        ("tokenizer", "tokenizer", encoder.tokenizer_fingerprint),
    ]
    if head and base["pooler"] and encoder.pooler_fingerprint:  # if one lacks it, the tensors do not fit
        parts.append(("pooler", "pooler", encoder.pooler_fingerprint))
    for part, key, here in parts:
        if base[key] == here:
            continue
        problem = (
            f"{folder}: trained on another {part} ({base['name']}, fingerprint {base[key][:12] or 'none'}) than "
            f"{tensor_names.public(encoder.name)} (fingerprint {here[:12] or 'none'})"
        )
        _other_base(problem, "or --force to use it all the same" if head else "", force)
    if (folder / WEIGHTS).is_file() and file_hash(folder / WEIGHTS) != contents["sha256"]:
        raise InputError(f"{folder / WEIGHTS}: damaged, or another file than {OURS} describes (its sha256 differs)")
    method = build(METHODS, "name", contents["method"])
    if contents["layout"] == "peft":
        tensors = peft.read(encoder, folder, head=head)[1]
    else:
        tensors = tensor_names.load_tensors(folder, WEIGHTS)
    return method, _in_order(encoder, tensors, contents.get("class_names")) if head else tensors


def _in_order(encoder: EncoderModel, tensors: dict[str, Tensor], classes: Any) -> dict[str, Tensor]:
    """Sort the rows of the head's last layer in the order of the model's classes, if the folder has another order."""
    wanted = list(encoder.model.config.id2label.values())
    if not isinstance(classes, list) or classes == wanted or sorted(map(str, classes)) != sorted(map(str, wanted)):
        return tensors
    layer = encoder.output_layer()
    rows = {tensor_names.our_name(encoder, f"{layer}.{part}") for part in ("weight", "bias")}
    order = [classes.index(name) for name in wanted]
    return {
        name: tensor[order] if name in rows and len(tensor) == len(order) else tensor
        for name, tensor in tensors.items()
    }


def _other_base(problem: str, otherwise: str, force: bool) -> None:
    """Raise InputError for an adapter of another base model, or log it with `force`.

    Args:
        problem: the difference between the two models.
        otherwise: an alternative for the user; "" if there is none. Commands on a bare encoder have no --force.
        force: whether to log the problem instead.
    """
    if not force:
        raise InputError(f"{problem}; use the encoder that the adapter was trained on{otherwise and f', {otherwise}'}")
    log.warning("%s; used anyway, because force is set", problem)


def load_adapter(encoder: EncoderModel, folder: Path | str, *, head: bool = True, force: bool = False) -> Method:
    """Insert the adapter of a folder into an encoder in place, and set the model to evaluation mode.

    Args:
        encoder: the encoder as `load` returns it.
        folder: a folder of encoderlab, PEFT or the `adapters` library.
        head: whether to load the head as well. Without it, the adapter moves to a bare encoder or under another head,
            which does not change; a newly initialized head is random and has to be trained.
        force: whether to log another base model than the one that the adapter was trained on, instead of raising.

    Returns:
        The method of the adapter.

    Raises:
        InputError: the folder cannot be read (`read`), or its tensors do not fit the model (`fill`).
    """
    method, tensors = read(encoder, Path(folder), head=head, force=force)
    with _one_line(Path(folder)):
        method.inject(encoder, 0)  # `fill` replaces the random tensors
        fill(encoder, method, tensors, str(folder), head=head)
    encoder.model.eval()
    return method


def fill(
    encoder: EncoderModel, method: Method, tensors: Mapping[str, Tensor], origin: str, *, head: bool = True
) -> None:
    """Copy tensors into the model in place.

    Args:
        encoder: the model with `method` in it.
        method: the method of the adapter.
        tensors: the tensors, under our names.
        origin: where they are from, for messages.
        head: whether to fill the head; without it, the pooler is filled only if both sides have one.

    Raises:
        InputError: tensors are missing, left over or of another shape.
    """
    method.resize(encoder, tensors)
    wanted = adapter_tensors(encoder)
    missing, extra = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if not head:
        loose = (tensor_names.HEAD, f"{encoder.family.pooler}.")
        missing, extra = ({n for n in names if not n.startswith(loose)} for names in (missing, extra))
    used = {n: t for n, t in wanted.items() if n in tensors and (head or not n.startswith(tensor_names.HEAD))}
    shapes = [n for n, tensor in used.items() if tensor.shape != tensors[n].shape]
    if missing or extra or shapes:
        parts = {"missing": missing, "not in the model": extra, "of another shape": shapes}
        listed = "; ".join(f"{len(names)} {what}, e.g. {min(names)}" for what, names in parts.items() if names)
        raise InputError(f"{origin}: the tensors do not fit the model: {listed}")
    with torch.no_grad():
        for name, tensor in used.items():
            tensor.copy_(tensors[name])
