"""The machine that a run used: peak memory, hardware, versions of the libraries."""

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
    """Reset the peak memory: of the process on Linux, and of the allocator on CUDA."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float | None:
    """Return the peak memory since `reset_peak_memory`, in MB (2**20 bytes).

    Returns:
        The memory of allocated tensors on CUDA, else the resident memory of the process. None if it is unknown.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that determine results."""
    names = ("encoderlab", "torch", "transformers", "tokenizers", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


@functools.cache
def _version(package: str) -> str:
    """Return the version of a package. Cached, because each call parses the package's metadata."""
    return version(package)


def hardware() -> dict[str, str | int | list[str] | None]:
    """Describe the processor, the GPUs and the operating system."""
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
