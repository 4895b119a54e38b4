"""Responses centred within each story, censored volumes left out: against models made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoderlab.brain.encoding import score
from encoderlab.brain.encoding.encode import encode
from encoderlab.brain.fmri.censored import censored
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.stories.read import read
from encoderlab.brain.vectors.vectors_file import open_vectors
from fixtures_brain import Lab, make

LENGTHS = (150, 190, 170, 160)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make(tmp_path, lengths=LENGTHS)


def offsets(lab: Lab, size: float, dtype: type = np.float64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: (rows + size * rng.normal(size=8)).astype(dtype) for name, rows in lab.rows.items()}


@pytest.mark.parametrize(
    ("size", "dtype", "close"), [(5, np.float64, 1e-6), (5, np.float32, 1e-5), (1e4, np.float32, 2e-3)]
)
def test_an_offset_of_every_story_changes_nothing(lab: Lab, size: float, dtype: type, close: float) -> None:
    right = lab.score()
    lab.save(offsets(lab, size, dtype))
    assert lab.score() == pytest.approx(right, abs=close)
    if dtype is np.float64:
        plain = lab.score(settings="centre = false")
        assert plain["pooled"] < right["pooled"] - 0.3 and plain["mean"] < right["mean"] - 0.01


def test_centred_and_plain_scores_are_not_mixed_up(lab: Lab) -> None:
    """The file of one is not read for the other."""
    lab.save(offsets(lab, 5))
    centred = lab.score()
    plain = lab.score(settings="centre = false")
    assert lab.score() == centred != plain
    lab.save()
    before, after = (lab.score(settings=f"centre = {on}") for on in ("false", "true"))
    assert before == pytest.approx(after, abs=1e-6), "of responses that have mean 0 already"


def test_pieces_banded_and_the_laboratory(lab: Lab) -> None:
    """Pieces of voxels and banded ridge are centred as well; the laboratory's pipeline is not."""
    pytest.importorskip("himalaya")
    spaces = '[[features]]\nkind = "word-rate"\n[encode]'
    reference = '\n[reference]\ntest = ["s4"]\nboots = 3\nchunk = 10\nchunks = 3\n'

    def means(settings: str = "", more: str = "", launch: str = "") -> dict[str, float]:
        path = lab.study(encode=settings)
        path.write_text(path.read_text().replace("[encode]", spaces) + more + launch)
        out = encode(path).parent
        held = {one.stem: score.read(one) for one in (out / "scores" / "S").glob("*.h5")}
        return {name: float(np.nanmean(one.mean)) for name, one in held.items() if one is not None}

    huth = 'convention = "huth"'
    right, lab_right = means("banded = true"), means(huth, reference)
    lab.save(offsets(lab, 5))
    assert means("banded = true") == pytest.approx(right, abs=1e-4)
    pieces = means(launch="\n[launch]\nvoxels = 3\n")
    assert pieces["bag-of-words"] == pytest.approx(right["bag-of-words"], abs=1e-4)
    assert means(huth, reference)["bag-of-words"] != pytest.approx(lab_right["bag-of-words"], abs=1e-3)
    page = (lab.folder / "results" / "study" / "report.html").read_text(encoding="utf-8")
    assert "Responses: as stored, not centred." in page


def scrubbed(lab: Lab, seed: int = 4) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Responses with whole TRs of nan, and which stay."""
    rng = np.random.default_rng(seed)
    kept = {name: rng.random(len(rows)) > 0.1 for name, rows in lab.rows.items()}
    made = {name: np.where(kept[name][:, None], rows, np.nan) for name, rows in lab.rows.items()}
    return made, kept


def by_hand(lab: Lab, kept: dict[str, np.ndarray], alpha: float) -> np.ndarray:
    """(stories, voxels) r of scikit-learn's ridge on the rows that are left of a design made of all."""
    from sklearn.linear_model import Ridge

    from encoderlab.brain.encoding.design_rows import Counted
    from encoderlab.brain.fmri.design import Design
    from encoderlab.brain.vectors.features import BagOfWords

    file = open_vectors(lab.folder / "results" / "study" / "vectors" / "bag-of-words.h5")
    bag = Counted(label="bag", kind="bag-of-words", file=file, feature=BagOfWords(size=12))
    x = [
        rows[kept[name]] for rows, name in zip(bag.rows(read(lab.folder / "stories"), Design()), lab.rows, strict=True)
    ]
    y = [lab.rows[name][kept[name]] for name in lab.rows]
    y = [rows - rows.mean(axis=0) for rows in y]
    found = []
    for s in range(len(x)):
        model = Ridge(alpha=alpha).fit(np.vstack(x[:s] + x[s + 1 :]), np.vstack(y[:s] + y[s + 1 :]))
        p = model.predict(x[s])
        found.append([np.corrcoef(p[:, v], y[s][:, v])[0, 1] for v in range(8)])
    return np.array(found)


