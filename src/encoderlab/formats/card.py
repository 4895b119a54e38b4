"""The model card of an adapter folder: README.md with the front matter that the hub reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def card(about: Mapping[str, Any], result: Mapping[str, Any] | None = None) -> str:
    """The text of README.md. `about`: what encoderlab.json says; `result`: the run's result.json, where it is done."""
    return ""
