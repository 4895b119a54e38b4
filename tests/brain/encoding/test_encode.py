"""`encoderlab encode` from files to report: planted truth, what is done again, the pages and files it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from encoderlab.brain.encoding import score
from encoderlab.brain.encoding.encode import encode
from encoderlab.brain.encoding.score import read
from encoderlab.brain.fmri.design import Design
from encoderlab.brain.vectors.static import read_vectors
from encoderlab.cli.app import main
from encoderlab.core.errors import EncoderlabError, InputError
from fixtures_encode import STUDY, VOXELS, WORDS, make_lab, study, table  # noqa: F401  (a fixture)


def test_the_planted_space_is_found(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = encode(study, ["encode.reference=other"])
    rows = table(report.parent)
    assert list(rows) == ["bag-of-words", "true", "other", "word-length"]
    best = rows["true"]
    assert float(best["mean"]) > 0.5 and float(best["significant"]) == 1.0
    assert all(float(row["mean"]) < float(best["mean"]) - 0.1 for name, row in rows.items() if name != "true")
    assert float(best["difference"]) > 0.1 and float(best["difference_low"]) > 0 and float(best["p"]) < 0.05
    assert rows["other"]["difference"] == "" and rows["other"]["holm_p"] == ""
    held = read(report.parent / "scores" / "S1" / "true.h5")
    assert held is not None and held.scores.shape == (7, VOXELS) and held.alphas.shape == (7, VOXELS)
    np.testing.assert_allclose(held.mean, held.scores.mean(axis=0), atol=1e-12)
    assert (held.p <= 1).all() and (held.p > 0).all() and (held.q >= held.p).all()
    assert held.p.min() < 1e-4  # counting its 200 permutations would end at 1/201
    assert any(line.startswith("smallest p that a voxel can reach") and "1/201 = 0.005" in line for line in held.notes)
    page = report.read_text(encoding="utf-8")
    assert (
        "true predicts S1 best" in page
        and page.count("<svg") == 5
        and "http" not in page.split("<svg")[0].split("</style>")[1]
    )
    account = json.loads((report.parent / "encoding.json").read_text())
    assert account["subjects"]["S1"]["doctor"]["lags"][0] == -8 and account["study"]["encode"]["trim"] == [10, 5]


def test_one_space_and_one_alpha_make_no_winner_and_no_picture(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(STUDY.replace('path = ["true.txt", "other.txt"]', 'path = "true.txt"'))
    report = encode(study, ["encode.alphas=[100]", "encode.permutations=0"])
    page = report.read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "The study gives one alpha, 100, so none was chosen." in page
    assert "true predicts S1 best" in capsys.readouterr().err
    study.write_text(study.read_text().partition("[[features]]")[0] + '[[features]]\nkind = "word-rate"\n')
    page = encode(study, ["out=one"]).read_text(encoding="utf-8")
    assert "word-rate predicts S1 with a mean r of" in page and "best" not in page.split("</h1>")[0].split("<h1>")[1]
    account = json.loads((study.parent / "one" / "encoding.json").read_text())
    assert account["best"]["S1"]["others"] == [] and account["best"]["S1"]["tested"] is False


@pytest.mark.parametrize(
    ("stories", "spaces", "headline"),
    [
        (7, ["true"], "true predicts S1 with a mean r of"),
        (7, ["true", "same"], "true predicts S1 best, but is not shown to be better than same"),
        (5, ["true", "other"], "true has the highest mean r in S1, not tested (5 stories, a test needs 6)"),
        (101, ["true", "other"], "true predicts S1 best"),
    ],
)
def test_the_headline_of_the_page(tmp_path: Path, stories: int, spaces: list[str], headline: str) -> None:
    make_lab(tmp_path, stories)
    shutil.copy(tmp_path / "true.txt", tmp_path / "same.txt")
    head, encoding = STUDY[: STUDY.index("[[features]]")], STUDY[STUDY.index("[encode]") :]
    paths = json.dumps([f"{name}.txt" for name in spaces])
    file = tmp_path / "study.toml"
    file.write_text(f'{head}[[features]]\nkind = "vectors"\npath = {paths}\n{encoding}')
    page = encode(file, ["encode.permutations=0"]).read_text(encoding="utf-8")
    shown = page.split("<h1>")[1].split("</h1>")[0]
    assert shown == headline if len(spaces) > 1 else shown.startswith(headline)
    assert len(spaces) > 1 or "best" not in shown


def test_scores_of_an_earlier_format_are_made_anew(study: Path) -> None:
    """Their p values were counted, and end at 1 / (permutations + 1)."""
    out = encode(study).parent
    path = out / "scores" / "S1" / "true.h5"
    before = read(path)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "encoderlab-scores/2"
        del file["p"]
        file["p"] = np.full(VOXELS, 1 / 201)
    assert read(path) is None
    encode(study)
    after = read(path)
    assert before is not None and after is not None
    np.testing.assert_array_equal(after.p, before.p)


def test_a_second_call_computes_nothing(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode(study)

    def kept() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in first.parent.rglob("*.h5") if p.parent.name != "comparisons"}

    before = kept()
    page = first.read_bytes()
    assert len(before) == 4 + 4

    def fail(*args: Any, **named: Any) -> Any:
        raise AssertionError("scored again")

    monkeypatch.setattr(score, "score", fail)
    assert encode(study).read_bytes() == page
    assert kept() == before
    encode(study, ["encode.q=0.01", 'encode.reference="true"'])  # what is read of the same scores
    with pytest.raises(AssertionError, match="scored again"):
        encode(study, ["encode.block=5"])


def test_changed_responses_are_scored_again(study: Path) -> None:
    out = encode(study).parent
    before = table(out)
    rows = np.load(study.parent / "S1" / "tale3.npy")
    np.save(study.parent / "S1" / "tale3.npy", -rows)
    encode(study)
    assert table(out)["true"]["mean"] != before["true"]["mean"]


def test_a_missing_voxel_costs_that_story_and_voxel_alone(study: Path) -> None:
    path = study.parent / "S1" / "tale2.npy"
    rows = np.load(path)
    rows[5, 1] = np.nan
    np.save(path, rows)
    held = read(encode(study).parent / "scores" / "S1" / "true.h5")
    assert held is not None and np.isnan(held.scores).sum() == 1 and np.isnan(held.scores[2, 1])
    assert not np.isnan(held.mean).any() and any("1 (story, voxel) pairs are not measured" in n for n in held.notes)


def test_stories_without_responses(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study.parent / "S1" / "tale6.npy").unlink()
    with pytest.raises(InputError, match=r"S1: 1 stories have no responses: tale6; .*encode.unmatched = \"leave out\""):
        encode(study)
    out = encode(study, ["encode.unmatched=leave out"]).parent
    assert table(out)["true"]["stories"] == "6"
    assert "no responses: tale6; left out" in (out / "report.html").read_text(encoding="utf-8")


def test_the_command_prints_the_table_and_the_path(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(study), "-s", "encode.permutations=0"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith("report.html") and "true" in out
    assert table(study.parent / "results" / "study")["true"]["significant"] == ""


def test_the_scores_file_says_what_it_is(study: Path) -> None:
    out = encode(study).parent
    with h5py.File(out / "scores" / "S1" / "true.h5") as file:
        assert file.attrs["scheme"] == "nested" and file.attrs["convention"] == "squared-norm"
        assert file.attrs["permutations"] == 200 and file.attrs["block"] == 20


def test_banded_ridge_over_all_spaces(study: Path) -> None:
    out = encode(study, ["encode.banded=true", "encode.alphas=[1, 100]"]).parent
    rows = table(out)
    joint = rows["all spaces, banded"]
    assert float(joint["mean"]) > float(rows["other"]["mean"]) and joint["significant"] == ""
    held = read(out / "scores" / "S1" / "all-spaces-banded.h5")
    assert held is not None and held.spaces == ["bag-of-words", "true", "other", "word-length"]
    np.testing.assert_allclose(held.split.sum(axis=0), held.mean, atol=1e-4)
    assert held.split.mean(axis=1).argmax() == 1, "most of it comes from the space that made the responses"
    assert "Contribution of each space" in (out / "report.html").read_text(encoding="utf-8")


def test_the_reference_pipeline(study: Path) -> None:
    """As the laboratory's functions would be called by hand."""
    from encoderlab.brain.ridge.huth_pipeline import bootstrap_ridge, stacked_features
    from encoderlab.brain.stories.read import read as read_stories

    text = STUDY.replace("[encode]", '[encode]\nconvention = "huth"\nalphas = [1, 10, 100]') + (
        '[reference]\ntest = ["tale5", "tale6"]\nboots = 5\nchunk = 10\nchunks = 6\n'
    )
    study.write_text(text)
    rows = table(encode(study).parent)
    stories = read_stories(study.parent / "stories.parquet")
    vectors = read_vectors(study.parent / "true.txt", set(WORDS))
    plain = Design(trim=(0, 0), zscore=False, delays=(0,))
    features = [plain.rows(s.name, vectors.of(s)[0], s.times, s.tr_times) for s in stories]
    responses = [np.load(study.parent / "S1" / f"{s.name}.npy") for s in stories]
    found = bootstrap_ridge(
        stacked_features(features[:5], (1, 2, 3, 4)),
        np.vstack(responses[:5]),
        stacked_features(features[5:], (1, 2, 3, 4)),
        np.vstack(responses[5:]),
        [1, 10, 100],
        nboots=5,
        chunklen=10,
        nchunks=6,
        seed=0,
    )
    assert float(rows["true"]["mean"]) == pytest.approx(found.correlations.mean(), abs=1e-6)
    with pytest.raises(InputError, match='encode.convention: the laboratory.*"huth"'):
        encode(study, ["encode.convention=squared-norm"])
    with pytest.raises(InputError, match="reference.test: S1 has no story 'nobody'"):
        encode(study, ['reference.test=["nobody"]'])


