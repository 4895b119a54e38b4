"""One run = one folder: its resolved config, metrics, checkpoint, adapter file, predictions, and at the end
result.json.

    runs/<id>/config.json  metrics.jsonl  checkpoint/  adapter/  predictions/<split>.safetensors  result.json

The id is the hash of the resolved config, which holds the data's and the model's fingerprints: the same command meets
the same folder. Every file is written beside and renamed, so a kill leaves the old one or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file
from torch import Tensor

from encoderlab.files import write_atomically

FORMAT = "encoderlab/1"


def run_id(config: Mapping[str, Any]) -> str:
    """Twelve hex digits of the sha256 of the resolved config, as canonical JSON."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{FORMAT}\n{text}".encode()).hexdigest()[:12]


def as_json(value: Any) -> Any:
    """The value as it comes back from a JSON file: tuples are lists."""
    return json.loads(json.dumps(value))


def array_hash(array: np.ndarray) -> str:
    """sha256 over dtype, shape and bytes."""
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()


def write_predictions(path: Path, logits: np.ndarray, labels: np.ndarray, index: np.ndarray) -> None:
    """logits float32 (n, ...), or float64 where the task's answers need it (`Regression`); labels (n, ...) as the task
    has them; index int64 (n,): the row's number in its source."""
    kind = np.float64 if logits.dtype == np.float64 else np.float32
    tensors = {"logits": np.ascontiguousarray(logits, kind), "labels": labels, "index": index}
    write_atomically(path, lambda beside: save_numpy(tensors, beside))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda beside: save_file(whole, beside, dict(metadata or {})))


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
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def hardware() -> dict[str, Any]:
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
