"""The names of the files of an adapter folder.

Code that only looks for these files, such as the tables of a study, imports this module and no torch.
"""

from __future__ import annotations

from pathlib import Path

OURS, WEIGHTS = "encoderlab.json", "adapter_model.safetensors"


def is_there(folder: Path) -> bool:
    """Return whether a folder has the files that `save` writes."""
    return (folder / OURS).is_file() and (folder / WEIGHTS).is_file()
