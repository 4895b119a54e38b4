"""Whether the files of a finished run are those that it wrote: lengths, and the sha256 of predictions.

The adapter's content is not read here, it can be gigabytes; it is when the adapter is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from encoderlab.adapters import folder as adapters
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json


def fingerprints(folder: Path, splits: Mapping[str, Any]) -> dict[str, str]:
    """{split: sha256} of the predictions in a run's folder."""
    return {split: _sha256(path) for split in splits if (path := _predictions(folder, split)).is_file()}


def problem(folder: Path, result: Mapping[str, Any]) -> str | None:
    """What is missing or damaged of a run with this result.json, in a few words; None if all is there.

    Raises KeyError, TypeError or AttributeError where the result itself is none."""
    known = result.get("predictions") or {}
    for split in () if result["kind"] == "trial" else result["splits"]:
        path = _predictions(folder, split)
        if not path.is_file():
            return f"predictions/{path.name} is missing"
        try:
            with safe_open(path, "np"):  # which checks the length
                pass
        except (OSError, SafetensorError):
            return f"predictions/{path.name} is damaged"
        if split in known and _sha256(path) != known[split]:
            return f"predictions/{path.name} is not what the run wrote"
    if (result["kind"], result["status"]) != ("run", "done"):
        return None
    place = folder / "adapter"
    if not adapters.is_there(place):
        return "its adapter is missing"
    try:
        read_json(place / adapters.OURS)
    except InputError:
        return f"adapter/{adapters.OURS} is damaged"
    if (place / adapters.WEIGHTS).stat().st_size != result["adapter_bytes"]:
        return f"adapter/{adapters.WEIGHTS} is damaged"
    return None


def _predictions(folder: Path, split: str) -> Path:
    return folder / "predictions" / f"{split}.safetensors"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