@pytest.mark.parametrize("level", [1.0, 1000.0])
def test_the_level_of_the_responses_does_not_matter(study: Path, level: float) -> None:
    before = float(table(encode(study, ["encode.permutations=0"]).parent)["true"]["mean"])
    for path in (study.parent / "S1").glob("*.npy"):
        np.save(path, np.load(path) + level)
    after = float(table(encode(study, ["encode.permutations=0"]).parent)["true"]["mean"])
    assert after == pytest.approx(before, abs=1e-4)


def test_the_scan_of_a_text_file_is_that_of_its_responses(study: Path) -> None:
    """A TSV knows nothing of the scan: its TRs are as many as the responses say, trimmed ones included."""
    from encoderlab.brain.stories.read import read as read_stories

    folder = study.parent / "tsv"
    folder.mkdir()
    for story in read_stories(study.parent / "stories.parquet"):
        lines = [f"{t - 0.1:.4f}\t0.2\t{w}" for t, w in zip(story.times, story.words, strict=True)]
        (folder / f"{story.name}.tsv").write_text("onset\tduration\tword\n" + "\n".join(lines) + "\n")
    rows = table(encode(study, ["stories.path=tsv", "encode.permutations=0"]).parent)
    assert float(rows["true"]["mean"]) > 0.5
    with pytest.raises(InputError, match=r"stories.tr: .*stories.parquet has TR times of its own"):
        encode(study, ["stories.tr=1.5"])


