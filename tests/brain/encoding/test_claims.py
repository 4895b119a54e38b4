"""What a page may say of the best feature space: one space, equal ones, few stories, several subjects, one alpha."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import studentized_range

from encoderlab.brain.encoding import summary_table
from encoderlab.brain.encoding.claims import Claim, sentence
from encoderlab.brain.encoding.page import SubjectPart, _headline, _words
from encoderlab.brain.encoding.score import About, Scores
from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.encoding.summary_row import SummaryRow


def held(scores: np.ndarray, feature: str = "", grid: tuple[float, ...] = (1.0, 10.0)) -> Scores:
    voxels = scores.shape[1]
    nothing: Any = np.full(voxels, np.nan)
    return Scores(
        about=About(
            **dict.fromkeys(("subject", "key", "convention", "scheme", "adapt"), ""),
            permutations=0,
            block=10,
            feature=feature,
            kind="vectors",
            dimensions=3,
            seconds=1.0,
        ),
        stories=[str(i) for i in range(len(scores))],
        scores=scores,
        mean=scores.mean(axis=0),
        pooled=nothing,
        r2=nothing,
        alphas=np.full((len(scores), voxels), grid[0]),
        p=nothing,
        q=nothing,
        curve=np.full((len(grid), voxels), np.nan),
        grid=np.asarray(grid),
        notes=[],
        warnings=[],
        split=np.empty((0, voxels)),
        spaces=[],
    )


def lab(levels: dict[str, float], stories: int, subjects: tuple[str, ...] = ("S1",), noise: float = 0.02) -> Any:
    """Each space's level, a part that stories share, and one of its own."""
    rng = np.random.default_rng(stories)
    found = {}
    for subject in subjects:
        shared = 0.05 * rng.normal(size=(stories, 1))
        for name, level in levels.items():
            own = noise * rng.normal(size=(stories, 1))
            found[subject, name] = held(level + shared + own + np.zeros((1, 6)), name)
    return found


def part(name: str, rows: Sequence[SummaryRow]) -> SubjectPart:
    """What the page says of a subject, with its rows from the best down."""
    return SubjectPart(
        name=name,
        anchor="",
        rows=sorted((row for row in rows if row.subject == name), key=lambda row: -(row.mean or 0.0)),
        figures={},
        stories=0,
        trs=0,
        voxels=6,
        alpha=1.0,
        split=[],
        doctor={"summary": "seen"},
    )


def said(
    levels: dict[str, float], stories: int, subjects: tuple[str, ...] = ("S1",), **more: Any
) -> tuple[str, dict[str, Claim]]:
    found = lab(levels, stories, subjects, **more)
    claims = summary_table.best(found, list(levels), Encode())
    rows = summary_table.rows(found, list(levels), Encode())
    drawn = [part(name, rows) for name in subjects]
    assert len(rows) == len(levels) * len(subjects)
    headline, lead = _words(drawn, next(iter(levels)), claims)
    assert headline == _headline(drawn, claims) and len(lead) == len(subjects)
    return headline, claims


def test_one_space_is_not_the_best() -> None:
    headline, claims = said({"word-rate": 0.1}, 20)
    assert headline.startswith("word-rate predicts S1 with a mean r of .") and "best" not in headline
    assert claims["S1"].others == () and not claims["S1"].tested
    headline, _ = said({"word-rate": 0.1}, 20, ("S1", "S2"))
    assert headline.startswith("word-rate predicts 2 subjects with mean r of .")


@pytest.mark.parametrize("stories", [10, 101])
def test_equal_spaces_are_not_told_apart(stories: int) -> None:
    headline, claims = said({"a": 0.1, "b": 0.0999}, stories)
    first = claims["S1"].feature
    assert headline == f"{first} predicts S1 best, but is not shown to be better than {'b' if first == 'a' else 'a'}"


def test_scores_that_are_the_same_to_the_last_digit() -> None:
    found = lab({"a": 0.1}, 12)
    found["S1", "b"] = found["S1", "a"]
    claim = summary_table.best(found, ["a", "b"], Encode())["S1"]
    assert claim.equals == ("b",) and claim.others[0].p == 1


