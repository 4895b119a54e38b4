"""One run = one folder: its resolved config, metrics, checkpoint, adapter file, predictions, and at the end
result.json.

    runs/<id>/config.json  metrics.jsonl  checkpoint/  adapter/  predictions/<split>.safetensors  result.json

The id is the hash of the resolved config, which holds the data's and the model's fingerprints: the same command meets
the same folder. Every file is written beside and renamed, so a kill leaves the old one or the new one.

The adapter file holds every trained tensor and every fresh one, or is not written. Names are relative to the encoder
trunk ("encoder.layer.0.attention.self.query.lora_A.weight"); those of the task head start with "head.".
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
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoderlab.backbone import Backbone
from encoderlab.errors import InputError
from encoderlab.files import read_json, write_atomically, write_json
from encoderlab.methods import Method

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
    """logits float32 (n, classes), labels int64 (n,), index int64 (n,): the row's number in its source."""
    tensors = {"logits": np.ascontiguousarray(logits, np.float32), "labels": labels, "index": index}
    write_atomically(path, lambda beside: save_numpy(tensors, beside))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda beside: save_file(whole, beside, dict(metadata or {})))


def adapter_tensors(backbone: Backbone) -> dict[str, Tensor]:
    """What training changed or the checkpoint lacked, under the names of the adapter file."""
    return {
        adapter_name(backbone, name): parameter.detach()
        for name, parameter in backbone.model.named_parameters()
        if parameter.requires_grad or name in backbone.fresh
    }


def adapter_name(backbone: Backbone, parameter: str) -> str:
    prefix = backbone.trunk_prefix
    return parameter[len(prefix) :] if parameter.startswith(prefix) else "head." + parameter


def save_adapter(backbone: Backbone, folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """Write adapter_config.json and adapter_model.safetensors; returns the bytes of the latter. Refuses to leave a
    trained tensor out."""
    missing = adapter_tensors(backbone).keys() - tensors.keys()
    if missing:
        raise ValueError(f"refusing to save an adapter without {sorted(missing)}")
    path = folder / "adapter_model.safetensors"
    save_tensors(path, tensors, {"format": "pt"})
    write_json(
        folder / "adapter_config.json",
        {
            "format": FORMAT,
            "base_model_name_or_path": backbone.name,
            "base_fingerprint": backbone.fingerprint,
            **config,
        },
    )
    return path.stat().st_size


def read_adapter(backbone: Backbone, folder: Path) -> dict[str, Tensor]:
    """The tensors of an adapter folder under the adapter file's names. InputError for another base."""
    config = read_json(folder / "adapter_config.json")
    if config["base_fingerprint"] != backbone.fingerprint:
        raise InputError(
            f"{folder}: trained on another base than {backbone.name} (fingerprints "
            f"{config['base_fingerprint'][:12]} and {backbone.fingerprint[:12]}); give it the encoder it was trained on"
        )
    return load_file(folder / "adapter_model.safetensors")


def load_adapter(backbone: Backbone, method: Method, folder: Path) -> None:
    """Fill a backbone with `method` in it from an adapter folder. Names and shapes must match one to one, the base
    must be the same: InputError otherwise."""
    fill(backbone, method, read_adapter(backbone, folder), str(folder))


def fill(backbone: Backbone, method: Method, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy tensors of the adapter file's names into the model with `method` in it; anything missing, left over or of
    another shape is an InputError."""
    method.resize(backbone, tensors)
    wanted = adapter_tensors(backbone)
    missing, extra = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    shapes = [n for n in wanted.keys() & tensors.keys() if wanted[n].shape != tensors[n].shape]
    if missing or extra or shapes:
        parts = {"missing": missing, "not in the model": extra, "of another shape": shapes}
        said = "; ".join(f"{len(names)} {what}, e.g. {min(names)}" for what, names in parts.items() if names)
        raise InputError(f"{origin}: the tensors do not fit the model: {said}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])


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
