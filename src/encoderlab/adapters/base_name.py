"""Check the name of the base model in another library's adapter folder.

Such a folder has no fingerprint. It names a hub model, or a folder on the machine that trained the adapter. If that
folder exists here, its fingerprint decides. Otherwise two names mean the same model if their last parts are the same
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
    """Return a line if an adapter folder names another base model than this one, else None.

    Args:
        encoder: the encoder that the adapter is loaded for.
        named: `base_model_name_or_path` of PEFT, or `model_name` of the `adapters` library.
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
    """Return the last part of a name, or of a path of any system, in small letters; "" for a folder without a name."""
    if cached := CACHED.search(f"{name}/"):
        return cached[1].casefold()
    parts = [part for part in re.split(r"[/\\]+", name.strip()) if part not in ("", ".", "..")]
    return parts[-1].casefold() if parts else ""


def _resolved(encoder: EncoderModel) -> str:
    folder = Path(encoder.name).expanduser()
    return _last(str(folder.resolve())) if folder.is_dir() else ""


def _fingerprint(named: str, encoder: EncoderModel) -> str | None:
    """Return the fingerprint of the encoder in a folder; None if there is none that can be read."""
    folder = Path(named).expanduser()
    if not (folder / "config.json").is_file():
        return None
    if folder.resolve() == Path(encoder.name).expanduser().resolve():
        return encoder.fingerprint
    try:
        return load.load(str(folder), head="AutoModel", class_names=[], seed=0).fingerprint
    except InputError:
        return None
