"""Device and compute precision of a study: what "auto" means on this machine, and why."""

from __future__ import annotations

import contextlib
import time
from functools import cache

import torch

from encoderlab.core import machine
from encoderlab.core.errors import InputError
from encoderlab.core.files import cache_folder, read_json, write_json


def choose_precision(device: torch.device, wanted: str) -> tuple[torch.dtype, str]:
    """Choose the compute precision for a device.

    Args:
        device: where the model runs.
        wanted: "fp32", "bf16" or "auto".

    Returns:
        The precision, and the reason in a few words.
    """
    if wanted == "fp32":
        return torch.float32, "asked for"
    if wanted == "bf16":
        return torch.bfloat16, "asked for"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "the GPU multiplies bf16 matrices in hardware"
        return torch.float32, "the GPU has no bf16 matrix products"
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return torch.bfloat16, "the CPU multiplies bf16 matrices in hardware (AMX)"
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() and _bf16_speed_up() > 2:
        return torch.bfloat16, "the CPU multiplies bf16 matrices more than twice as fast (AVX-512 BF16, measured)"
    return torch.float32, f"no matrix hardware for bf16 on this {device.type}: fp32 is the faster one"


@cache
def _bf16_speed_up() -> float:
    """Measure how many times faster a bf16 matrix product is than an fp32 one.

    Processors with AVX-512 BF16 are on either side of 1 (docs/decisions/0004). encoderlab measures a processor once and
    keeps the figure in the cache folder. The precision is part of a run's identity, so the same command must find the
    same runs whatever else the machine is doing.
    """
    kept = cache_folder() / "bf16-speed-up.json"
    processor = f"{machine.hardware()['cpu']}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    known: dict[str, float] = {}
    with contextlib.suppress(InputError, TypeError, ValueError):  # none yet, or a damaged one
        known = dict(read_json(kept))
    if isinstance(known.get(processor), float):
        return known[processor]
    factors = [torch.ones(768, 768, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    seconds: list[list[float]] = [[], []]
    for _ in range(6):
        for factor, some in zip(factors, seconds, strict=True):
            start = time.perf_counter()
            torch.mm(factor, factor)
            some.append(time.perf_counter() - start)
    found = min(seconds[0]) / min(seconds[1])
    with contextlib.suppress(InputError):  # a cache that cannot be written
        write_json(kept, {**known, processor: found})
    return found


def choose_device(wanted: str) -> torch.device:
    """Return the device that `wanted` names; "auto" is the GPU if there is one, else the CPU."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)
