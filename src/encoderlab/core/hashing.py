"""Hashes of settings and arrays; the hash of a run's resolved configuration is the name of its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "encoderlab/1"


def run_id(config: Mapping[str, Any]) -> str:
    """Return the id of a run: 12 hex digits of the SHA-256 of its resolved config as canonical JSON."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{FORMAT}\n{text}".encode()).hexdigest()[:12]


def as_json(value: Any) -> Any:
    """Return a value as a JSON file gives it back: tuples become lists."""
    return json.loads(json.dumps(value))


def array_hash(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's dtype, shape and bytes."""
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
