"""The adapter folder: what a run gives, and what is put back into an encoder.

    adapter/adapter_model.safetensors   every trained tensor and every fresh one, or it is not written
    adapter/adapter_config.json         PEFT's, where PEFT knows the method: then the tensors carry PEFT's names too
    adapter/encoderlab.json             ours: the method, the base and its fingerprint, what the run was for
    adapter/README.md                   the model card

Where PEFT has no such method the tensors carry our own names (`formats.names`) and adapter_config.json is absent, so
that no other library takes the folder for one of its own.

Loading demands names and shapes one to one, or names what differs. Nothing is left at random silently: to put an
adapter under another head, or on a bare encoder, say `head=False`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoderlab.adapters import adapterhub, base_name, model_card, peft, tensor_names, unfit
from encoderlab.core.errors import InputError
from encoderlab.core.files import build, read_json, write_json, write_text
from encoderlab.core.hashing import as_json
from encoderlab.core.tensor_files import save_tensors
from encoderlab.methods.base import Method
from encoderlab.methods.registry import METHODS
from encoderlab.model.encoder import EncoderModel

FORMAT = "encoderlab-adapter/3"
OURS, WEIGHTS = "encoderlab.json", "adapter_model.safetensors"

log = logging.getLogger(__name__)


def adapter_tensors(backbone: EncoderModel) -> dict[str, Tensor]:
    """What training changes or the checkpoint lacked, under our names."""
    return {
        tensor_names.our_name(backbone, name): parameter.detach()
        for name, parameter in backbone.model.named_parameters()
        if parameter.requires_grad or name in backbone.fresh
    }


def save(
    backbone: EncoderModel,
    method: Method,
    tensors: Mapping[str, Tensor],
    folder: Path,
    about: Mapping[str, Any] | None = None,
) -> int:
    """Write the folder; returns the bytes of the tensors' file. Refuses to leave a trained or fresh tensor out.

    `tensors`: under our names. `about`: what else encoderlab.json says (task, class_names, max_length, seed, head).
    """
    if missing := adapter_tensors(backbone).keys() - tensors.keys():
        raise ValueError(f"refusing to save an adapter without {sorted(missing)}")
    as_peft = peft.refusal(backbone, method) is None
    if as_peft:
        peft.write(backbone, method, tensors, folder)
    else:
        (folder / peft.CONFIG).unlink(missing_ok=True)
        save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    said = as_json(
        {
            "format": FORMAT,
            "layout": "peft" if as_peft else "encoderlab",
            "base": {
                "name": tensor_names.public(backbone.name),
                "fingerprint": backbone.fingerprint,
                "pooler": backbone.pooler_fingerprint,  # frozen, so not in the file
                "tokenizer": backbone.tokenizer_fingerprint,
            },
            "method": asdict(replace(method, learning_rate=None)),
            "sha256": _digest(folder / WEIGHTS),
            **(about or {}),
        }
    )
    write_json(folder / OURS, said)
    write_card(folder)
    return (folder / WEIGHTS).stat().st_size


def write_card(folder: Path, result: Mapping[str, Any] | None = None) -> None:
    """The model card of a folder that `save` wrote; `result`: the run's result.json, as far as it is there."""
    write_text(folder / "README.md", model_card.card(read_json(folder / OURS), result))


