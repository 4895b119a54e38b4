"""Responses from files, and the alignment doctor on planted and on real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.signal import lfilter

from encoderlab.brain.fmri import align, chance
from encoderlab.brain.fmri.alignment_check import diagnose
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.fmri.subject import open_subject
from encoderlab.brain.stories.read import read
from encoderlab.core.errors import InputError


def planted(lag: int, trim: tuple[int, int], seed: int = 0) -> tuple[list, list, StoryResponses]:
    """Three stories whose responses follow the number of words by `lag` TRs; they were trimmed by (10, 5)."""
    rng = np.random.default_rng(seed)
    times, trs, responses = [], [], []
    for rows in (120, 90, 150):
        tr_times = -9.0 + 2 * np.arange(rows)
        words = np.sort(rng.uniform(0, 2 * rows - 30, 3 * rows))
        rate = align.downsample(np.ones((len(words), 1)), words, tr_times, "sum")
        follows = align.zscore(align.delay(rate, (lag,)))
        y = follows * rng.normal(size=30) + rng.normal(size=(rows, 30))
        times.append(words)
        trs.append(tr_times)
        responses.append(y[10 : rows - 5])
    responses[0][:, 3] = np.nan
    return times, trs, StoryResponses.from_arrays(responses)


@pytest.mark.parametrize("lag", [2, 3])
def test_nothing_to_say(lag: int) -> None:
    found = diagnose(*planted(lag, (10, 5)), (10, 5))
    assert found.peak == lag and found.clear and found.warning is None
    assert len(found.lags) == len(found.curve) and max(found.curve) == found.curve[found.lags.index(lag)]


def test_a_trim_turned_round() -> None:
    found = diagnose(*planted(2, (10, 5)), (5, 10))
    assert found.peak == -3 and "set trim = [10, 5] to move the peak there" in (found.warning or "")


def test_times_that_no_trim_mends() -> None:
    assert "check the TR times" in (diagnose(*planted(-7, (10, 5)), (10, 5)).warning or "")


def test_responses_of_something_else() -> None:
    times, trs, responses = planted(2, (10, 5))
    noise = StoryResponses.from_arrays([np.random.default_rng(9).normal(size=(n, 30)) for n in responses.lengths])
    found = diagnose(times, trs, noise, (10, 5))
    assert not found.clear and found.warning is None and found.summary.startswith("too few TRs")
    found = diagnose(
        times * 12, trs * 12, StoryResponses.from_arrays([noise.read(i % 3, slice(None)) for i in range(36)]), (10, 5)
    )
    assert not found.clear and "cannot be judged" in (found.warning or "")


def test_chance_shifts_the_whole_word_rate_under_the_responses() -> None:
    """Against numpy, for every shift. Two TRs are censored; a constant voxel and one with a gap have no r."""
    rng = np.random.default_rng(11)
    rate, y = rng.poisson(3, 60).astype(float), rng.normal(size=(45, 4))
    y[:, 2], y[7, 3] = 5.0, np.nan
    rows = np.delete(np.arange(45), [4, 30])
    found = chance._circular(rate, y[rows], 10 + rows)
    for k in range(60):
        expected = [np.corrcoef(np.roll(rate, k)[10 + rows], y[rows, v])[0, 1] for v in (0, 1)]
        np.testing.assert_allclose(found[k], [*expected, 0, 0], atol=1e-12)
    silent = np.zeros(60)
    silent[:3] = 1  # under the responses of many shifts there are no words
    shifted = chance._circular(silent, y[rows], 10 + rows)
    assert np.isfinite(shifted).all() and (shifted[0] == 0).all() and (shifted[20, :2] != 0).all()


def test_the_silence_around_a_story_is_not_an_alignment() -> None:
    """Slow noise that voxels do not share, in the silence that early and late lags bring to the responses."""
    rng, clear, studies = np.random.default_rng(12), 0, 40
    for _ in range(studies):
        times = [np.sort(rng.uniform(0, 370, 600)) for _ in range(4)]
        trs = [-9.0 + 2 * np.arange(200) for _ in range(4)]
        noise = [np.asarray(lfilter([1.0], [1.0, -0.9], rng.normal(size=(285, 60)), axis=0))[100:] for _ in range(4)]
        clear += diagnose(times, trs, StoryResponses.from_arrays(noise), (10, 5)).clear
    assert clear <= 0.05 * studies


@pytest.mark.parametrize(("share", "rows"), [(0.3, (150, 170, 160)), (0.6, (150, 170, 160)), (0.6, (110,))])
def test_signals_that_voxels_share_are_not_an_alignment(share: float, rows: tuple[int, ...]) -> None:
    """Autocorrelated noise, of which all voxels have a part in common: some lag always looks better than others."""
    rng, clear, studies = np.random.default_rng(7), 0, 60

    def smooth(trs: int, voxels: int) -> np.ndarray:
        noise = rng.normal(size=(trs + 50, voxels))
        return np.asarray(lfilter([1.0], [1.0, -0.7], noise, axis=0))[50:]

    for _ in range(studies):
        times = [np.sort(rng.uniform(0, 2 * n - 30, 3 * n)) for n in rows]
        trs = [-9.0 + 2 * np.arange(n) for n in rows]
        noise = [np.sqrt(share) * smooth(n - 15, 1) + np.sqrt(1 - share) * smooth(n - 15, 60) for n in rows]
        clear += diagnose(times, trs, StoryResponses.from_arrays(noise), (10, 5)).clear
    assert clear <= 0.05 * studies


@pytest.mark.parametrize("tr", [0.7, 0.9, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 5.0, 7.0])
def test_every_tr_has_a_lag_that_is_right(tr: float) -> None:
    """What the doctor advises ends its complaint."""
    from encoderlab.brain.fmri.alignment_check import LAGS, _warning

    right = [lag for lag in LAGS if _warning(lag, tr, True, (10, 5)) is None]
    assert right and all(2.5 < lag * tr < 7.5 for lag in right)
    for lag in LAGS:
        if (said := _warning(lag, tr, True, (10, 5))) and "move the peak there" in said and "no trim" not in said:
            front = int(said.rpartition("trim = [")[2].split(",")[0])
            assert lag + front - 10 in right, said


def test_the_real_responses(shared: Path, tmp_path: Path) -> None:
    tool = shared / "tools/make_lab_data.py"
    subprocess.run([sys.executable, str(tool), str(tmp_path), "--stories", "15"], check=True, capture_output=True)
    stories = read(tmp_path / "raw_text.pkl")
    responses = open_subject(tmp_path / "subject2").responses([s.name for s in stories])
    times, trs = [s.times for s in stories], [s.tr_times for s in stories]
    right, wrong = (diagnose(times, trs, responses, trim) for trim in ((10, 5), (5, 10)))
    assert right.peak == 2 and right.warning is None
    assert wrong.peak == -3 and "trim = [10, 5]" in (wrong.warning or "")


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    return {name: np.random.default_rng(len(name)).normal(size=(n, 4)) for name, n in (("b", 5), ("aa", 3))}


def test_every_kind_of_file(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    (tmp_path / "folder").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    np.savez(tmp_path / "each.npz", **arrays)  # type: ignore[arg-type]
    stacked = {"Y": np.vstack([arrays["b"], arrays["aa"]]), "offsets": [0, 5, 8], "stories": ["b", "aa"]}
    np.savez(tmp_path / "stacked.npz", **stacked)
    for name in ("folder", "all.h5", "each.npz", "stacked.npz"):
        subject = open_subject(tmp_path / name)
        assert set(subject.stories) == {"b", "aa"}
        responses = subject.responses(["aa", "b"])
        assert responses.lengths == (3, 5) and responses.voxels == 4
        np.testing.assert_array_equal(responses.read(1, slice(1, 3)), arrays["b"][:, 1:3])


def test_what_holds_no_responses(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("no")
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "half.npz", offsets=[0, 3])
    np.savez(tmp_path / "short.npz", offsets=[0, 3], Y=np.zeros((4, 2)), stories=["a"])
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "objects.npz", a=objects)
    for name, says in {
        "nothing": "no such file or folder",
        "empty": "no story in it; expected one .npy file per story",
        "text.h5": "cannot be read as HDF5",
        "text.npz": "cannot be read as .npz",
        "half.npz": "offsets without Y, stories",
        "short.npz": "1 stories, 2 offsets that end at 3, 4 rows in Y",
    }.items():
        with pytest.raises(InputError, match=says):
            open_subject(tmp_path / name)
    with pytest.raises(InputError, match="objects.npz: a cannot be read"):
        open_subject(tmp_path / "objects.npz").responses(["a"])


def test_response_files_that_are_something_else(tmp_path: Path) -> None:
    """One line each, which blames the file or the story that is wrong."""
    folder = tmp_path / "S1"
    folder.mkdir()
    for name, width in (("a", 5), ("b", 4), ("c", 4)):
        np.save(folder / f"{name}.npy", np.zeros((6, width)))
    (folder / "._b.npy").write_bytes(b"what macOS leaves")
    subject = open_subject(folder)
    assert subject.stories == ("a", "b", "c")
    with pytest.raises(InputError, match=r"^story a: responses of 5 voxels, story b has 4"):
        subject.responses(["a", "b", "c"])
    np.save(folder / "a.npy", np.float64(3.0))
    with pytest.raises(InputError, match=r"story a: responses have shape \(\)"):
        subject.responses(["a", "b", "c"])
    (folder / "a.npy").write_bytes(b"")
    with pytest.raises(InputError, match="a.npy: cannot be read as .npy"):
        subject.responses(["a"])
    with (folder / "a.npy").open("wb") as file:
        np.savez(file, x=np.zeros((6, 4)))
    with pytest.raises(InputError, match="a.npy: several arrays in one file"):
        subject.responses(["a"])
    np.savez(tmp_path / "bytes.npz", Y=np.zeros((4, 2)), offsets=[0, 4], stories=np.array([b"tale"]))
    assert open_subject(tmp_path / "bytes.npz").stories == ("tale",)
    np.savez(tmp_path / "scalar.npz", Y=np.zeros((4, 2)), offsets=4, stories=["tale"])
    with pytest.raises(InputError, match="1 stories, 1 offsets"):
        open_subject(tmp_path / "scalar.npz")
    with h5py.File(tmp_path / "text.h5", "w") as held:
        held["tale"] = "words"
    with pytest.raises(InputError, match="story tale"):
        open_subject(tmp_path / "text.h5").responses(["tale"])
