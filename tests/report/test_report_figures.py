"""The figures and numbers of a report."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

from encoderlab import report
from encoderlab.report import search_figure, style, sweep_figure, text
from encoderlab.report.label_placement import Box, place
from encoderlab.results import collect, sweeps
from encoderlab.results.searches import searches
from encoderlab.results.study_record import SearchRecord, StudyRecord
from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.tasks.regression_metrics import METRICS
from fixtures_report import Page, html, out, page  # noqa: F401  (a fixture)
from fixtures_runs import MORE_SPECS, SPECS, Spec, write_study


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
