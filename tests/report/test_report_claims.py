"""The sentences of a report: each says what the runs show, and no more."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from encoderlab import report
from encoderlab.cli import tables
from encoderlab.report import headline, study_page, text
from encoderlab.results import collect
from fixtures_report import Page, out  # noqa: F401  (a fixture)
from fixtures_runs import SPECS, Spec, write_study


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
    assert "The interval of an F1 covers other test rows only." in words


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


def test_the_page_says_where_a_comparison_is_missing(tmp_path: Path) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], seeds=(0,), rows=200)
    (out / "runs" / "lora-rank4-0" / "predictions" / "test.safetensors").unlink()
    page = Page(report.write(collect.collect(out)).read_text(encoding="utf-8"))
    assert "not comparable" in page.words and "– to –" not in page.text
    assert "lora rank=4 is not compared with full: test predictions are missing." in page.words


def test_the_terminal_shows_the_interval_and_what_to_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = write_study(tmp_path, specs=SPECS[:2], rows=200, failed=[("full", 1)])
    table = collect.collect(out)
    tables.summary(table)
    printed = capsys.readouterr().out
    row = next(r for r in table.summary if r.variant == "lora rank=4")
    line = next(line for line in printed.splitlines() if line.startswith("lora rank=4"))
    assert row.interval
    ends = [text.percent(end) for end in (row.interval.low, row.interval.high)]
    assert re.search(rf"{ends[0]}-{ends[1]} +3 ", line)
    assert f"warning: {table.caveats[0]}" in printed.splitlines()
    assert headline.sentences(table)[0] in printed.splitlines()