def test_the_best_is_held_against_every_other_space() -> None:
    headline, claims = said({"a": 0.02, "b": 0.2, "c": 0.199, "d": 0.05}, 25)
    claim = claims["S1"]
    assert {claim.feature, *claim.equals} == {"b", "c"} and claim.tested
    assert "predicts S1 best, but is not shown to be better than" in headline
    headline, claims = said({"a": 0.02, "b": 0.2, "d": 0.05}, 25)
    assert headline == "b predicts S1 best" and claims["S1"].equals == ()
    for one in claims["S1"].others:
        assert one.difference_low is not None and one.p is not None
        assert one.difference > 0 and one.difference_low > 0 and one.p < 0.05
    assert len(claims["S1"].others) == 2


def test_the_p_of_the_best_by_hand() -> None:
    found = lab({"a": 0.1, "b": 0.08, "c": 0.05}, 15)
    claim = summary_table.best(found, ["a", "b", "c"], Encode())["S1"]
    for other in claim.others:
        d = (found["S1", claim.feature].scores - found["S1", other.feature].scores).mean(axis=1)
        t = d.mean() / np.sqrt(d.var(ddof=1) * (1 / 15 + 1 / 14))
        assert other.p == pytest.approx(studentized_range.sf(np.sqrt(2) * t, 3, 14), rel=1e-6)
        assert other.p is not None and other.difference_low is not None
        assert (other.p < 0.05) == (other.difference_low > 0)


def test_five_stories_are_too_few_for_a_test() -> None:
    headline, claims = said({"a": 0.02, "b": 0.4}, 5, noise=0.001)
    assert headline == "b has the highest mean r in S1, not tested (5 stories, a test needs 6)"
    assert claims["S1"].others[0].p is None
    rows = summary_table.rows(lab({"a": 0.02, "b": 0.4}, 5, noise=0.001), ["a", "b"], Encode())
    assert [row.p for row in rows] == [None, None] and [row.holm_p for row in rows] == [None, None]
    assert rows[1].difference_low is not None
    assert said({"a": 0.02, "b": 0.4}, 6, noise=0.001)[0] == "b predicts S1 best"
    headline, _ = said({"a": 0.02, "b": 0.4}, 4, ("S1", "S2"))
    assert headline == "There are too few stories to test which feature space predicts 2 subjects best"


def test_several_subjects_are_counted() -> None:
    headline, _ = said({"a": 0.02, "b": 0.4}, 30, ("S1", "S2", "S3"))
    assert headline == "b predicts 3 of 3 subjects best"
    headline, _ = said({"a": 0.1, "b": 0.1}, 30, ("S1", "S2", "S3"), noise=0.05)
    assert headline == "No feature space is shown to be the best for any of 3 subjects"
    found = lab({"a": 0.02, "b": 0.4}, 30, ("S1", "S2")) | lab({"a": 0.1, "b": 0.1}, 30, ("S3",), noise=0.05)
    claims = summary_table.best(found, ["a", "b"], Encode())
    rows = summary_table.rows(found, ["a", "b"], Encode())
    drawn = [part(name, rows) for name in ("S1", "S2", "S3")]
    assert _headline(drawn, claims) == "b predicts 2 of 3 subjects best"


def test_nothing_scored() -> None:
    found = {("S1", name): held(np.full((8, 6), np.nan)) for name in ("a", "b")}
    claim = summary_table.best(found, ["a", "b"], Encode())["S1"]
    assert claim.feature is None and sentence("S1", claim) == "No feature space could be scored for S1"


def test_equal_spaces_are_told_apart_in_at_most_one_study_of_twenty() -> None:
    rng, called = np.random.default_rng(3), 0
    for _ in range(200):
        found = {("S1", name): held(0.1 + 0.03 * rng.normal(size=(12, 1)) + np.zeros((1, 2))) for name in "abcd"}
        called += len(summary_table.best(found, list("abcd"), Encode())["S1"].equals) < 3
    assert called <= 10


def test_a_claim_is_read_as_it_was_written() -> None:
    claims = summary_table.best(lab({"a": 0.1, "b": 0.08, "c": 0.05}, 15), list("abc"), Encode())
    written = json.loads(json.dumps(claims["S1"].to_json()))
    assert list(written) == ["feature", "stories", "tested", "others", "equals"]
    assert Claim.from_json(written) == claims["S1"]
