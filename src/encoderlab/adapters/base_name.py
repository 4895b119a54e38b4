"""Which base model another library's adapter folder names, and whether that is the one at hand.

Such a folder has no fingerprint, only a name: of the hub, or of a folder on the machine that trained it. Where that
folder is still here, its fingerprint decides. Else two names are one model's if their last parts are the same
("google-bert/bert-base-uncased", "/models/bert-base-uncased").
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from encoderlab.core.errors import InputError
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel

CACHED = re.compile(r"models--.+--([^/\\]+)[/\\]snapshots[/\\]")  # a folder of the hub's cache


def problem(encoder: EncoderModel, named: Any) -> str | None:
    """Say that a folder names another base than this one; None where it names this one, or none.

    Args:
        named: `base_model_name_or_path` of PEFT, `model_name` of the `adapters` library.
    """
    if not isinstance(named, str) or not _last(named):
        return None
    if (theirs := _fingerprint(named, encoder)) is not None:
        if theirs == encoder.fingerprint:
            return None
        return f"trained on {named} (fingerprint {theirs[:12]}), not on {encoder.name} ({encoder.fingerprint[:12]})"
    if _last(named) in (_last(encoder.name), _resolved(encoder)):
        return None
    return f"trained on {named}, not on {encoder.name}"


def _last(name: str) -> str:
    """The last part of a name or of a path of any system, in small letters; "" for a folder without a name."""
    if cached := CACHED.search(f"{name}/"):
        return cached[1].casefold()
    parts = [part for part in re.split(r"[/\\]+", name.strip()) if part not in ("", ".", "..")]
    return parts[-1].casefold() if parts else ""


def _resolved(encoder: EncoderModel) -> str:
    folder = Path(encoder.name).expanduser()
    return _last(str(folder.resolve())) if folder.is_dir() else ""


def _fingerprint(named: str, encoder: EncoderModel) -> str | None:
    """Of the encoder in a folder that is named, where it is here and can be read."""
    folder = Path(named).expanduser()
    if not (folder / "config.json").is_file():
        return None
    if folder.resolve() == Path(encoder.name).expanduser().resolve():
        return encoder.fingerprint
    try:
        return load.load(str(folder), head="AutoModel", class_names=[], seed=0).fingerprint
    except InputError:
        return None