def read(
    backbone: EncoderModel, folder: Path, *, head: bool = True, force: bool = False
) -> tuple[Method, dict[str, Tensor]]:
    """The method of an adapter folder and its tensors under our names: one of ours, of PEFT's or of the `adapters`
    library's. `backbone`: the encoder it is for, under any head, without a method in it. `head`: whether the file's
    head will be used, which reads the pooler that it was trained with; without it only the encoder's part is read,
    whatever else the folder changes.

    InputError for another base than the one that the folder was trained on (only logged with `force`), for a damaged
    folder, and naming what another library's folder holds that is not supported.
    """
    with _one_line(folder):
        method, tensors = _read(backbone, folder, head, force)
        if problems := unfit.problems(backbone, method, tensors):
            raise InputError(*problems)
        return method, tensors


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Make one line that names the folder of whatever its files, which may say anything, lead to."""
    try:
        yield
    except InputError as error:
        named = (p if str(folder) in str(p) else p.at(str(folder)) for p in error.problems)
        raise InputError(*named) from None
    except MemoryError:
        raise
    except Exception as error:
        said = (str(error).strip() or "without a reason").splitlines()[0]
        raise InputError(f"{folder}: a file of this adapter is damaged ({type(error).__name__}: {said})") from None


def _read(backbone: EncoderModel, folder: Path, head: bool, force: bool) -> tuple[Method, dict[str, Tensor]]:
    if (folder / OURS).is_file():
        return _ours(backbone, folder, head, force)
    if not (folder / peft.CONFIG).is_file():
        raise InputError(f"{folder}: no adapter folder; expected {OURS} or {peft.CONFIG} in it")
    said = read_json(folder / peft.CONFIG)
    theirs = peft if "peft_type" in said else adapterhub
    if line := base_name.problem(backbone, said.get(theirs.BASE)):
        _other_base(f"{folder}: {line}", f"or correct {theirs.BASE} in {peft.CONFIG} if it is the same one", force)
    return theirs.read(backbone, folder, head=head)


def _ours(backbone: EncoderModel, folder: Path, head: bool, force: bool) -> tuple[Method, dict[str, Tensor]]:
    said = read_json(folder / OURS)
    if said["format"] != FORMAT:
        raise InputError(f"{folder}: its format is {said['format']!r}, this version reads {FORMAT!r}; train it again")
    base = said["base"]
    parts = [
        ("base", "fingerprint", backbone.fingerprint),
        ("tokenizer", "tokenizer", backbone.tokenizer_fingerprint),
    ]
    if head and base["pooler"] and backbone.pooler_fingerprint:  # where one lacks it, the tensors do not fit
        parts.append(("pooler", "pooler", backbone.pooler_fingerprint))
    for part, key, here in parts:
        if base[key] == here:
            continue
        problem = (
            f"{folder}: trained on another {part} ({base['name']}, fingerprint {base[key][:12] or 'none'}) than "
            f"{tensor_names.public(backbone.name)} (fingerprint {here[:12] or 'none'})"
        )
        _other_base(problem, "or --force to use it all the same" if head else "", force)
    if (folder / WEIGHTS).is_file() and _digest(folder / WEIGHTS) != said["sha256"]:
        raise InputError(f"{folder / WEIGHTS}: damaged, or another file than {OURS} describes (its sha256 differs)")
    method = build(METHODS, "name", said["method"])
    if said["layout"] == "peft":
        tensors = peft.read(backbone, folder, head=head)[1]
    else:
        tensors = tensor_names.load_tensors(folder, WEIGHTS)
    return method, _in_order(backbone, tensors, said.get("class_names")) if head else tensors


def _in_order(backbone: EncoderModel, tensors: dict[str, Tensor], classes: Any) -> dict[str, Tensor]:
    """Tensors with the rows of the head's last layer in the order of the model's classes, where the folder has the same
    classes in another one."""
    wanted = list(backbone.model.config.id2label.values())
    if not isinstance(classes, list) or classes == wanted or sorted(map(str, classes)) != sorted(map(str, wanted)):
        return tensors
    layer = backbone.output_layer()
    rows = {tensor_names.our_name(backbone, f"{layer}.{part}") for part in ("weight", "bias")}
    order = [classes.index(name) for name in wanted]
    return {
        name: tensor[order] if name in rows and len(tensor) == len(order) else tensor
        for name, tensor in tensors.items()
    }


def _other_base(problem: str, otherwise: str, force: bool) -> None:
    """Refuse an adapter of another base, or log it. otherwise: what else can be done; "" where the command has no
    --force, as none that puts an adapter under a bare encoder."""
    if not force:
        raise InputError(f"{problem}; give it the encoder it was trained on{otherwise and f', {otherwise}'}")
    log.warning("%s; used all the same, as asked", problem)


def is_there(folder: Path) -> bool:
    """Whether a folder has what `save` writes, as far as file names say it."""
    return (folder / OURS).is_file() and (folder / WEIGHTS).is_file()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_adapter(backbone: EncoderModel, folder: Path | str, *, head: bool = True, force: bool = False) -> Method:
    """Put the adapter of a folder (ours, PEFT's, the `adapters` library's) into a backbone as `load` gives it, without
    dropout from then on; returns its method. Errors as `read` and `fill`.

    head: whether the file's head is the model's. With False only the encoder's part is put in, so that an adapter
    moves to a bare encoder or under another head, which stays as it is: fresh ones random, for training.
    """
    method, tensors = read(backbone, Path(folder), head=head, force=force)
    with _one_line(Path(folder)):
        method.inject(backbone, 0)  # what this draws is filled in below
        fill(backbone, method, tensors, str(folder), head=head)
    backbone.model.eval()
    return method


def fill(
    backbone: EncoderModel, method: Method, tensors: Mapping[str, Tensor], origin: str, *, head: bool = True
) -> None:
    """Copy tensors under our names into the model with `method` in it; anything missing, left over or of another shape
    is an InputError. Without `head`, heads are left alone, and the pooler where not both sides have one."""
    method.resize(backbone, tensors)
    wanted = adapter_tensors(backbone)
    missing, extra = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if not head:
        loose = (tensor_names.HEAD, f"{backbone.family.pooler}.")
        missing, extra = ({n for n in some if not n.startswith(loose)} for some in (missing, extra))
    used = {n: t for n, t in wanted.items() if n in tensors and (head or not n.startswith(tensor_names.HEAD))}
    shapes = [n for n, tensor in used.items() if tensor.shape != tensors[n].shape]
    if missing or extra or shapes:
        parts = {"missing": missing, "not in the model": extra, "of another shape": shapes}
        said = "; ".join(f"{len(some)} {what}, e.g. {min(some)}" for what, some in parts.items() if some)
        raise InputError(f"{origin}: the tensors do not fit the model: {said}")
    with torch.no_grad():
        for name, tensor in used.items():
            tensor.copy_(tensors[name])
