"""Rows of responses against the TRs of the recordings, and where a recording begins in its scan."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from encoderlab.brain.encoding.check import check
from encoderlab.brain.encoding.scans import Scans, fitted
from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.stories.read import read
from encoderlab.core.errors import InputError
from fixtures_brain import Lab, make


def refused(lab: Lab, *says: str, stories: str = "", settings: str = "") -> str:
    with pytest.raises(InputError) as error:
        lab.score(stories, settings)
    text = "\n".join(error.value.lines)
    for line in says:
        assert re.search(line, text), text
    return text


def test_rows_that_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = make(tmp_path)
    assert lab.score()["mean"] == pytest.approx(0.5764, abs=5e-4)
    said = capsys.readouterr().err
    assert "scans have" not in said and "responses follow the words by 2 TRs" in said


def test_responses_named_after_other_stories(tmp_path: Path) -> None:
    """The count of TRs comes from the recording, so that it can differ from the rows."""
    lab = make(tmp_path)
    names = list(lab.rows)
    lab.save({name: lab.rows[names[i - 1]] for i, name in enumerate(names)})
    refused(
        lab,
        r"S: story 's1': 85 rows of features after leaving out the first 10 and the last 5 TRs of the recording's 100, "
        "101 rows of responses",
        "the rows fit the recordings in another order: s1 has the rows of s5, s2 has the rows of s1",
    )


def test_two_stories_of_nearly_the_same_length_changed(tmp_path: Path) -> None:
    """Four TRs apart: each alone would pass for a scan that ran on, or ended early."""
    lab = make(tmp_path, lengths=(180, 188, 240, 250))
    lab.save(lab.rows | {"s1": lab.rows["s2"], "s2": lab.rows["s1"]})
    refused(lab, "in another order: s1 has the rows of s2, s2 has the rows of s1")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("twice", r"2 times the rows expected, the same ones again: keep the first 85 of story s1"),
        ("repeats", r"2 times the rows expected: repeats one after the other .* or a TR that is 2 times shorter"),
        ("untrimmed", r"a row for every TR, so they are not trimmed: set trim = \[0, 0\], not \[10, 5\]"),
        ("front", r"only the last 5 TRs are left out of the responses: set trim = \[0, 5\]"),
        ("turned", r"first axis has the same length in all stories, so the arrays seem to be \(voxels, TRs\)"),
        ("one turned", r"story s3: responses have shape \(8, 94\), which seems to be \(voxels, TRs\)"),
        ("shorter", r"expected equal numbers, but they differ by 25 TRs"),
    ],
)
def test_rows_of_another_form(tmp_path: Path, rows: str, says: str) -> None:
    lab = make(tmp_path)
    rng = np.random.default_rng(1)
    made = dict(lab.rows)
    for name, y in lab.rows.items():
        if rows == "twice":
            made[name] = np.vstack([y, y])
        elif rows == "repeats":
            made[name] = np.vstack([y, y + rng.normal(size=y.shape)])
        elif rows in ("untrimmed", "front"):
            back = rng.normal(size=(5 if rows == "untrimmed" else 0, 8))
            made[name] = np.vstack([rng.normal(size=(10, 8)), y, back])
        elif rows == "turned" or (rows == "one turned" and name == "s3"):
            made[name] = y.T
        elif rows == "shorter":
            made[name] = y[25:]
    lab.save(made)
    refused(lab, says)


def test_turned_arrays_of_stories_of_one_length(tmp_path: Path) -> None:
    lab = make(tmp_path, lengths=(200, 200, 200, 200))
    lab.save({name: rows.T for name, rows in lab.rows.items()})
    refused(lab, r"seem to be \(voxels, TRs\): they have 95 columns, as many as the expected rows; save array.T")


def test_another_tr(tmp_path: Path) -> None:
    lab = make(tmp_path, tr=1.5)
    refused(lab, r"the rows fit a TR of 1.5 s, not 2 s: set stories.tr = 1.5")
    assert lab.score("tr = 1.5")["mean"] > 0.5


def test_what_is_not_trimmed_scores_when_trim_says_so(tmp_path: Path) -> None:
    lab = make(tmp_path, cut=(0, 0))
    refused(lab, r"set trim = \[0, 0\]")
    assert lab.score(settings="trim = [0, 0]")["mean"] > 0.5


def test_a_scan_that_ran_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said, with the key that says so; 20 s are too long to be taken without it."""
    lab = make(tmp_path, after=18)
    ran_on = lab.score()["mean"]
    assert "the scans have 4 TRs more than the recordings make" in (said := capsys.readouterr().err)
    assert "to begin when `before` says, and to end later; after = 18 says so" in said
    assert lab.score("after = 18")["mean"] == ran_on
    assert "scans have" not in capsys.readouterr().err
    page = (tmp_path / "results" / "study" / "report.html").read_text(encoding="utf-8")
    assert "Responses: centred within each story." in page
    (tmp_path / "more").mkdir()
    refused(make(tmp_path / "more", after=40), "and the alignment is right, set stories.after = 40")


