"""What is said of responses that are missing, the same, too short or at different levels, and what becomes of them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from encoderlab.brain.encoding.check import check
from encoderlab.core.errors import InputError
from fixtures_brain import Lab, make

REFERENCE = '\n[reference]\ntest = ["s4"]\nboots = 3\nchunk = 10\nchunks = {chunks}\n'


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make(tmp_path, lengths=(150, 190, 170, 160))


def said(lab: Lab, *lines: str, settings: str = "") -> None:
    """Each of the lines is among the warnings of `check`."""
    found = "\n".join(check(lab.study(encode=settings)).warnings)
    for line in lines:
        assert re.search(line, found), found


def changed(lab: Lab, story: str, where: object, value: float) -> None:
    made = {name: rows.copy() for name, rows in lab.rows.items()}
    made[story][where] = value  # type: ignore[index]
    lab.save(made)


@pytest.mark.parametrize("form", ["the same", "float32 in another unit", "four TRs more"])
def test_the_same_responses_in_two_stories(lab: Lab, form: str) -> None:
    rows = lab.rows["s4"]
    copied = {
        "the same": rows,
        "float32 in another unit": (3 * rows + 100).astype(np.float32),
        "four TRs more": np.vstack([rows, np.random.default_rng(0).normal(size=(4, 8))]),
    }
    lab.save(lab.rows | {"s1": copied[form]})
    with pytest.raises(InputError, match="stories s1 and s4 have the same responses"):
        lab.score()


def test_voxels_with_nan_in_some_trs(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    changed(lab, "s3", (slice(30, 35), slice(0, 7)), np.nan)
    said(lab, r"S: voxels that have nan in some TRs of a story, .*: s3 7 \(of 8\)")
    lab.score()
    assert "s3 7 (of 8)" in capsys.readouterr().err
    changed(lab, "s2", (slice(None), 5), np.nan)
    said(lab, r"nan in every TR of a story, .*: s2 1 \(of 8\)")
    lab.save({name: np.where(np.arange(8) == 1, np.nan, rows) for name, rows in lab.rows.items()})
    said(lab, "1 of 8 voxels have nan or no variance in every story, and no score")


def test_stories_without_a_score(lab: Lab) -> None:
    changed(lab, "s3", slice(None), np.nan)
    said(lab, "story s3 is left out of training and scoring: all its responses are nan", "rest on 3 of 4 stories")
    changed(lab, "s3", slice(None), 0.0)
    said(lab, "story s3 has no score, but is trained on: no voxel varies in it", "rest on 3 of 4 stories")
    lab.save({name: rows * np.nan for name, rows in lab.rows.items()})
    said(lab, "no voxel can be scored")


@pytest.mark.parametrize("left", [2, 3, 9])
def test_a_story_of_few_trs_is_no_story(lab: Lab, left: int) -> None:
    """As if it were not there."""
    without = {name: rows for name, rows in lab.rows.items() if name != "s3"}
    lab.save(without)
    right = lab.score(settings='unmatched = "leave out"')
    changed(lab, "s3", slice(left, None), np.nan)
    said(lab, f"story s3 is left out of training and scoring: it has {left} TRs without the .* censored ones")
    assert lab.score() == pytest.approx(right, abs=1e-6)


def test_ten_trs_are_a_story(lab: Lab) -> None:
    changed(lab, "s3", slice(10, None), np.nan)
    found = "\n".join(check(lab.study()).warnings)
    assert "is left out" not in found and "censored TRs" in found


def test_infinite_responses_are_refused_by_check(lab: Lab) -> None:
    changed(lab, "s3", 30, np.inf)
    with warnings.catch_warnings(), pytest.raises(InputError, match="story s3: 8 of 8 voxels are infinite"):
        warnings.simplefilter("error")
        check(lab.study())


@pytest.mark.parametrize("stories", ["all", "one"])
def test_levels_that_differ_are_warned_about_where_they_stay(lab: Lab, stories: str) -> None:
    rng = np.random.default_rng(3)
    lab.save(
        {
            name: rows + (5 * rng.normal(size=8) if stories == "all" or name == "s2" else 0)
            for name, rows in lab.rows.items()
        }
    )
    assert "the level of" not in "\n".join(check(lab.study()).warnings)
    said(
        lab,
        r"the level of the responses differs between stories.*s2 .*encode.centre = false",
        settings="centre = false",
    )
    huth = 'convention = "huth"' + REFERENCE.format(chunks=3)
    said(lab, "the level of the responses differs.*the laboratory's pipeline takes them as they are", settings=huth)
    lab.save()
    for settings in ("centre = false", huth):
        assert "the level of" not in "\n".join(check(lab.study(encode=settings)).warnings)


def test_chunks_that_leave_nothing_to_train_on(lab: Lab) -> None:
    rows = sum(len(y) for name, y in lab.rows.items() if name != "s4")
    check(lab.study(encode='convention = "huth"' + REFERENCE.format(chunks=(rows - 1) // 10)))
    with pytest.raises(InputError, match=f"reference.chunks: 30 chunks of 10 TRs .* has {rows} training TRs"):
        check(lab.study(encode='convention = "huth"' + REFERENCE.format(chunks=30)))
