"""What the layers in front of the first trained one give, computed once per example and kept on disk.

    h = layer_k-1(... layer_0(embeddings(tokens)))        frozen, so the same in every epoch, for every seed and method

Layers that nothing trains run as in inference, without dropout, whether they are cached or not: so a run's numbers do
not depend on the cache. Nor does its time: the seconds that the states took are kept beside them, and count for every
run that uses them. Kept are the states of every token in front of layer k; where nothing but a head trains, those
of each sequence's first token behind the last layer, which is all that the head reads. In the run's precision, in a
memory-mapped file that all runs of a study share; one that would go over the budget is not made.

The layers that are left out stay in the model: called with cached states they hand on what they are given.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json, write_atomically, write_json
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.model import fingerprints
from encoderlab.model.encoder import EncoderModel

log = logging.getLogger(__name__)

_said: set[Path] = set()
NUMPY = {torch.float32: np.dtype(np.float32), torch.bfloat16: np.dtype(np.uint16)}


@final
@dataclass(frozen=True, kw_only=True)
class TrunkCache:
    """Where states are kept, and how much of the disk they may take together. bytes: 0 keeps nothing. since: files that
    were last used before this time (seconds, as `time.time`) make room for others."""

    folder: Path
    bytes: int
    since: float = -math.inf


class Reached(Exception):
    """The states that were asked for are there; the rest of the forward pass is not needed."""


def frozen_layers(encoder: EncoderModel) -> int:
    """How many leading layers nothing trains: all of them under a head alone, none where the embeddings train."""
    paths = encoder.layer_paths()
    trained = {name.removeprefix(encoder.base_prefix) for name, _ in encoder.trainable() if _in_trunk(encoder, name)}
    inside = [i for i, path in enumerate(paths) if any(name.startswith(f"{path}.") for name in trained)]
    others = [name for name in trained if not any(name.startswith(f"{path}.") for path in paths)]
    if others:
        return 0
    return min(inside, default=len(paths))


def _in_trunk(encoder: EncoderModel, name: str) -> bool:
    return name.startswith(encoder.base_prefix) and not encoder.in_pooler(name)


class Trunk:
    """The leading frozen layers of a model, and the states that stand in for them while they are `given`.

    count: for how many states can stand in; 0 leaves the model as it is. frozen: what runs as in inference, the first
    `resting` layers with what is in front of them. whole: all, so that nothing but a head trains. kept: states by the
    fingerprint of their rows, one row of the array a token, or a sequence where `whole`.
    """

    def __init__(self, encoder: EncoderModel, count: int, resting: int) -> None:
        layers = encoder.layers()
        self.count, self.whole = count, count == len(layers)
        children = encoder.base_model.named_children()
        self.frozen: list[nn.Module] = [*layers[:resting]]
        if resting:
            self.frozen += [m for name, m in children if name != encoder.family.pooler and not _holds(m, layers)]
        self.given: Tensor | None = None
        self.asked = False
        self.seen: Tensor | None = None
        self.kept: dict[str, np.ndarray] = {}
        if count == 0:
            return
        for layer in layers[:count]:
            layer.forward = self._through(layer.forward)  # type: ignore[method-assign]
        if self.whole:
            encoder.base_model.get_submodule(encoder.family.encoder).register_forward_hook(self._behind)
        else:
            layers[count].register_forward_pre_hook(self._before)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over everything in the frozen layers and what stands in front of them: a method may have changed how
        their weights are stored, and with it what they give."""
        digest = hashlib.sha256()
        for module in self.frozen:
            for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
                digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(fingerprints.buffer(tensor))
        return digest.hexdigest()

    def rest(self) -> None:
        """Frozen layers run as in inference. After every `train()`."""
        for module in self.frozen:
            module.eval()

    @contextlib.contextmanager
    def standing_in(self, states: Tensor | None) -> Iterator[None]:
        self.given = states
        try:
            yield
        finally:
            self.given = None

    def states(self, run: Callable[[], object]) -> Tensor:
        """What a forward pass of `run` has in front of the first trained layer, or behind the last one."""
        self.asked, self.seen = True, None
        try:
            run()
        except Reached:
            pass
        finally:
            self.asked = False
        assert self.seen is not None
        return self.seen

    def _through(self, own: Callable[..., Any]) -> Callable[..., Any]:
        def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            return own(hidden_states, *args, **kwargs) if self.given is None else hidden_states

        return forward

    def _before(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.asked:
            self.seen = args[0]
            raise Reached
        return None if self.given is None else (self.given, *args[1:])

    def _behind(self, encoder: nn.Module, args: Any, output: Any) -> Any:
        states = output if isinstance(output, Tensor) else output[0]
        if self.asked:
            self.seen = states
            raise Reached
        given = self.given
        return output if given is None else replaced(output, lambda _: given)


def replaced(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """What a part of the model returns, with its first tensor changed."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    output.last_hidden_state = change(output.last_hidden_state)
    return output


def _holds(module: nn.Module, layers: list[nn.Module]) -> bool:
    mine = set(module.modules())
    return any(layer in mine for layer in layers)


def path_of(cache: TrunkCache, model: str, trunk: Trunk, tokenized: TokenizedRows, dtype: torch.dtype) -> Path:
    """model: the fingerprint of the base, whose config says what its tensors compute."""
    key = f"{model}:{trunk.fingerprint}:{tokenized.fingerprint}:{trunk.count}:{trunk.whole}:{dtype}"
    return cache.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"


def room(cache: TrunkCache, size: int) -> bool:
    """Whether a file of `size` bytes still fits, beside those that are there or are being written. Files of earlier
    commands go for it, the oldest first; one that a process still reads stays readable to it."""
    there = []
    for file in cache.folder.glob("*.npy*") if cache.folder.is_dir() else ():
        with contextlib.suppress(OSError):  # gone meanwhile
            there.append((file.stat().st_mtime, file.stat().st_size, file))
    taken = sum(one for _, one, _ in there)
    for used, one, file in sorted(there) if size <= cache.bytes else ():
        if taken + size <= cache.bytes or used >= cache.since:
            break
        with contextlib.suppress(OSError):
            file.unlink()
            _times(file).unlink(missing_ok=True)
            taken -= one
    fits = taken + size <= cache.bytes
    if cache.bytes and not fits and cache.folder not in _said:
        _said.add(cache.folder)
        log.warning(
            "not all of frozen layers' states fit into train.trunk_cache, first %.3g of %.3g GB: those that do not are "
            "computed in every epoch and run",
            size / 1e9,
            cache.bytes / 1e9,
        )
    return fits


def written(path: Path, shape: tuple[int, int], dtype: torch.dtype, parts: Iterator[tuple[np.ndarray, Tensor]]) -> None:
    """A file of states, from (rows of the file, their states), and how long they took. InputError as
    `write_atomically`."""
    start = time.perf_counter()

    def write(beside: Path) -> None:
        array = np.lib.format.open_memmap(beside, mode="w+", dtype=NUMPY[dtype], shape=shape)
        # A full disk would kill a process that writes into a hole of a mapped file.
        if hasattr(os, "posix_fallocate"):
            with beside.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        for rows, states in parts:
            array[rows] = _bits(states)
        array.flush()
        write_json(_times(path), {"seconds": time.perf_counter() - start})

    write_atomically(path, write)


def seconds(path: Path) -> float:
    """How long the states of a file took; 0 where that is not known."""
    try:
        return float(read_json(_times(path))["seconds"])
    except (InputError, ValueError, KeyError, TypeError):
        return 0.0


def _times(path: Path) -> Path:
    return path.with_suffix(".json")


def opened(path: Path, shape: tuple[int, int], dtype: torch.dtype) -> np.ndarray | None:
    """The states of a file, read as they are used; None where it is missing or is something else."""
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    if array.shape != shape or array.dtype != NUMPY[dtype]:
        return None
    with contextlib.suppress(OSError):  # of a folder that is closed by now
        os.utime(path)
    return array


def _bits(states: Tensor) -> np.ndarray:
    states = states.detach().cpu()
    return states.view(torch.uint16).numpy() if states.dtype == torch.bfloat16 else states.numpy()


def as_tensor(array: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    found = torch.from_numpy(np.ascontiguousarray(array))
    return (found.view(torch.bfloat16) if dtype == torch.bfloat16 else found).to(device)