def test_subjects_whose_scans_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has the TRs of its own rows, whichever comes first."""
    lab = make(tmp_path)
    alone = lab.score()["mean"]
    rng = np.random.default_rng(2)
    lab.save({name: np.vstack([rows, rng.normal(size=(4, 8))]) for name, rows in lab.rows.items()}, "S2")
    capsys.readouterr()
    for order in ('S = "S"\nS2 = "S2"', 'S2 = "S2"\nS = "S"'):
        path = lab.study()
        path.write_text(path.read_text().replace('S = "S"', order))
        from encoderlab.brain.encoding.encode import encode

        account = json.loads((encode(path).parent / "encoding.json").read_text())
        means = {row["subject"]: row["mean"] for row in account["rows"]}
        assert means["S"] == pytest.approx(alone, abs=1e-12) and 0.9 * alone < means["S2"] < alone
        said = capsys.readouterr().err
        assert "S2: the scans have 4 TRs more" in said and "S: the scans" not in said
        assert any("S2: the scans have 4 TRs more" in note for note in account["notes"])


def test_respdict_counts_the_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in ds003020: rows + trim + 5. It is believed before the recording is, and checked against the rows."""
    lab = make(tmp_path, after=30)
    counts = {name: len(rows) + 15 + 5 for name, rows in lab.rows.items()}
    (tmp_path / "respdict.json").write_text(json.dumps(counts))
    assert lab.score()["mean"] > 0.5
    assert "TRs of 5 stories from" in capsys.readouterr().err
    (tmp_path / "respdict.json").write_text(json.dumps(counts | {"s2": counts["s2"] + 3}))
    refused(lab, "they differ by 3 TRs", "respdict.json, less 5; check that it is of these scans")
    (tmp_path / "respdict.json").write_text('{"s1": "many"}')
    refused(lab, "respdict.json: story 's1': 'many'; expected the volumes of its scan")


def test_a_recording_that_begins_with_the_scan(tmp_path: Path) -> None:
    """`before`, not `trim`, is proposed, though a trim would put the peak there too: the rows tell."""
    lab = make(tmp_path, before=0.0, cut=(0, 0), tr=1.5, kind="tsv")
    study = lab.study("tr = 1.5", "trim = [0, 0]")
    assert any(
        re.search("expected 3 or 4; set before = 0 to move the peak there", line) for line in check(study).alignment
    )
    assert not any("after =" in line for line in check(study).warnings)
    right = lab.score("tr = 1.5\nbefore = 0", "trim = [0, 0]")["mean"]
    assert right > 0.5 > 0.2 > lab.score("tr = 1.5", "trim = [0, 0]")["mean"]


def test_before_and_trim_are_told_apart(tmp_path: Path) -> None:
    """A recording that begins at once moves the peak as far as a trim turned round does."""
    for name, how in (("before", {"before": 0.0}), ("trim", {"cut": (5, 10)})):
        (tmp_path / name).mkdir()
        warnings = check(make(tmp_path / name, **how).study()).alignment  # type: ignore[arg-type]
        key = "before = 0" if name == "before" else r"trim = \[5, 10\]"
        assert re.search(f"expected 2 or 3; set {key} to move the peak there", "\n".join(warnings)), warnings


def test_a_recording_that_began_before_the_scan(tmp_path: Path) -> None:
    lab = make(tmp_path, before=-6.0, after=10, cut=(0, 0))
    text = "\n".join(check(lab.study("before = 2", "trim = [0, 0]")).alignment)
    found = re.search(r"before = (-?[\d.]+) to move", text)
    assert found and abs(float(found[1]) + 6) <= 1.5
    assert lab.score("before = -6", "trim = [0, 0]")["mean"] > 0.5


