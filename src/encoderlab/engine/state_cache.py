"""States of frozen layers on the disk, computed once for all runs of a study.

A file is a NumPy array in the run's precision, (tokens, hidden), or (sequences, hidden) where only a head trains. bf16
numbers are stored as their bits, uint16. All runs map the same file into memory. encoderlab does not write a file that
would go over the budget. A JSON file beside it holds the seconds that its states took to compute. Every run that uses
them counts these seconds, so that the first method of a study does not look slower than the second.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json, write_atomically, write_json
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.frozen_layers import FrozenLayers

log = logging.getLogger(__name__)

_said: set[Path] = set()  # folders for which it was said that not all states fit
NUMPY = {torch.float32: np.dtype(np.float32), torch.bfloat16: np.dtype(np.uint16)}


@final
@dataclass(frozen=True, kw_only=True)
class StateCache:
    """Where states are kept, and how much of the disk they may take together.

    Attributes:
        folder: the folder of the files; it need not exist.
        bytes: the budget of all files together; 0 keeps nothing.
        since: files that were last used before this time (seconds, as `time.time`) make room for others.
    """

    folder: Path
    bytes: int
    since: float = -math.inf


def path_of(cache: StateCache, model: str, frozen: FrozenLayers, tokenized: TokenizedRows, dtype: torch.dtype) -> Path:
    """Name the file of a split's states after everything that they depend on.

    Args:
        cache: where the files lie.
        model: the fingerprint of the base, config included.
        frozen: the frozen layers.
        tokenized: the split.
        dtype: the run's precision.
    """
    key = f"{model}:{frozen.fingerprint}:{tokenized.fingerprint}:{frozen.count}:{frozen.whole}:{dtype}"
    return cache.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"


def room(cache: StateCache, size: int) -> bool:
    """Return whether a file of `size` bytes fits, after removing files of earlier commands for it, the oldest first.

    Files that are being written count as well. A process that still reads a removed file can go on reading it. The
    function logs once per folder that a file does not fit.
    """
    there = []  # (last used, bytes, file)
    for file in cache.folder.glob("*.npy*") if cache.folder.is_dir() else ():
        with contextlib.suppress(OSError):  # gone meanwhile
            there.append((file.stat().st_mtime, file.stat().st_size, file))
    taken = sum(one for _, one, _ in there)
    # Nothing is removed for a file that would not fit into an empty folder either.
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
            "train.trunk_cache is too small for all frozen-layer states (%.3g GB, and the next file needs %.3g GB); "
            "the rest are recomputed in every epoch of every run",
            cache.bytes / 1e9,
            size / 1e9,
        )
    return fits


def written(path: Path, shape: tuple[int, int], dtype: torch.dtype, parts: Iterator[tuple[np.ndarray, Tensor]]) -> None:
    """Write a file of states, and beside it how long they took to compute.

    Args:
        path: the file.
        shape: (rows of the file, hidden); a row is a token or a sequence.
        dtype: the run's precision.
        parts: which rows of the file, int64 (n,), and their states, (n, hidden). Together every row once.

    Raises:
        InputError: as `write_atomically`.
    """
    start = time.perf_counter()

    def write(beside: Path) -> None:
        array = np.lib.format.open_memmap(beside, mode="w+", dtype=NUMPY[dtype], shape=shape)
        # A full disk would kill a process that writes into a hole of a mapped file.
        if hasattr(os, "posix_fallocate"):
            with beside.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        for rows, states in parts:
            array[rows] = _bits(states)  # (n, hidden), to the places that the tokens have in the split
        array.flush()
        write_json(_times(path), {"seconds": time.perf_counter() - start})

    write_atomically(path, write)


def seconds(path: Path) -> float:
    """Return how long the states of a file took to compute; 0 where that is not known."""
    try:
        return float(read_json(_times(path))["seconds"])
    except (InputError, ValueError, KeyError, TypeError):
        return 0.0


def _times(path: Path) -> Path:
    return path.with_suffix(".json")


def opened(path: Path, shape: tuple[int, int], dtype: torch.dtype) -> np.ndarray | None:
    """Map a file of states into memory, (rows, hidden); None where it is missing or has another shape or precision."""
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    if array.shape != shape or array.dtype != NUMPY[dtype]:
        return None
    with contextlib.suppress(OSError):  # a folder that nobody may write into any more
        os.utime(path)  # used now, so `room` keeps it
    return array


def _bits(states: Tensor) -> np.ndarray:
    """Convert states, (n, hidden), to the form of the file: bf16 as uint16 bits, because NumPy has no bf16."""
    states = states.detach().cpu()
    return states.view(torch.uint16).numpy() if states.dtype == torch.bfloat16 else states.numpy()


def as_tensor(array: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Convert rows of a file, (n, hidden), to a tensor in the run's precision, on its device."""
    found = torch.from_numpy(np.ascontiguousarray(array))  # a copy: the mapped file must not be written to
    return (found.view(torch.bfloat16) if dtype == torch.bfloat16 else found).to(device)
