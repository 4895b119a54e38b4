"""Hashes of settings and arrays; the hash of a run's resolved configuration is the name of its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

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
