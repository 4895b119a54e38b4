"""Read a TOML file, and the value of an override."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from encoderlab.config.toml_hints import toml_hint
from encoderlab.core.errors import InputError, Problem
from encoderlab.core.suggestions import did_you_mean

TomlTable = dict[str, object]  # a table as TOML has it: what its values are is for the reader to check


def parse(path: Path) -> TomlTable:
    """Read the tables of a TOML file.

    Raises:
        InputError: if the file cannot be read or is not TOML, with the line of the mistake and what was likely meant.
    """
    if os.path.isdir(path):
        raise InputError(Problem(str(path), "is a folder; expected a study file (TOML)"))
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        names = [entry.name for entry in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise InputError(Problem(str(path), "no such file", did_you_mean(path.name, names))) from None
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror or error}")) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise InputError(
            Problem(f"{path}:{line}", f"byte 0x{byte:02X} is not UTF-8", "save the file as UTF-8")
        ) from None
    except RecursionError:
        message = "values are nested too deeply to be read; expected a study file (TOML)"
        raise InputError(Problem(str(path), message)) from None
    except ValueError as error:  # TOMLDecodeError, or a whole number that Python refuses to convert
        hint = toml_hint(str(error), path.read_bytes().decode("utf-8-sig"))
        raise InputError(Problem(str(path), f"not TOML: {error}", hint)) from None


def toml_value(text: str) -> object:
    """Read what stands after the `=` of an override: a TOML value; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # not TOML, or a number or a nesting that Python refuses
        return text
