"""Response files as people have them: repeats, masks beside the stories, groups, other endings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from encoderlab.brain.encoding.check import check
from encoderlab.brain.fmri.subject import open_subject
from encoderlab.core.errors import InputError
from fixtures_brain import Lab, make


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make(tmp_path, lengths=(150, 190, 170, 160))


def hdf5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def noisy(lab: Lab, story: str, seed: int) -> np.ndarray:
    return lab.rows[story] + 3 * np.random.default_rng(seed).normal(size=lab.rows[story].shape)


def test_a_mask_beside_the_stories(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    right = lab.score()["mean"]
    others = {
        "mask": np.ones((4, 5, 6), dtype=bool),
        "affine": np.eye(4),
        "voxel_coords": np.zeros((8, 3)),
        "good": np.ones(8, dtype=bool),
        "S_noise-ceiling": np.ones((2, 8)),
    }
    for name, array in others.items():
        np.save(lab.folder / "S" / f"{name}.npy", array)
    np.savez(lab.folder / "S.npz", **lab.rows, **others)  # type: ignore[arg-type]
    hdf5(lab.folder / "S.hdf", lab.rows | others)
    for place in ("S", "S.npz", "S.hdf"):
        capsys.readouterr()
        assert lab.score(responses=place)["mean"] == right
        said = "S: 5 arrays that are not stories: S_noise-ceiling (named ceiling), affine (named affine), good (of type"
        assert said in capsys.readouterr().err
        assert "S: 5 arrays that are not stories" in (lab.folder / "results/study/report.html").read_text()
    assert any("5 arrays that are not stories" in line for line in check(lab.study()).warnings)


def test_a_story_may_have_such_a_name(lab: Lab) -> None:
    """What has a transcript is a story; what has neither transcript nor such a name is not left out in silence."""
    (lab.folder / "stories" / "s1.TextGrid").rename(lab.folder / "stories" / "mask.TextGrid")
    (lab.folder / "S" / "s1.npy").rename(lab.folder / "S" / "mask.npy")
    assert lab.score()["mean"] > 0.4
    np.save(lab.folder / "S" / "s9.npy", lab.rows["s1"])
    with pytest.raises(InputError, match="1 stories have no transcript: s9"):
        lab.score()


def stacked(lab: Lab, names: list[str], arrays: list[np.ndarray]) -> None:
    offsets = np.cumsum([0, *map(len, arrays)])
    np.savez(lab.folder / "S.npz", Y=np.vstack(arrays), offsets=offsets, stories=names)


def test_repeats_are_no_story_that_wins(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Stacked three times, the last one used to be the one that was scored."""
    first = lab.score()
    again = [noisy(lab, "s1", seed) for seed in (1, 2)]
    stacked(lab, [*lab.rows, "s1", "s1"], [*lab.rows.values(), *again])
    with pytest.raises(InputError) as error:
        lab.score(responses="S.npz")
    assert re.search(r"S: story s1: 3 repeats \(S.npz/Y rows .*\); set encode.repeats = \"average\"", str(error.value))
    assert lab.score(responses="S.npz", settings='repeats = "first"') == first
    assert "S: repeats the first taken: s1 3" in capsys.readouterr().err
    averaged = lab.score(responses="S.npz", settings='repeats = "average"')
    assert "S: repeats averaged: s1 3" in capsys.readouterr().err
    lab.save(lab.rows | {"s1": np.mean([lab.rows["s1"], *again], axis=0)})
    assert lab.score() == pytest.approx(averaged, abs=1e-9)


def test_every_form_of_repeats(lab: Lab) -> None:
    """Three axes, numbered names in a folder, and runs in a group of an HDF5 file are one thing."""
    again = {f"s2_run-{i}": noisy(lab, "s2", i) for i in (1, 2)}
    rest = {name: rows for name, rows in lab.rows.items() if name != "s2"}
    hdf5(lab.folder / "axes.h5", rest | {"s2": np.stack(list(again.values()))})
    hdf5(lab.folder / "groups.h5", rest | {f"s2/run{i}": rows for i, rows in enumerate(again.values(), 1)})
    lab.save(rest | again)
    found = []
    for place in ("axes.h5", "groups.h5", "S"):
        with pytest.raises(InputError, match="story s2: 2 repeats"):
            lab.score(responses=place)
        found.append([lab.score(responses=place, settings=f'repeats = "{how}"') for how in ("first", "average")])
    assert found[0] == found[1] == found[2] and found[0][0] != found[0][1]


def test_one_repeat_is_the_story(lab: Lab) -> None:
    right = lab.score()
    lab.save({name: rows[None] for name, rows in lab.rows.items()})
    assert lab.score() == right


def test_repeats_of_different_length(lab: Lab) -> None:
    stacked(lab, [*lab.rows, "s1"], [*lab.rows.values(), lab.rows["s1"][:-2]])
    with pytest.raises(InputError, match=r"story s1: repeats of shapes \(70, 8\), \(68, 8\); expected the same shape"):
        lab.score(responses="S.npz", settings='repeats = "average"')


