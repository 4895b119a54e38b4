"""`encoderlab embed`: files of vectors, made once, and every problem of an encoding study at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from encoderlab.adapters import folder
from encoderlab.brain.encoding.embed import embed
from encoderlab.brain.encoding.load import load
from encoderlab.brain.vectors.contextual import word_vectors
from encoderlab.brain.vectors.vectors_file import open_vectors
from encoderlab.cli.app import main
from encoderlab.core.errors import InputError
from encoderlab.methods.lora import Lora
from encoderlab.model import load as model_load

TALES = {
    "one": "the film was not very good and I don't know",
    "two": "a good plot and acting , not bad",
    "three": "bad",
}


@pytest.fixture
def study(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Path:
    """Three stories as TSV, a file of vectors, and a study of five feature spaces."""
    (tmp_path / "stories").mkdir()
    for name, text in TALES.items():
        lines = [f"{0.4 * i:.1f}\t0.3\t{word}" for i, word in enumerate(text.split())]
        (tmp_path / "stories" / f"{name}.tsv").write_text("onset\tduration\tword\n" + "\n".join(lines) + "\n")
    (tmp_path / "small.txt").write_text("the 1 2\ngood 3 4\n")
    file = tmp_path / "study.toml"
    file.write_text(
        f"""
[stories]
path = "stories"
[[features]]
kind = "bag-of-words"
[[features]]
kind = "word-rate"
[[features]]
kind = "vectors"
path = "small.txt"
[[features]]
kind = "encoder"
model = "{tiny_model("bert")}"
layer = [1, -1]
"""
    )
    return file


def test_every_word_of_every_story_in_every_space(study: Path, tiny_model: Callable[[str], Path]) -> None:
    stories, made = embed(study)
    assert [s.name for s in stories] == ["one", "three", "two"]
    labels = ["bag-of-words", "word-rate", "small", "bert layer=1", "bert layer=-1"]
    assert [one.file.label for one in made] == labels
    words = sum(len(text.split()) for text in TALES.values())
    assert [one.file.words for one in made] == [words] * 5 and [one.file.dimensions for one in made][1:] == [
        1,
        2,
        32,
        32,
    ]
    encoder = model_load.load(str(tiny_model("bert")), head="AutoModel", class_names=[], seed=0)
    for layer, one in ((1, made[3]), (2, made[4])):
        expected = word_vectors(TALES["one"].split(), encoder, layer=layer)
        np.testing.assert_allclose(one.file.read("one"), expected, atol=1e-6)
        with h5py.File(one.file.path) as file:
            assert (file.attrs["layer"], file.attrs["kind"], file.attrs["units"]) == (layer, "encoder", "hidden state")
            assert file.attrs["model_fingerprint"] == encoder.fingerprint and file.attrs["adapter_fingerprint"] == ""
            assert file["stories"]["one"].attrs["tr_seconds"] == 2  # type: ignore[index]
    bag = made[0].file
    assert [bag.vocabulary[i] for i in bag.read("three")[:, 0]] == ["bad"]
    assert made[2].file.counts == {"missing": words - 4}  # the comma is no word


def test_a_second_call_does_nothing(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first = embed(study)
    before = {one.file.path: one.file.path.stat().st_mtime_ns for one in first}
    _, second = embed(study)
    assert all(one.seconds is None for one in second)
    assert {one.file.path: one.file.path.stat().st_mtime_ns for one in second} == before


def test_what_changed_is_made_again_and_nothing_else(study: Path) -> None:
    embed(study)
    (study.parent / "small.txt").write_text("the 1 2\ngood 3 5\n")
    assert [one.seconds is None for one in embed(study)[1]] == [True, True, False, True, True]
    tale = study.parent / "stories" / "three.tsv"
    tale.write_text(tale.read_text() + "9\t1\tgood\n")
    assert all(one.seconds is not None for one in embed(study)[1])
    assert all(one.seconds is None for one in embed(study, ["encode.trim=[5, 10]"])[1])
    changed = embed(study, ["features.encoder.combine=central"])[1]
    assert [one.seconds is None for one in changed] == [True, True, True, False, False]
    damaged = changed[1].file.path
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert embed(study, ["features.encoder.combine=central"])[1][1].seconds is not None


def test_an_adapter_is_a_space_of_its_own(study: Path, tiny_model: Callable[[str], Path]) -> None:
    tuned = model_load.load(str(tiny_model("bert")), head="AutoModelForMaskedLM", class_names=[], seed=0)
    method = Lora(rank=2)
    method.inject(tuned, 0)
    for name, parameter in tuned.trainable():
        if "lora_B" in name:
            parameter.data.fill_(0.05)
    folder.save(tuned, method, folder.adapter_tensors(tuned), study.parent / "runs" / "abc" / "adapter")
    study.write_text(study.read_text() + f'[[features]]\nkind = "encoder"\nmodel = "{tiny_model("bert")}"\n'
                     'adapter = "runs/abc/adapter"\n')  # fmt: skip
    made = {one.file.label: one.file for one in embed(study)[1]}
    assert "bert layer=-1 adapter=abc" in made and "bert layer=-1" in made
    plain, adapted = made["bert layer=-1"].read("one"), made["bert layer=-1 adapter=abc"].read("one")
    assert np.abs(plain - adapted).max() > 1e-3


def test_every_problem_at_once(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        """
[stories]
pth = "x"
[[features]]
kind = "bag-of-word"
[[features]]
kind = "encoder"
layer = "last"
[[features]]
kind = "word-rate"
[[features]]
kind = "word-rate"
[[features]]
size = 3
[encode]
trim = [10]
delays = [1, 1]
scheme = "nestd"
reference = "nothing"
"""
    )
    with pytest.raises(InputError) as error:
        load(file, ["encode.blok=3", "folds", "features.word-rat.label=x", "features.word-rate.label=x"])
    said = "\n".join(error.value.lines)
    for part in (
        "-s encode.blok=3: unknown key encode.blok; did you mean 'encode.block'?",
        "-s folds: expected key=value",
        "stories.pth: unknown key; did you mean 'path'?",
        "stories.path: missing",
        "features[0].kind: unknown kind \"bag-of-word\"; did you mean 'bag-of-words'?",
        "features[4].kind: missing; known kinds: bag-of-words, word-rate",
        "features[1].model: missing",
        'features[1].layer: expected a whole number, got "last"',
        "features: 'x' occurs twice",
        "-s features.word-rat.label=x: no [[features]] of that kind in the study; did you mean 'word-rate'?",
        "encode.trim: expected a list of 2 whole numbers",
        'encode.scheme: expected "nested" or "flat", got "nestd" (scheme: how alpha is chosen',
        "the held-out scores of the other stories); did you mean 'nested'?",
        "responses: expected a section [responses]",
    ):
        assert part in said, (part, said)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('stories.path="nowhere.pkl"', "nowhere.pkl: no such file or folder"),
        ('stories.names=["one", "four"]', "stories.names: no story 'four' in"),
        ('features.vectors.path="no.txt"', "small: .*no.txt|no: .*no.txt: no such file"),
        ("features.encoder.layer=7", "bert: layer 7: .* has 0"),
        ("features.encoder.window=9000", "bert layer=1: window = 9000"),
        ('features.encoder.model="./no"', "no.*there is no such folder"),
        ('features.encoder.adapter="no"', "no adapter folder"),
    ],
)
def test_wrong_input_is_one_line(study: Path, change: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["embed", str(study), "-s", change])
    assert stop.value.code == 2
    import re

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("encoderlab: ")]
    assert re.search(says, "\n".join(lines)), lines


def test_the_command(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            main(["embed", str(study)])
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "3 stories, 19 words" in out and out.count("up to date") == 5


def test_a_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("no")
    with pytest.raises(InputError, match="x.h5: damaged, or not a file of word vectors"):
        open_vectors(tmp_path / "x.h5")
