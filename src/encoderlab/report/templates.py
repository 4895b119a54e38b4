"""Render a page from its template with the shared style sheet inlined, so that the page opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

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
    style = (files("encoderlab.report") / "style.css").read_text(encoding="utf-8")
    return _template(package, name).render(style=style, **context)


@cache
def _template(package: str, name: str) -> Template:
    """Compile a template once in a process: that takes as long as drawing a figure."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= _FILTERS
    return environment.from_string((files(package) / name).read_text(encoding="utf-8"))
