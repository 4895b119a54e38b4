"""The report of study folders: offline, escaped, honest, the same every time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from encoderlab import report
from encoderlab.cli import tables
from encoderlab.report import headline, search_figure, study_page, style, sweep_figure, text
from encoderlab.report.label_placement import Box, place
from encoderlab.results import collect, sweeps
from encoderlab.results.searches import searches
from encoderlab.results.study_record import SearchRecord, StudyRecord
from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.tasks.regression_metrics import METRICS
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


def test_the_headline_follows_from_the_tests(tmp_path: Path) -> None:
    table = collect.collect(write_study(tmp_path))
    choice = table.recommendation
    assert choice is not None and (choice.variant, choice.best) == ("lora rank=8", "full")
    assert choice.finalists == ("full", "lora rank=8", "adapter bottleneck=48", "prefix length=16", "head")
    assert choice.within == ("full", "lora rank=8")
    told = headline.sentences(table)
    row = next(r for r in table.summary if r.variant == choice.variant)
    assert told[0] == f"Use {choice.variant}: {text.percent(row.metric.mean)} % of 1,500 test rows correct."
    assert f"trains {row.parameters.adapter:,} parameters" in told[1] and "a head of 148,610 parameters" in told[1]
    assert told[2].startswith("The most accurate method on these test rows, full, reached ")
    assert "more than 1 point worse is ruled out" in told[2]
    assert "Significantly worse than full: prefix length=16, head" in told[2]
    assert "The training steps of one run took" in told[1]
    assert row.interval
    ends = [text.percent(end) for end in (row.interval.low, row.interval.high)]
    assert f"The 95 % interval of its mean over other seeds and other test rows is {ends[0]} to {ends[1]} %." in told[3]
    assert f"An estimated {100 * row.interval.row_share:.0f} % of this variance is due to the test rows" in told[3]
    assert told[3].endswith("It was chosen on these test rows, so its score may be slightly too good.")


def test_full_fine_tuning_is_told_as_what_it_is(tmp_path: Path) -> None:
    told = headline.sentences(collect.collect(write_study(tmp_path, specs=SPECS[:1], rows=400)))
    assert "trains 22,565,000 parameters (nearly all of the model) and a head of 148,610 parameters" in told[1]


def test_a_method_that_learned_nothing_is_not_recommended(tmp_path: Path) -> None:
    spec = Spec("full", "", 0.5, 1000, 60.0, 1e-4)
    table = collect.collect(write_study(tmp_path, specs=(spec,), rows=400))
    assert headline.sentences(table)[0].startswith("Do not use any of these methods yet")
    assert "recommended" not in Page(study_page.page(table)).words, "no row of the ranking has that mark"


def test_one_seed_says_what_it_cannot_know(tmp_path: Path) -> None:
    told = headline.sentences(collect.collect(write_study(tmp_path, specs=SPECS[:2], seeds=(0,), rows=400)))
    assert "with one seed, so the variation between seeds is unknown" in told[-1]
    assert "nothing here says which method is better, only which run was" in told[2]


def test_a_page_of_one_seed_claims_nothing_about_methods(tmp_path: Path) -> None:
    """Methods that differ by 11 points: the runs differ, and the page says no more than that."""
    out = write_study(tmp_path, specs=(SPECS[0], SPECS[5]), seeds=(0,), rows=1500)
    words = Page(report.write(collect.collect(out)).read_text(encoding="utf-8")).text
    for claim in ("significantly", "ruled out", "shown to be worse", "symbols: means", "intervals over other seeds"):
        assert claim not in words.lower(), claim
    assert "its run was the most accurate of 2 runs, one of each method" in words
    assert "Symbols: single runs. Lines: 95 % intervals over other test rows." in words
    assert "they hold for these runs, not for the methods" in words


def test_the_sentences_on_selection_are_those_of_the_study(tmp_path: Path) -> None:
    def told(out: Path) -> str:
        return Page(report.write(collect.collect(out)).read_text(encoding="utf-8")).text

    of_methods = (
        "The recommendation considers one variant of each method, which was also chosen on the validation rows."
    )
    on_test = "The recommended method itself was chosen on the test rows."
    several = told(write_study(tmp_path / "several", specs=SPECS[:3], rows=200))
    assert "Learning rates and epochs were chosen on the validation rows." in several
    assert of_methods in several and on_test in several
    one_each = told(write_study(tmp_path / "each", specs=SPECS[:2], rows=200))
    assert of_methods not in one_each and on_test in one_each
    alone = told(write_study(tmp_path / "alone", specs=SPECS[:1], rows=200))
    assert of_methods not in alone and on_test not in alone and "too good" not in alone
    study = json.loads((tmp_path / "alone" / "study.json").read_text())
    for search in study["search"]:
        search["candidates"] = search["candidates"][1:2]
    (tmp_path / "alone" / "study.json").write_text(json.dumps(study))
    assert "Learning rates and epochs were" not in told(tmp_path / "alone")


def test_pairs_of_seeds_are_counted_from_five_seeds_on(tmp_path: Path) -> None:
    def told(seeds: range) -> tuple[dict[str, float | None], str]:
        out = write_study(tmp_path / str(len(seeds)), specs=SPECS[:2], seeds=tuple(seeds), rows=200)
        table = collect.collect(out)
        rows = json.loads((out / "summary.json").read_text())["summary"]
        assert (out / "summary.csv").read_text().splitlines()[0].endswith(",share_better")
        return {row["variant"]: row["share_better"] for row in rows}, Page(study_page.page(table)).text

    few, words = told(range(4))
    assert set(few.values()) == {None} and "P(better)" not in words
    many, words = told(range(5))
    assert many["full"] is None and many["majority"] is None, "the reference, and a baseline with a single answer"
    share = many["lora rank=4"]
    assert share is not None and f"P(better) {text.correlation(share, 2)}" in words
    assert "better on these test rows than full; a tie counts half" in words


def test_a_study_of_failures_still_has_a_page(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:1], seeds=(0,), rows=200, failed=[("full", 0)])
    words = Page(report.write(collect.collect(out)).read_text(encoding="utf-8")).text
    assert "No method can be recommended" in words
    assert "loss is not finite" in words


def test_the_page_says_where_a_comparison_is_missing(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], seeds=(0,), rows=200)
    (out / "runs" / "lora-rank4-0" / "predictions" / "test.safetensors").unlink()
    page = Page(report.write(collect.collect(out)).read_text(encoding="utf-8"))
    assert "not comparable" in page.words and "– to –" not in page.text
    assert "lora rank=4 is not compared with full: test predictions are missing." in page.words


def test_the_terminal_shows_the_interval_and_what_to_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], rows=200, failed=[("full", 1)])
    table = collect.collect(out)
    tables.summary(out, "full")
    printed = capsys.readouterr().out
    row = next(r for r in table.summary if r.variant == "lora rank=4")
    line = next(line for line in printed.splitlines() if line.startswith("lora rank=4"))
    assert row.interval
    ends = [text.percent(end) for end in (row.interval.low, row.interval.high)]
    assert re.search(rf"{ends[0]}-{ends[1]} +3 ", line)
    assert f"warning: {table.caveats[0]}" in printed.splitlines()
    assert headline.sentences(table)[0] in printed.splitlines()


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
    scores = table.confusions["lora rank=8"].classes[0]
    assert f"{text.percent(scores.f1_low)} to {text.percent(scores.f1_high)}" in page.words
    assert "so its counts are test rows times seeds" in page.text


def test_many_classes_list_their_confusions_instead_of_a_matrix(tmp_path: Path) -> None:
    labels = [f"intent {k}" for k in range(30)]
    out = write_study(tmp_path, specs=SPECS[:1], seeds=(0,), labels=labels, rows=900)
    page = Page(report.write(collect.collect(out)).read_text(encoding="utf-8"))
    assert "The most frequent confusions of 30 classes" in page.text
    assert not [a for tag, a in page.tags if tag == "table" and a.get("class") == "matrix"]


def test_labels_of_crowded_points_do_not_cover_each_other() -> None:
    points = [(300.0 + 7 * (i % 4), 150.0 + 6 * (i % 3)) for i in range(12)]
    boxes = place(points, [(120.0, 11.0)] * 12, [], Box(0, 0, 700, 300))
    for i, box in enumerate(boxes):
        assert sum(box.overlap(other) for other in boxes[:i]) < 0.05 * box.area
        assert box.overlap(Box(0, 0, 700, 300)) == pytest.approx(box.area)


@pytest.mark.parametrize(
    "shown, expected",
    [
        (text.points(-0.0023), "−0.2"),
        (text.points(-0.0001), "0.0"),
        (text.points(0.011), "+1.1"),
        (text.duration(3725), "1 h 02 min"),
        (text.duration(59.7), "60 s"),
        (text.size(889_352), "889 kB"),
        (text.p_value(0.0004), "<0.001"),
        (text.rate(1.25e-5), "1.25e-5"),
        (text.short_count(22_565_000), "22.6M"),
        (text.count(None), "–"),
    ],
)
def test_numbers_as_a_reader_wants_them(shown: str, expected: str) -> None:
    assert shown == expected


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


def test_sweeps_are_the_variants_that_differ_in_one_setting() -> None:
    labels = [
        "full",
        "lora rank=4",
        "lora rank=16",
        "lora rank=8 rslora=true",
        "adapter bottleneck=8 placement=houlsby",
    ]
    assert sweeps.find(labels) == {"lora: rank": {4.0: "lora rank=4", 16.0: "lora rank=16"}}
    assert sweeps.find(["prefix length=8 layers=2", "prefix length=8 layers=4", "prefix length=16 layers=4"]) == {
        "prefix length=8: layers": {2.0: "prefix length=8 layers=2", 4.0: "prefix length=8 layers=4"},
        "prefix layers=4: length": {8.0: "prefix length=8 layers=4", 16.0: "prefix length=16 layers=4"},
    }


def test_values_that_are_no_numbers_keep_the_order_of_the_study() -> None:
    targets = ["lora target=query+value", "lora target=query", "lora rslora=true", "lora rslora=false"]
    assert {title: list(sweep) for title, sweep in sweeps.find(targets).items()} == {
        "lora: target": ["query+value", "query"],
        "lora: rslora": ["true", "false"],
    }
    layers = sweeps.find(["adapter layers=1", "adapter layers=0+1", "adapter layers=all"])
    assert list(layers["adapter: layers"]) == ["1", "0+1", "all"], "one that is no number: none is"
    assert list(sweeps.find(["lora rank=16", "lora rank=4"])["lora: rank"]) == [4.0, 16.0]


GRID = [
    Spec("lora", f"rank={rank} target={target}", 0.8 + rank / 400 + len(target) / 2000, rank * 100, 60.0, 1e-3)
    for rank in (16, 4, 8)
    for target in ("query+value", "query+key+value+attention_out+ffn_in+ffn_out", "<b>&$x_1$")
]


def test_a_grid_of_targets_is_drawn_with_the_mean_of_its_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_study(tmp_path, specs=GRID, rows=200)
    table = collect.collect(out)
    panels = table.sweeps
    assert len(panels) == 6
    assert list(panels[1].scores) == [spec.settings.split("target=")[1] for spec in GRID[:3]]
    target = "query+key+value+attention_out+ffn_in+ffn_out"
    validation = [r.metric("validation", "accuracy") for r in table.runs if r.variant == GRID[1].variant]
    assert list(panels[1].scores[target].values()) == validation and sorted(panels[1].scores[target]) == [0, 1, 2]
    assert panels[1].means[target] == pytest.approx(sum(filter(None, validation)) / 3)

    html = report.write(collect.collect(out)).read_text(encoding="utf-8")
    page = Page(html)
    assert "lora rank=4: target" in page.words and "query+value" in page.words
    assert "<b>&$" not in html and "Not drawn" not in page.text
    monkeypatch.setattr(sweep_figure, "PANELS", 2)
    page = Page(report.write(collect.collect(out)).read_text(encoding="utf-8"))
    assert f"Not drawn, 4 more: {'; '.join(panel.title for panel in panels[2:])}." in page.text


def test_the_search_is_drawn_as_validation(out: Path, page: Page) -> None:
    assert "validation accuracy (%) of the search trials" in page.words and "with a ring in the figure" in page.text
    records = StudyRecord.read(out).search
    look = {record.variant: style.Style("#000000", "o", "--") for record in records}

    def drawn(*records: SearchRecord) -> str | None:
        return search_figure.draw(searches(records, ACCURACY, 100, {}), look, ACCURACY)

    several = drawn(*records)
    assert several is not None and all(f">{escape(variant)}<" in several for variant in look)
    single = [replace(record, candidates=record.candidates[:1]) for record in records]
    assert drawn(*single) is None, "nothing was searched"
    at_edge = drawn(*[replace(record, edge=True) for record in records])
    assert at_edge is not None and at_edge.count("<use") == several.count("<use") + len(records), "a square for each"
    tied = [
        replace(
            records[0],
            edge=True,
            candidates=tuple(
                replace(one, metrics={"accuracy": 0.7, "loss": loss})
                for one, loss in zip(records[0].candidates, losses, strict=False)
            ),
        )
        for losses in ((0.5, 0.6), (0.6, 0.5))
    ]
    assert drawn(tied[0]) != drawn(tied[1]), "of equal scores, the lower loss has the square"
    sampled = [replace(record, trials=3, chosen_settings={"rank": 4}) for record in records]
    assert "stroke-dasharray" in several and "stroke-dasharray" not in (drawn(*sampled) or "")


def test_a_grid_is_drawn_and_a_study_without_one_has_no_such_section(tmp_path: Path) -> None:
    def page_of(out: Path) -> str:
        return report.write(collect.collect(out)).read_text(encoding="utf-8")

    grid = page_of(write_study(tmp_path / "grid", specs=(*SPECS, *MORE_SPECS), rows=200))
    assert 'id="sweeps"' in grid and "lora: rank" in grid and "prefix: length" in grid
    plain = page_of(write_study(tmp_path / "plain", specs=SPECS[:2], rows=200))
    assert 'id="sweeps"' not in plain


def test_plain_numbers_have_three_digits_and_differences_their_sign() -> None:
    r = METRICS["pearson"]
    assert [text.score(v, r) for v in (0.8741, -0.05, 1.2345, 11.16, 111.6, 10313.7, None)] == [
        *("0.874", "−0.050", "1.23", "11.2", "112", "10314", "–"),
    ]  # fmt: skip
    assert [text.gain(v, r) for v in (0.0123, -4.056, 0.0, -0.0001)] == ["+0.012", "−4.06", "0.000", "0.000"]
    mse = METRICS["mse"]
    assert [text.score(v, mse) for v in (1.25e-15, 0.0, 0.0123, 0.5, 1529.4)] == [
        *("1.25e-15", "0.000", "0.0123", "0.500", "1529"),
    ]  # fmt: skip
    assert [text.gain(v, mse) for v in (1.25e-15, -1.25e-15, 0.0, -0.5)] == [
        "+1.25e-15",
        "−1.25e-15",
        "0.000",
        "−0.500",
    ]
    assert text.score(1.25e-15, mse, 1) == "1.250e-15"
    assert (text.score(0.8741, ACCURACY), text.gain(-0.0123, ACCURACY)) == ("87.4", "−1.2")
    assert (text.heading(r), text.heading(ACCURACY)) == ("Pearson's r", "accuracy, %")