def test_before_of_every_story(tmp_path: Path) -> None:
    """A table, a TSV and a JSON file say the same; without one, the alignment check proposes the table."""
    before = [15.0, 0.0, 22.5, -3.0, 6.0]
    lab = make(tmp_path, before=before, cut=(0, 0), tr=1.5)
    text = refused(lab, stories="tr = 1.5", settings="trim = [0, 0]")
    said = re.search(r"before = \{ (.*) \} or values close", text)
    assert said, text
    found = [float(part.split(" = ")[1]) for part in said[1].split(", ")]
    assert np.abs(np.array(found) - before).max() <= 1.5
    pairs = dict(zip(lab.rows, before, strict=True))
    (tmp_path / "before.tsv").write_text("story\tbefore\n" + "".join(f"{n}\t{b}\n" for n, b in pairs.items()))
    (tmp_path / "before.json").write_text(json.dumps(pairs | {"of another study": 3}))
    table = "{ " + ", ".join(f"{n} = {b}" for n, b in pairs.items()) + " }"
    scores = [
        lab.score(f"tr = 1.5\nbefore = {given}", "trim = [0, 0]")["mean"]
        for given in (table, '"before.tsv"', '"before.json"')
    ]
    assert scores[0] > 0.5 and len(set(scores)) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{ s1 = 3.0 }", r"s2.TextGrid: stories.before has no line for story 's2'"),
        ("{ s1 = 3, s2 = 3, s3 = 3, s4 = 3, s5 = 3, s9 = 3.0 }", r"stories.before: no story 's9' in .*; it has s1, s2"),
        ('"gone.tsv"', r"gone.tsv: stories.before: cannot be read \(No such file or directory\)"),
        ('"bad.tsv"', r"bad.tsv:3: 'soon'; expected seconds"),
        ('"twice.tsv"', r"twice.tsv:3: story 's1' occurs twice"),
        ('"other.tsv"', r"other.tsv: stories.before: expected the columns story and before, got name, onset"),
        ('"list.json"', r"list.json: holds a list; expected an object"),
        (
            "-1000",
            r"-1000 s before the recording, 180 s of recording and 10 s after it are -405 TRs of 2 s; .*check `before`",
        ),
        ("true", r"stories.before: expected a number or a table of numbers or a string, got true"),
    ],
)
def test_seconds_that_are_none(tmp_path: Path, given: str, says: str) -> None:
    lab = make(tmp_path)
    (tmp_path / "bad.tsv").write_text("story\tbefore\ns1\t3\ns2\tsoon\n")
    (tmp_path / "twice.tsv").write_text("story\tbefore\ns1\t3\ns1\t4\n")
    (tmp_path / "other.tsv").write_text("name\tonset\ns1\t3\n")
    (tmp_path / "list.json").write_text("[3, 4]")
    refused(lab, says, stories=f"before = {given}")


def test_a_story_that_is_not_used_needs_no_seconds(tmp_path: Path) -> None:
    lab = make(tmp_path, before=[4.0, 8.0, 12.0, 10.0, 10.0])
    names = 'names = ["s1", "s2", "s3"]\nbefore = { s1 = 4.0, s2 = 8.0, s3 = 12.0 }'
    assert lab.score(names)["mean"] > 0.4


def test_stories_with_times_of_their_own_have_no_room(tmp_path: Path) -> None:
    """One TR more is one too many where the TRs are known."""
    lab = make(tmp_path)
    stories = read(tmp_path / "stories")
    from encoderlab.brain.fmri.responses import StoryResponses

    longer = StoryResponses.from_arrays([np.vstack([y, y[:1]]) for y in lab.rows.values()], list(lab.rows))
    with pytest.raises(InputError, match="85 rows of features .* of the recording's 100, 86 rows of responses"):
        fitted(stories, longer, Encode(), Scans(computed=False))
    placed, assumed = fitted(stories, longer, Encode(), Scans(computed=True))
    assert [len(s.tr_times) for s in placed] == [len(s.tr_times) + 1 for s in stories] and "1 TRs more" in assumed.said


def test_a_story_twice_in_a_file_of_seconds(tmp_path: Path) -> None:
    lab = make(tmp_path)
    (tmp_path / "b.json").write_text('{"s1": 10, "s1": 0, "s2": 10, "s3": 10, "s4": 10, "s5": 10}')
    refused(lab, r"b.json: story 's1' occurs twice", stories='before = "b.json"')
    lines = "".join(f"{name}\t10\n" for name in ("s1", "s1.TextGrid", "s2", "s3", "s4", "s5"))
    (tmp_path / "b.tsv").write_text(f"story\tbefore\n{lines}")
    refused(lab, r"b.tsv: story 's1' occurs twice", stories='before = "b.tsv"')


def test_seconds_by_the_names_of_files(tmp_path: Path) -> None:
    lab = make(tmp_path)
    (tmp_path / "b.tsv").write_text("story\tbefore\n" + "".join(f"{name}.TextGrid\t10\n" for name in lab.rows))
    assert lab.score('before = "b.tsv"')["mean"] == pytest.approx(0.5764, abs=5e-4)


def test_counts_with_a_byte_order_mark(tmp_path: Path) -> None:
    lab = make(tmp_path, after=30)
    counts = {name: len(rows) + 20 for name, rows in lab.rows.items()}
    (tmp_path / "respdict.json").write_text("\ufeff" + json.dumps(counts), encoding="utf-8")
    assert lab.score()["mean"] > 0.5


def test_two_keys_that_mend_the_lag_are_both_named(tmp_path: Path) -> None:
    """The rows are as many with the one as with the other."""
    for name, how, study, says in (
        (
            "scan",
            {"before": 0.0, "after": 20.0},
            "",
            r"trim = \[15, 0\] to move the peak there; before = 0 would do so too",
        ),
        (
            "study",
            {},
            "before = 0\nafter = 20",
            r"trim = \[5, 10\] to move the peak there; before = (8|10) would do so too",
        ),
    ):
        (tmp_path / name).mkdir()
        (line,) = check(make(tmp_path / name, **how).study(study)).alignment  # type: ignore[arg-type]
        assert re.search(says, line), line