def test_the_folders_of_ds003020(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    right = lab.score()
    folder = lab.folder / "derivative" / "preprocessed_data" / "UTS01"
    folder.mkdir(parents=True)
    for name, rows in lab.rows.items():
        more = {"individual_repeats": np.stack([rows - 1, rows, rows + 1])} if name == "s4" else {}
        hdf5(folder / f"{name}.hf5", {"data": rows} | more)
    counts = {name: len(rows) + 20 for name, rows in lab.rows.items()}
    (lab.folder / "derivative" / "respdict.json").write_text(json.dumps(counts))
    capsys.readouterr()
    assert lab.score(responses="derivative/preprocessed_data/UTS01") == right
    said = capsys.readouterr().err
    assert "TRs of 4 stories from derivative/respdict.json, less 5 at the end" in said
    assert "1 stories have both data and individual_repeats; encoderlab uses data: s4" in said
    hdf5(lab.folder / "UTS01.h5", {f"{name}/data": rows for name, rows in lab.rows.items()})
    assert lab.score(responses="UTS01.h5") == right
    hdf5(lab.folder / "deep.h5", {f"UTS01/{name}": rows for name, rows in lab.rows.items()})
    assert lab.score(responses="deep.h5") == right
    with pytest.raises(InputError, match="3 stories have no responses: s2, s3, s4"):
        lab.score(responses="derivative/preprocessed_data/UTS01/s1.hf5")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (
            {"Y_train": np.zeros((9, 2)), "Y_test": np.zeros((3, 4, 2)), "run_onsets": np.arange(3)},
            "Y_test, Y_train, run_onsets: runs stacked without the names of their stories",
        ),
        ({"S1/s1": np.zeros((4, 2)), "S2/s1": np.zeros((4, 2))}, "story 's1' occurs twice, S1/s1 and S2/s1"),
        ({}, "no story in it; expected one data set per story"),
    ],
)
def test_files_without_names_of_stories(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    hdf5(tmp_path / "S.hdf", arrays)
    with pytest.raises(InputError, match=says):
        open_subject(tmp_path / "S.hdf")


def test_folders_that_are_unclear(tmp_path: Path) -> None:
    np.save(tmp_path / "s1.npy", np.zeros((3, 2)))
    hdf5(tmp_path / "s1.h5", {"data": np.zeros((3, 2))})
    with pytest.raises(InputError, match="story 's1' occurs twice, s1.h5 and s1.npy"):
        open_subject(tmp_path)
    (tmp_path / "s1.npy").unlink()
    hdf5(tmp_path / "all.h5", {"s2": np.zeros((3, 2)), "s3": np.zeros((3, 2))})
    with pytest.raises(InputError, match="all.h5: data sets s2, s3; in a folder, expected one file per story"):
        open_subject(tmp_path)


@pytest.mark.parametrize("form", ["s2/{}", "s2_{}", "s2/run{}"])
def test_numbered_repeats_of_one_story(lab: Lab, form: str) -> None:
    """In HDF5, with repeats of one story and of all."""
    alone = {name: rows for name, rows in lab.rows.items() if name != "s2"}
    one = alone | {form.format(i): lab.rows["s2"] for i in range(2)}
    every = {form.replace("s2", name).format(i): rows for name, rows in lab.rows.items() for i in range(2)}
    right = lab.score()
    for held in (one, every):
        hdf5(lab.folder / "S.h5", held)
        with pytest.raises(InputError, match="story s2: 2 repeats"):
            lab.score(responses="S.h5")
        averaged = lab.score(settings='repeats = "average"', responses="S.h5")
        assert averaged == pytest.approx(right, abs=1e-6)


def test_stories_may_be_called_by_numbers(lab: Lab) -> None:
    right = lab.score()
    for file in (lab.folder / "stories").iterdir():
        file.rename(file.with_stem(file.stem[1:]))
    hdf5(lab.folder / "S.h5", {f"UTS01/{name[1:]}": rows for name, rows in lab.rows.items()})
    assert lab.score(responses="S.h5") == pytest.approx(right, abs=1e-6)


def test_a_repeat_beside_its_story(lab: Lab) -> None:
    lab.save(lab.rows | {"s2_rep2": noisy(lab, "s2", 0)})
    with pytest.raises(InputError, match="story s2: 2 repeats"):
        lab.score(settings='unmatched = "leave out"')
    assert lab.score(settings='repeats = "first"')["mean"] > 0.5


@pytest.mark.parametrize("axis", [1, 2])
def test_repeats_on_another_axis(lab: Lab, axis: int) -> None:
    lab.save(lab.rows | {"s2": np.stack([lab.rows["s2"]] * 3, axis=axis)})
    for repeats in ("refuse", "average"):
        with pytest.raises(InputError, match=rf"story s2: .* repeats seem to be on axis {axis}; save np.moveaxis"):
            lab.score(settings=f'repeats = "{repeats}"')
