"""Random draws, each with a purpose.

A draw is seeded from (seed, purpose, counters...), never from a global generator, so that a resumed run draws what an
uninterrupted one would have drawn, whatever else happened in the process.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive(seed: int, purpose: str, *counters: int) -> int:
    """Return the 63-bit seed of a purpose. Equal arguments give equal seeds in every process and on every machine."""
    text = ":".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def torch_generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """Return a torch generator, on the CPU, with the derived seed of a purpose."""
    return torch.Generator().manual_seed(derive(seed, purpose, *counters))


def numpy_generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return an SFC64 generator of numpy with the derived seed of a purpose."""
    return np.random.Generator(np.random.SFC64(derive(seed, purpose, *counters)))