def test_censored_volumes_are_left_out_exactly(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    made, kept = scrubbed(lab)
    made["s2"][:, 5] = np.nan  # a voxel without a number in one story
    made["s3"][7, 2] = np.nan  # one number
    lab.save(made)
    path = lab.study()
    path.write_text(path.read_text().replace("alphas = [1, 10, 100, 1000]", "alphas = [30]"))
    held = score.read(encode(path).parent / "scores" / "S" / "bag-of-words.h5")
    said = capsys.readouterr().err
    counts = {name: int((~rows).sum()) for name, rows in kept.items()}
    counts["s3"] -= not kept["s3"][7]
    listed = ", ".join(f"{name} {count}" for name, count in {n: int((~k).sum()) for n, k in kept.items()}.items())
    assert f"S: {sum((~k).sum() for k in kept.values())} censored TRs (nan in every voxel) left out" in said
    assert listed in said
    assert held is not None
    right = by_hand(lab, kept, 30.0)
    whole = [v for v in range(8) if v not in (2, 5)]
    np.testing.assert_allclose(held.scores[:, whole], right[:, whole], atol=1e-5)
    assert np.isnan(held.scores[1, 5]) and np.isnan(held.scores[2, 2]) == bool(kept["s3"][7])
    if kept["s3"][7]:
        assert any(
            "2 (story, voxel) pairs are not measured" in n and "1 are nan in every TR, 1 in some" in n
            for n in held.notes
        )


def test_other_models_leave_them_out_too(lab: Lab) -> None:
    pytest.importorskip("himalaya")
    made, kept = scrubbed(lab)
    lab.save(made)
    path = lab.study(encode="banded = true")
    path.write_text(path.read_text().replace("[encode]", '[[features]]\nkind = "word-rate"\n[encode]'))
    joint = score.read(encode(path).parent / "scores" / "S" / "all-spaces-banded.h5")
    assert joint is not None and not np.isnan(joint.scores).any() and joint.scores.mean() > 0.4
    path = lab.study(encode='convention = "huth"')
    path.write_text(path.read_text() + '[reference]\ntest = ["s4"]\nboots = 3\nchunk = 10\nchunks = 3\n')
    lone = score.read(encode(path).parent / "scores" / "S" / "bag-of-words.h5")
    assert lone is not None and (lone.scores > 0.2).all()
    assert all(rows.any() for rows in kept.values())


def test_which_rows_are_censored() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 200))
    rows[3] = np.nan
    rows[:, 0] = np.nan  # never measured
    rows[:, 1] = 0.0  # outside the brain
    rows[7, 5:] = np.nan  # some voxels have a number
    found = censored(StoryResponses.from_arrays([rows, np.zeros((4, 200)), np.full((4, 200), np.nan)]))
    assert found.counts == (1, 0, 0) and found.rows[0] is not None and found.rows[0][3]


def test_nothing_scored_says_why(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    made = {name: rows.copy() for name, rows in lab.rows.items()}
    for rows in made.values():
        rows[rng.permutation(len(rows))[:8], np.arange(8)] = np.nan
    lab.save(made)
    encode(lab.study())
    pairs = "32 (story, voxel) pairs are not measured; only these pairs are left out: 32 in some TRs"
    said = f"no voxel could be scored: {pairs}"
    assert said in capsys.readouterr().err


def test_the_progress_line_is_the_number_of_the_table(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where voxels are missing in some stories, so that the mean over voxels and the mean over stories part."""
    made = {name: rows.copy() for name, rows in lab.rows.items()}
    made["s1"][:, :6] = np.nan
    made["s2"][:, 2:4] = np.nan
    lab.save(made)
    mean = lab.score()["mean"]
    shown = f"{mean:.4f}".replace("0.", ".", 1)
    assert f"bag-of-words: mean r {shown}" in capsys.readouterr().err
    assert f"<b>{shown}</b>" in (lab.folder / "results" / "study" / "report.html").read_text(encoding="utf-8")
