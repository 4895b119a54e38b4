"""`encoderlab check` of an encoding study, and input that `encode` refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from encoderlab.brain.encoding.encode import encode
from encoderlab.cli.app import main
from encoderlab.core.errors import InputError
from fixtures_encode import STUDY, VOXELS, study  # noqa: F401  (a fixture)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("responses.S1=nowhere", "responses.S1: .*nowhere: no such file or folder"),
        (
            "encode.trim=[10, 4]",
            r"S1: story 'tale0': 61 rows of features after leaving out the first 10 and the last 4",
        ),
        ('stories.names=["tale0", "tale1"]', "2 stories have words and responses; expected three"),
        ("encode.reference=nothing", "no feature space"),
        ("encode.folds=40", "k-fold: 40 folds of 7 stories"),
    ],
)
def test_wrong_input_is_one_line(study: Path, change: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(study), "-s", change])
    assert stop.value.code == 2
    import re

    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("encoderlab: ")]
    assert re.search(says, "\n".join(errors)), errors


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(words)
    return int(stop.value.code or 0)


def test_check_says_what_would_be_done(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("check", str(study), "-s", "encode.folds=3", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["stories"], said["words"], said["warnings"]) == (7, 2100, [])
    assert said["subjects"] == {"S1": {"stories": 7, "trs": 7 * 60 + sum(range(7)), "voxels": VOXELS, "folds": 3}}
    kinds = [("bag-of-words", "3 words and their number"), ("vectors", "true.txt"), ("vectors", "other.txt")]
    assert [tuple(row[1:]) for row in said["features"]] == [*kinds, ("word-length", "")]
    assert said["fits"] == 3 * 4 and said["delays"] == [1, 2, 3, 4] and said["alphas"] == [100, 1e8, 13]
    assert command("check", str(study), "-s", "encode.banded=true") == 0
    shown = capsys.readouterr().out
    assert "all spaces, banded" in shown and f"{7 * 5} fits" in shown
    assert not (study.parent / "results").exists()


def test_check_without_responses_is_for_embed_alone(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(STUDY.replace('[responses]\nS1 = "S1"\n', ""))
    assert command("check", str(study)) == 0
    assert "warning: the study has no [responses]: `encoderlab embed` works without" in capsys.readouterr().out


def test_what_was_settled_of_an_encoder_is_said(
    study: Path, tiny_model: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "decoder"
    shutil.copytree(tiny_model("bert"), model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"is_decoder": True}))
    study.write_text(STUDY + f'[[features]]\nkind = "encoder"\nmodel = "{model}"\n')
    assert command("embed", str(study)) == 0
    assert "is_decoder" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: "))


def test_check_reports_every_problem_at_once(
    study: Path, tiny_model: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = f'[[features]]\nkind = "encoder"\nmodel = "{tiny_model("bert")}"\n'
    unread = f'{encoder}layer = 7\n{encoder}study = "mlm.toml"\n{encoder}adapter = "nowhere"\n'
    study.write_text(
        STUDY.replace('S1 = "S1"', 'S1 = "S1"\nS2 = "S2"').replace("other.txt", "gone.txt")
        + "delay = 3\n[launch]\nvoxels = 0\n"
        + unread
    )
    (study.parent / "S1" / "tale3.npy").unlink()
    assert command("check", str(study), "-s", "stories.path=lost.parquet") == 2
    err = capsys.readouterr().err
    for said in (
        *("encode.delay: unknown key", "launch.voxels: expected", "responses.S2: ", "lost.parquet: no such file"),
        *("gone.txt: no such file", "mlm.toml: no such file", "layer", "nowhere"),
    ):
        assert said in err, (said, err)
    assert all(line.startswith("encoderlab: ") for line in err.splitlines())

    study.write_text(STUDY)
    assert command("check", str(study), "-s", "encode.trim=[10, 4]", "-s", "encode.reference=nothing") == 2
    lines = capsys.readouterr().err.splitlines()
    assert ["no responses: tale3" in line for line in lines].count(True) == 1
    assert any("story 'tale0': 61 rows of features" in line for line in lines)
    assert any("encode.reference" in line for line in lines)


def test_only_a_fine_tuning_study_is_timed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("check", str(study), "--time") == 2
    assert "--time: " in capsys.readouterr().err


def test_labels_that_would_be_one_file(study: Path) -> None:
    two = 'path = "true.txt"\nlabel = "a b"\n[[features]]\nkind = "vectors"\npath = "other.txt"\nlabel = "A/b"'
    text = STUDY.replace('path = ["true.txt", "other.txt"]', two)
    study.write_text(text)
    with pytest.raises(InputError, match="the labels 'a b' and 'A/b' would have the same file"):
        encode(study)
