"""A study folder with hostile labels, and its report as a browser reads it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from encoderlab import report
from encoderlab.results import collect
from fixtures_runs import MORE_SPECS, SPECS, Spec, write_study

EVIL = "<script>alert(1)</script>"
LONG = Spec("adapter", "bottleneck=24 placement=houlsby activation=gelu layers=<b>&$x_1$", 0.87, 225_000, 433.0, 1e-3)


class Page(HTMLParser):
    """Tags with attributes, and the text outside of <style>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.style = ""
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        elif data.strip():
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(
        tmp_path_factory.mktemp("study"),
        specs=(*SPECS, *MORE_SPECS, LONG),
        labels=("negative", EVIL),
        rows=600,
        failed=[("prefix length=16", 1)],
        warning=f"label {EVIL} & friends occurs 3 times",
    )
    report.write(collect.collect(folder))
    return folder


@pytest.fixture(scope="module")
def html(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)
