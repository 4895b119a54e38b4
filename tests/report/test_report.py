"""The report of study folders: offline, escaped, complete, the same every time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from encoderlab import report
from encoderlab.report import text
from encoderlab.results import collect
from fixtures_report import EVIL, LONG, Page, html, out, page  # noqa: F401  (a fixture)
from fixtures_runs import SPECS, write_study


def test_nothing_on_the_page_leads_out_of_it(page: Page, html: str) -> None:
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                assert (value or "").startswith("#"), (tag, name, value)
            if name == "style":
                assert "url(" not in (value or "").replace("url(#", "")
        assert tag not in ("script", "link", "iframe", "object", "embed", "img", "base")
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html


def test_text_from_the_data_is_escaped(page: Page, html: str) -> None:
    assert EVIL not in html
    assert EVIL in page.text  # in a table, as text
    assert "& friends" in page.text
    assert "<b>&" not in html and LONG.variant in page.words  # the variant's name, also inside the figures
    assert sum(LONG.variant in words for words in page.words) >= 5


def test_ids_are_unique_and_links_lead_to_them(page: Page) -> None:
    ids = [value for _, attributes in page.tags if (value := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        target = attributes.get("href") or attributes.get("xlink:href")
        if target:
            assert target[1:] in ids, target


def test_figures_and_headers_can_be_read_aloud(page: Page) -> None:
    figures = [a for tag, a in page.tags if tag == "figure"]
    assert len(figures) == 6
    assert all(a.get("role") == "img" and a.get("aria-label") for a in figures)
    assert all(a.get("scope") for tag, a in page.tags if tag == "th")


def test_the_same_folder_gives_the_same_page(out: Path, html: str) -> None:
    assert report.write(collect.collect(out)) == out / "report.html"
    assert (out / "report.html").read_text(encoding="utf-8") == html


def test_every_part_of_the_study_is_on_the_page(page: Page, out: Path) -> None:
    summary = json.loads((out / "summary.json").read_text())["summary"]
    for row in summary:
        assert row["variant"] in page.text
        assert text.percent(row["accuracy"]) in page.words
        assert text.count(row["adapter_parameters"]) in page.words
        if row["accuracy_low"] is not None:
            ends = [text.percent(row[f"accuracy_{end}"]) for end in ("low", "high")]
            assert f"{ends[0]} to {ends[1]}" in page.words
    assert "loss is not finite at step 40" in page.text
    assert "2, 1 failed" in page.text and "2 pairs of seeds" in page.words
    assert "prefix length=16 (2; means over 2 and 3)" in page.text
    assert "The recommended method itself was chosen on the test rows." in page.text
    assert "Every method had 3 candidates" in page.text
    assert '"max_length": 128' in page.text
    assert "2.13.0" in page.words


def test_a_study_of_failures_still_has_a_page(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:1], seeds=(0,), rows=200, failed=[("full", 0)])
    words = Page(report.write(collect.collect(out)).read_text(encoding="utf-8")).text
    assert "No method can be recommended" in words
    assert "loss is not finite" in words


def test_the_page_shows_losses_and_intervals_of_classes(out: Path, page: Page) -> None:
    table = collect.collect(out)
    row = next(row for row in table.summary if row.variant == "lora rank=8")
    for key in ("loss", "brier", "ece"):
        spread = row.spreads[key]
        assert spread.mean is not None and text.score(spread.mean, table.measures.metrics[key]) in page.words
        if key == "ece":
            assert spread.rows_low is None
        else:
            low, high = (text.score(end, table.measures.metrics[key]) for end in (spread.rows_low, spread.rows_high))
            assert f"{low} to {high}" in page.words
    assert "Brier score" in page.words and "Calibration error (ECE)" in page.words
    assert "with 95 % intervals over rows for the loss and the Brier score" in page.text
    assert "It has no interval: the error of a sample is larger" in page.text
    assert "The interval of an F1 covers other seeds and other test rows." in page.text
    scores = table.confusions["lora rank=8"].classes[0]
    assert f"{text.percent(scores.f1_low)} to {text.percent(scores.f1_high)}" in page.words
    assert "so its counts are test rows times seeds" in page.text


def test_many_classes_list_their_confusions_instead_of_a_matrix(tmp_path: Path) -> None:
    labels = [f"intent {k}" for k in range(30)]
    out = write_study(tmp_path, specs=SPECS[:1], seeds=(0,), labels=labels, rows=900)
    page = Page(report.write(collect.collect(out)).read_text(encoding="utf-8"))
    assert "The most frequent confusions of 30 classes" in page.text
    assert not [a for tag, a in page.tags if tag == "table" and a.get("class") == "matrix"]


def test_a_browser_shows_it_without_a_request(out: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    log = tmp_path / "net.json"
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += f" --disable-component-update --disable-sync --user-data-dir={tmp_path / 'profile'} --log-net-log={log}"
    address = (out / "report.html").as_uri()
    shown = subprocess.run([chromium, *flags.split(), "--dump-dom", address], capture_output=True, timeout=120)
    dom = shown.stdout.decode()
    assert "significantly worse" in dom.lower() and dom.count("<svg") == 6
    assert "<script>alert" not in dom
    assert _requests_of_pages(log) == []


def _requests_of_pages(log: Path) -> list[str]:
    """Network addresses that a page asked for, from Chromium's network log; its own housekeeping has no origin."""
    starts = [e.get("params") or {} for e in json.loads(log.read_text(encoding="utf-8"))["events"]]
    asked = [p["url"] for p in starts if "url" in p and p.get("initiator", "not an origin") != "not an origin"]
    return [url for url in asked if not url.startswith(("file:", "data:"))]
