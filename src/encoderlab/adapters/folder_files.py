"""The files of an adapter folder. What only asks for them, such as the tables of a study, imports no torch."""

from __future__ import annotations

from pathlib import Path

OURS, WEIGHTS = "encoderlab.json", "adapter_model.safetensors"


def is_there(folder: Path) -> bool:
    """Return whether a folder has the files that `save` writes."""
    return (folder / OURS).is_file() and (folder / WEIGHTS).is_file()
