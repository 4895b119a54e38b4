"""The state of a run at the end of an epoch, from which a killed run resumes as if nothing had happened.

    checkpoint/epoch-<n>.safetensors  trained tensors, both Adam moments, what the method remembers; in the header the
                                      position and the history. The last two epochs are kept
    checkpoint/best-<n>.safetensors   trained tensors of the best epoch so far, that of each state that is kept

A state is written after its best file, and an older file is removed only after that: whenever the process dies, the
states on disk find their best files. Each file carries the SHA-256 of its content and of its header. If a file does not
match it, the state of the epoch before is used. No random state is kept: draws are seeded by their place in the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from encoderlab.core.errors import InputError, first_line
from encoderlab.core.tensor_files import save_tensors
from encoderlab.training.epochs import Epoch

KEPT = 2  # states


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epoch: The epochs that are done.
        step: The optimizer steps that are done.
        best_epoch: The best epoch so far; 0 before the first one ends.
        best_score: What the best epoch is ranked by; higher is better.
        seconds: The time of the training steps.
        log_lines: How many lines of metrics.jsonl belong to it.
        history: The epochs that are done.
        warnings: The checkpoints that could not be used, and why.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: tuple[float, ...] = ()
    seconds: float = 0.0
    log_lines: int = 0
    history: list[Epoch] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def save(
    folder: Path,
    progress: Progress,
    tensors: Mapping[str, Tensor],
    memory: Mapping[str, Tensor],
    optimizer: torch.optim.AdamW,
) -> None:
    """Write the best tensors if the last epoch is the best one, then the whole state.

    Args:
        folder: The checkpoint folder.
        progress: How far the run is.
        tensors: The trained tensors by their names in the adapter file.
        memory: What the method remembers.
        optimizer: Its moments are saved.
    """
    if progress.best_epoch == progress.epoch:
        _write(_best(folder, progress.epoch), tensors, {"best_epoch": progress.epoch})
    state = {f"trained/{name}": tensor for name, tensor in tensors.items()}
    state |= {f"memory/{name}": tensor for name, tensor in memory.items()}
    for i, (_, moments) in enumerate(sorted(optimizer.state_dict()["state"].items())):
        state |= {f"adam/{i}/{key}": value for key, value in moments.items()}
    _write(folder / f"epoch-{progress.epoch}.safetensors", state, asdict(progress))
    states = _states(folder)
    for path in states[KEPT:]:
        path.unlink()
    wanted = {_best(folder, progress.best_epoch)}
    for path in states[1:KEPT]:
        if (said := _said(path)) is not None:
            wanted.add(_best(folder, said["best_epoch"]))
    for path in folder.glob("best-*.safetensors"):
        if path not in wanted:
            path.unlink()


def read(folder: Path) -> tuple[Progress, dict[str, Tensor]]:
    """Return the newest state that is whole and whose best file is whole; an empty one if there is none.

    `Progress.warnings` lists the states that were passed over.
    """
    torn: list[str] = []
    for path in _states(folder):
        try:
            said, state = _read(path)
            progress = _progress(path, said)
            best(folder, progress)
        except InputError as error:
            torn.append(str(error))
            continue
        if torn:
            progress.warnings.append(f"{'; '.join(torn)}; resumed from the end of epoch {progress.epoch}")
        return progress, state
    if torn:
        return Progress(warnings=[f"{'; '.join(torn)}; started over"]), {}
    return Progress(), {}


def restore(
    state: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    memory: Mapping[str, Tensor],
    optimizer: torch.optim.AdamW,
) -> None:
    """Fill the tensors, the method's memory and the optimizer from a state that `read` returned."""
    if not state:
        return
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(state[f"trained/{name}"])
        for name, tensor in memory.items():
            tensor.copy_(state[f"memory/{name}"])
    adam: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        kind, _, rest = name.partition("/")
        if kind == "adam":
            index, _, key = rest.partition("/")
            adam.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": adam})


def best(folder: Path, progress: Progress) -> dict[str, Tensor]:
    """Return the trained tensors of the best epoch.

    Raises:
        InputError: Their file is damaged.
    """
    return _read(_best(folder, progress.best_epoch))[1]


def _best(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch}.safetensors"


def _states(folder: Path) -> list[Path]:
    """Return the files of the states, newest first."""
    numbers = {path: path.stem.removeprefix("epoch-") for path in folder.glob("epoch-*.safetensors")}
    return sorted((path for path, n in numbers.items() if n.isdigit()), key=lambda path: -int(numbers[path]))


def _write(path: Path, tensors: Mapping[str, Tensor], said: Mapping[str, Any]) -> None:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(said)
    save_tensors(path, whole, {"said": text, "sha256": _digest(whole, text)})


def _read(path: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors of a file.

    Raises:
        InputError: The file is missing, or is not what was written.
    """
    try:
        with safe_open(path, "pt") as file:  # which checks the length
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        if header["sha256"] == _digest(tensors, header["said"]):
            return json.loads(header["said"]), tensors
        reason = "its content is not what was written"
    except FileNotFoundError:
        reason = "it is missing"
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = first_line(error)
    raise InputError(f"checkpoint/{path.name} is damaged ({reason})")


def _progress(path: Path, said: Mapping[str, Any]) -> Progress:
    try:
        history = [Epoch(**epoch) for epoch in said["history"]]
        return Progress(**{**said, "history": history, "best_score": tuple(said["best_score"])})
    except (KeyError, TypeError):
        raise InputError(f"checkpoint/{path.name} was written by another version of encoderlab") from None


def _said(path: Path) -> Mapping[str, Any] | None:
    """Return what the header of a state says, unverified. None if it cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["said"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _digest(tensors: Mapping[str, Tensor], said: str) -> str:
    """Return the SHA-256 of the header's text and of every tensor's name, dtype, shape and bytes."""
    sha = hashlib.sha256(said.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
