"""The state of a run at the end of an epoch, so that a killed run goes on as if nothing had happened.

    checkpoint/last.safetensors          trained tensors, both Adam moments, what the method remembers; in the header
                                         the position and the history
    checkpoint/best-<epoch>.safetensors  trained tensors of the best epoch so far

`last` names the best epoch it belongs to and is written after it, and an older best file is removed only after that:
whenever the process dies, the `last` on disk finds its best file. No random state is kept: draws are seeded by their
place in the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from encoderlab.runs import save_tensors


@dataclass
class Progress:
    """How far a run is. `log_lines`: the lines of metrics.jsonl that belong to it."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: tuple[float, ...] = ()
    seconds: float = 0.0
    log_lines: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save(
    folder: Path,
    progress: Progress,
    tensors: Mapping[str, Tensor],
    memory: Mapping[str, Tensor],
    optimizer: torch.optim.AdamW,
) -> None:
    """Write the best tensors where the last epoch is the best one, then the whole state."""
    if progress.best_epoch == progress.epoch:
        save_tensors(_best(folder, progress.epoch), tensors)
    state = {f"trained/{name}": tensor for name, tensor in tensors.items()}
    state |= {f"memory/{name}": tensor for name, tensor in memory.items()}
    for i, (_, moments) in enumerate(sorted(optimizer.state_dict()["state"].items())):
        state |= {f"adam/{i}/{key}": value for key, value in moments.items()}
    save_tensors(folder / "last.safetensors", state, {"progress": json.dumps(asdict(progress))})
    for path in folder.glob("best-*.safetensors"):
        if path != _best(folder, progress.best_epoch):
            path.unlink()


def load(
    folder: Path, tensors: Mapping[str, Tensor], memory: Mapping[str, Tensor], optimizer: torch.optim.AdamW
) -> Progress | None:
    """Fill tensors, the method's memory and the optimizer from the checkpoint and return its position; None where
    there is none that can be read."""
    try:
        with safe_open(folder / "last.safetensors", "pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        best(folder, progress)
    except (OSError, SafetensorError):
        return None
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
    progress.best_score = tuple(progress.best_score)
    return progress


def best(folder: Path, progress: Progress) -> dict[str, Tensor]:
    """The trained tensors of the best epoch."""
    return load_file(_best(folder, progress.best_epoch))


def _best(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch}.safetensors"
