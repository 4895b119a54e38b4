"""Whether the files of a finished run are those that it wrote: their lengths, and the SHA-256 of predictions.

The content of the adapter is not read here, because it can be gigabytes. It is checked when the adapter is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from encoderlab.adapters import folder as adapters
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.training.run_record import Kind, RunRecord


def predictions(folder: Path, split: str) -> Path:
    """Return the prediction file of a split in a run's folder."""
    return folder / "predictions" / f"{split}.safetensors"


def fingerprints(folder: Path, splits: Iterable[str]) -> dict[str, str]:
    """Return {split: SHA-256} of the predictions in a run's folder."""
    return {split: _sha256(path) for split in splits if (path := predictions(folder, split)).is_file()}


def problem(folder: Path, record: RunRecord) -> str | None:
    """Say in a few words what is missing or damaged in the folder of a run with this record. None if nothing is."""
    known = record.predictions or {}
    for split in () if record.kind is Kind.TRIAL else record.splits:
        path = predictions(folder, split)
        if not path.is_file():
            return f"predictions/{path.name} is missing"
        try:
            with safe_open(path, "np"):  # which checks the length
                pass
        except (OSError, SafetensorError):
            return f"predictions/{path.name} is damaged"
        if split in known and _sha256(path) != known[split]:
            return f"predictions/{path.name} is not what the run wrote"
    if record.kind is not Kind.RUN or not record.is_done:
        return None
    place = folder / "adapter"
    if not adapters.is_there(place):
        return "its adapter is missing"
    try:
        read_json(place / adapters.OURS)
    except InputError:
        return f"adapter/{adapters.OURS} is damaged"
    if (place / adapters.WEIGHTS).stat().st_size != record.adapter_bytes:
        return f"adapter/{adapters.WEIGHTS} is damaged"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
