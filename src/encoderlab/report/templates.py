"""Render a page from its template with the shared style sheet inlined, so that the page opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from encoderlab.report import text

_FOLDER = files(__package__ or "encoderlab.report.study_page")
_FILTERS = {
    "percent": text.percent,
    "score": text.score,
    "gain": text.gain,
    "count": text.count,
    "p": text.p_value,
    "duration": text.duration,
    "size": text.size,
    "memory": text.memory,
    "ms": text.milliseconds,
    "rate": text.rate,
    "r": text.correlation,
}


def render(name: str, context: Mapping[str, Any]) -> str:
    """Fill the template with this file name."""
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    return _template(name).render(style=style, **context)


@cache
def _template(name: str) -> Template:
    """Compile a template once in a process: that takes as long as drawing a figure."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= _FILTERS
    return environment.from_string((_FOLDER / name).read_text(encoding="utf-8"))