def test_nothing_to_score_is_a_report_too(study: Path) -> None:
    for path in (study.parent / "S1").glob("*.npy"):
        np.save(path, np.ones_like(np.load(path)))
    out = encode(study, ["encode.permutations=0"]).parent
    assert table(out)["true"]["mean"] == "" and (out / "report.html").is_file()


def kept_scores(out: Path) -> dict[str, dict[str, np.ndarray]]:
    return {
        str(path.relative_to(out)): {name: getattr(found, name) for name in score.ARRAYS}
        for path in sorted(out.glob("scores/*/*.h5"))
        if (found := score.read(path)) is not None
    }


def test_scores_that_are_written_over_are_one_line(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a worker of an earlier command, with other settings."""
    monkeypatch.setattr("encoderlab.brain.encoding.scoring_jobs.Scoring.__call__", lambda work, spec: [])
    with pytest.raises(
        EncoderlabError, match=r"scores/.*\.h5: removed or overwritten before .*; run the same command again"
    ):
        encode(study)


def test_pieces_of_voxels_in_processes_give_what_one_process_gives(study: Path) -> None:
    """Bit for bit, with the same pieces; against the whole brain at once within the rounding of its products, which can
    also choose another alpha for a voxel of noise."""
    whole = kept_scores(encode(study).parent)
    here = kept_scores(encode(study, ["out=here", "launch.voxels=7"]).parent)
    there = encode(
        study, ["out=there", "launch.voxels=7", "launch.on=processes", "launch.workers=2", "launch.threads=1"]
    )
    sent = kept_scores(there.parent)
    assert list(sent) == list(here) == list(whole) and len(whole) > 2
    for name, arrays in whole.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(sent[name][key], here[name][key])
            if key in ("scores", "mean", "pooled", "curve"):
                np.testing.assert_allclose(sent[name][key], array, rtol=0, atol=1e-4)
    assert not list(there.parent.glob("scores/*/pieces/*.h5")) and not (there.parent / "launch").exists()
    rows = [table(out) for out in (there.parent, study.parent / "here")]
    for row in [*rows[0].values(), *rows[1].values()]:
        row.pop("seconds")
    assert rows[0] == rows[1]
