"""One value against its annotation, strictly: "3" is no number, true is no 1, 0.2 is no whole number."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, is_dataclass
from typing import Any


def toml_value(text: str) -> Any:
    """What stands after the = of `-s`: a TOML value, or else a string without its quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number or a nesting that Python refuses
        return text


def meanings(section: type) -> dict[str, str]:
    """{key: what it means}, from `key: meaning` in the docstrings of a section and its bases."""
    found: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        names = "|".join(f.name for f in fields(cls)) if is_dataclass(cls) else ""
        if names:
            text = "\n\n".join(
                " ".join(part.split()) for part in re.split(rf"\n\s*\n|\n(?=\s*(?:{names}): )", cls.__doc__ or "")
            )
            for key, meaning in re.findall(rf"(?:^|[;.] )({names}): (.+?)(?=[;.] (?:{names}): |[;.]?$)", text, re.M):
                found[key] = meaning
    return found
