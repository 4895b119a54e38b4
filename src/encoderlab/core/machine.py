"""One run = one folder: its resolved config, metrics, checkpoint, adapter file, predictions, and at the end
result.json.

    runs/<id>/config.json  metrics.jsonl  checkpoint/  adapter/  predictions/<split>.safetensors  result.json

The id is the hash of the resolved config, which holds the data's and the model's fingerprints: the same command meets
the same folder. Every file is written beside and renamed, so a kill leaves the old one or the new one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch


def reset_peak_memory() -> None:
    """Start a new high-water mark. On Linux the process's, on CUDA the allocator's."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float | None:
    """Peak MB since `reset_peak_memory`: allocated tensors on CUDA, the resident process otherwise; None where the
    system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return None


def versions() -> dict[str, str]:
    names = ("encoderlab", "torch", "transformers", "tokenizers", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


@functools.cache
def _version(package: str) -> str:
    """Read a version once in a process: each look parses the package's metadata."""
    return version(package)


def hardware() -> dict[str, str | int | list[str] | None]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    model = next(_cpu_names(), platform.processor() or platform.machine())
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "system": platform.platform(),
    }


def _cpu_names() -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                yield line.partition(":")[2].strip()
