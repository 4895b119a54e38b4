"""Render a page from its template with the shared style sheet inlined, so that the page opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from encoderlab.report import text

_FILTERS = {
    "percent": text.percent,
    "score": text.score,
    "gain": text.gain,
    "heading": text.heading,
    "count": text.count,
    "p": text.p_value,
    "duration": text.duration,
    "size": text.size,
    "memory": text.memory,
    "ms": text.milliseconds,
    "rate": text.rate,
    "r": text.correlation,
}


def render(name: str, context: Mapping[str, Any], package: str = "encoderlab.report") -> str:
    """Fill in the template `name` of `package` and put the shared style in it."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= _FILTERS
    template = environment.from_string((files(package) / name).read_text(encoding="utf-8"))
    style = (files("encoderlab.report") / "style.css").read_text(encoding="utf-8")
    return template.render(style=style, **context)
