"""Whether the files of a finished run are those that it wrote: their lengths, and the SHA-256 of predictions.

The content of the adapter is not read here, because it can be gigabytes. It is checked when the adapter is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from encoderlab.adapters.folder_files import OURS, WEIGHTS, is_there
from encoderlab.core.errors import InputError
from encoderlab.core.files import read_json
from encoderlab.core.hashing import file_hash
from encoderlab.training.run_record import Kind, RunRecord


def predictions(folder: Path, split: str) -> Path:
    """Return the prediction file of a split in a run's folder."""
    return folder / "predictions" / f"{split}.safetensors"


def fingerprints(folder: Path, splits: Iterable[str]) -> dict[str, str]:
    """Return {split: SHA-256} of the predictions in a run's folder."""
    return {split: file_hash(path) for split in splits if (path := predictions(folder, split)).is_file()}


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
        if split in known and file_hash(path) != known[split]:
            return f"predictions/{path.name} is not what the run wrote"
    if record.kind is not Kind.RUN or not record.is_done:
        return None
    place = folder / "adapter"
    if not is_there(place):
        return "its adapter is missing"
    try:
        read_json(place / OURS)
    except InputError:
        return f"adapter/{OURS} is damaged"
    if (place / WEIGHTS).stat().st_size != record.adapter_bytes:
        return f"adapter/{WEIGHTS} is damaged"
    return None
