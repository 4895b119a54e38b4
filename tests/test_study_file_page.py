"""docs/study-file.md held to the dataclasses: every key, default, value and meaning, and the default learning rates."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from encoderlab import config
from encoderlab.config import encoding_schema as sections
from encoderlab.config.values import only, show, types, words
from encoderlab.data import Source
from encoderlab.methods import METHODS, Method
from encoderlab.reporting import Report
from encoderlab.tasks import TASKS

SECTIONS = (config.Top, config.Train, config.Search, Report, config.Launch, config.Regime)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "study-file.md"


def table(section: type) -> list[str]:
    """The lines of docs/study-file.md for one section; the key that chooses the section is its heading."""
    lines = []
    for f in fields(section):
        if f.name in types(section) and f.name != ("name" if section in METHODS else "kind"):
            default = "required" if f.default is MISSING else "" if f.default is None else f"`{show(f.default)}`"
            meaning = config.meanings(section)[f.name]
            lines.append(f"| `{f.name}` | {default} | {words(types(section)[f.name])} | {meaning} |")
    return lines


@pytest.mark.parametrize("section", [*SECTIONS, Source, *TASKS, *METHODS])
def test_the_reference_page_lists_every_key(section: type) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "\n".join(table(section)) in page, "\n".join(table(section))


@pytest.mark.parametrize("method", METHODS)
def test_the_reference_page_says_the_default_learning_rate(method: type[Method]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page.split(f"\n### {only(method, 'name')}\n")[1].split("\n|")[0]
    assert f"Default learning rate: {method.default_learning_rate:g}." in section


@pytest.mark.parametrize(
    "section", [sections.Top, sections.StoriesSection, *sections.KINDS, sections.Reference, sections.Encode]
)
def test_the_encoding_page_lists_every_key(section: type) -> None:
    page = PAGE.with_name("encoding-study.md").read_text(encoding="utf-8")
    rows = [row for row in table(section) if section not in sections.KINDS or not row.startswith("| `label`")]
    assert "\n".join(rows) in page, "\n".join(rows)
