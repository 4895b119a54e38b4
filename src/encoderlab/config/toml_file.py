"""Read a TOML file, with the line of a mistake."""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from encoderlab.config.toml_hints import toml_hint
from encoderlab.core.errors import InputError


def parse(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. InputError where it is none."""
    if os.path.isdir(path):
        raise InputError(f"{path}: a folder; expected a study file (TOML)")
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        names = [entry.name for entry in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        close = get_close_matches(path.name, names, n=1)
        raise InputError(f"{path}: no such file" + (f"; did you mean {close[0]!r}?" if close else "")) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise InputError(f"{path}:{line}: byte 0x{byte:02X} is not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise InputError(f"{path}: values are nested too deeply to be read; expected a study file (TOML)") from None
    except ValueError as error:  # TOMLDecodeError, or a whole number that Python refuses to convert
        text = path.read_bytes().decode("utf-8-sig")
        raise InputError(f"{path}: not TOML: {error}{toml_hint(str(error), text)}") from None
