"""docs/study-file.md held to the dataclasses: every key, default, value and meaning, and the default learning rates."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from encoderlab.brain.encoding import settings as sections
from encoderlab.brain.vectors import features
from encoderlab.config import settings
from encoderlab.core.report_settings import Report
from encoderlab.core.types import meanings, only, show, types, words
from encoderlab.data.source import Source
from encoderlab.launch import settings as launch_settings
from encoderlab.methods.base import Method
from encoderlab.methods.registry import METHODS
from encoderlab.tasks.registry import TASKS
from encoderlab.training import settings as training_settings

SECTIONS = (
    settings.StudyHeader,
    training_settings.Train,
    settings.Search,
    Report,
    launch_settings.Launch,
    training_settings.TrainOverrides,
)
HEADER = "| key | default | value | meaning |\n| --- | --- | --- | --- |"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "study-file.md"


def table(section: type) -> list[str]:
    """The lines of docs/study-file.md for one section; the key that chooses the section is its heading."""
    lines = []
    for f in fields(section):
        if f.name in types(section) and f.name != ("name" if section in METHODS else "kind"):
            default = "required" if f.default is MISSING else "" if f.default is None else f"`{show(f.default)}`"
            meaning = meanings(section)[f.name]
            lines.append(f"| `{f.name}` | {default} | {words(types(section)[f.name])} | {meaning} |")
    return lines


@pytest.mark.parametrize("section", [*SECTIONS, Source, *TASKS, *METHODS])
def test_the_reference_page_lists_every_key(section: type) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "\n".join(table(section)) in page, "\n".join(table(section))


@pytest.mark.parametrize("method", METHODS)
def test_the_reference_page_says_the_default_learning_rate(method: type[Method]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    heading = f"\n### {only(method, 'name')}\n"
    rate = f"Default learning rate: {method.default_learning_rate:g}."
    assert heading in page, "\n".join(
        [heading, "What it trains, with the paper.\n", f"{rate}\n", HEADER, *table(method)]
    )
    section = page.split(heading)[1].split("\n|")[0]
    assert rate in section, rate


@pytest.mark.parametrize(
    "section", [sections.EncodingHeader, sections.StoriesSection, *features.KINDS, sections.Reference, sections.Encode]
)
def test_the_encoding_page_lists_every_key(section: type) -> None:
    page = PAGE.with_name("encoding-study.md").read_text(encoding="utf-8")
    rows = [row for row in table(section) if section not in features.KINDS or not row.startswith("| `label`")]
    assert "\n".join(rows) in page, "\n".join(rows)
