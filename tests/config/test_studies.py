"""The ready studies: every file is a study without problems, the local twins down to their rows and weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from encoderlab.adapters import folder as adapters
from encoderlab.brain.encoding import load as brain_encoding_load
from encoderlab.brain.encoding import settings
from encoderlab.brain.stories.read import read
from encoderlab.brain.stories.saved import save
from encoderlab.cli.app import main
from encoderlab.config import load as config_load
from encoderlab.core.errors import InputError
from encoderlab.core.files import write_json
from encoderlab.model import load
from encoderlab.study import check

FOLDER = Path(__file__).resolve().parents[2] / "studies"
STUDIES = sorted(path.stem for path in FOLDER.glob("*.toml"))
LOCAL = [name for name in STUDIES if name.endswith("-local")]
ENCODING = ("lab3", "lab3-local")
OF_STORIES = ("stories-mlm", "stories-mlm-local")  # their rows are made by `encoderlab stories`


def test_every_study_has_a_local_twin_and_a_page() -> None:
    assert {name.removesuffix("-local") for name in LOCAL} == {name for name in STUDIES if name not in LOCAL}
    for name in STUDIES:
        page = f"docs/studies/{name.removesuffix('-local')}.md"
        if name == "openbookqa-facts" or name == "openbookqa-facts-local":
            page = "docs/studies/openbookqa.md"
        assert page in (FOLDER / f"{name}.toml").read_text(encoding="utf-8").split("\nname")[0], name
        assert (FOLDER.parent / page).is_file(), f"{name}: no page {page}"


@pytest.mark.parametrize("name", [name for name in STUDIES if name not in LOCAL and name not in ENCODING])
def test_a_study_of_the_hub_can_be_read(name: str, tmp_path: Path) -> None:
    (rows := tmp_path / "stories.csv").write_text("text\nonce\n")
    study = config_load.load(FOLDER / f"{name}.toml", [f"data.train.path={rows}"] if name in OF_STORIES else [])
    assert study.name == name and study.out.resolve() == FOLDER.parent / "results" / name
    assert (study.data.train.hub or name in OF_STORIES) and not Path(study.model).is_absolute()


@pytest.fixture(scope="module")
def studies(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study files in a checkout of their own, with what comes before them in results/: lab data, stories."""
    root = tmp_path_factory.mktemp("beside")
    (root / "shared").symlink_to(shared)
    lab = root / "checkout" / "results" / "lab"
    shutil.copytree(FOLDER, root / "checkout" / "studies")
    tool = shared / "tools" / "make_lab_data.py"
    subprocess.run([sys.executable, str(tool), str(lab), "--stories", "12"], check=True, capture_output=True)
    save(read(lab / "raw_text.pkl"), lab.parent / "stories.parquet")
    return root / "checkout" / "studies"


@pytest.mark.parametrize("name", [name for name in LOCAL if name not in ENCODING])
def test_a_local_twin_has_no_problem_and_asks_the_same(name: str, studies: Path) -> None:
    assert check.check(studies / f"{name}.toml").runs["runs"] > 0
    twin, study = (config_load.load(studies / f"{one}.toml") for one in (name, name.removesuffix("-local")))
    assert type(twin.task) is type(study.task)
    if name not in OF_STORIES:
        assert twin.task == study.task
    assert [v.label for v in twin.variants] == [v.label for v in study.variants]


def pretend_to_have_run(path: Path) -> None:
    """Leaves what an encoding study looks for in a finished study: its runs, with adapters that nothing has trained."""
    study = config_load.load(path)
    labels = {}
    for number, variant in enumerate(study.variants):
        tuned = load.load(study.model, head=study.task.head, class_names=["masked"], seed=0)
        variant.method.inject(tuned, 0)
        folder = study.out / "runs" / f"{number}"
        (folder / "adapter").mkdir(parents=True)
        adapters.save(tuned, variant.method, adapters.adapter_tensors(tuned), folder / "adapter")
        names = {"method": variant.method.name, "variant": variant.label}
        record = {"id": f"{number}", "kind": "run", "status": "done", "seed": study.seeds[0], "splits": {}, **names}
        write_json(folder / "result.json", record)
        labels[f"{number}"] = names
    write_json(study.out / "study.json", {"study": {}, "runs": list(labels), "labels": labels})


def test_the_local_twin_of_the_lab_has_no_problem(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["check", str(studies / "lab3-local.toml")])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and "run `encoderlab compare " in line and "stories-mlm-local.toml` first" in line
    pretend_to_have_run(studies / "stories-mlm-local.toml")
    with pytest.raises(SystemExit) as stop:
        main(["check", str(studies / "lab3-local.toml")])
    said = capsys.readouterr()
    assert stop.value.code == 0, said.err
    rows = [line.split("  ")[0] for line in said.out.splitlines()]
    bge = [f"bge-small-en layer={layer}" for layer in (6, 9, 12)]
    tiny = ["bert-tiny", *(f"bert-tiny + lora rank={rank}" for rank in (4, 8, 16))]
    assert rows[rows.index("feature") + 1 :][:9] == ["bag of words", "GloVe", *bge, *tiny]
    assert said.out.startswith("lab3-local: 12 stories, ") and "delays 1, 2, 3, 4" in said.out
    assert f"13 alphas from 100 to 1e+08, chosen by nested; {9 * 12} fits (" in said.out


def test_stories_that_are_not_there_name_the_command_that_makes_them(tmp_path: Path) -> None:
    file = shutil.copy(FOLDER / "stories-mlm-local.toml", tmp_path)
    with pytest.raises(InputError, match=r"no such file: .*; .* run: encoderlab stories FILE -o .*stories.parquet"):
        check.check(Path(file))


@pytest.mark.parametrize("name", ENCODING)
def test_an_encoding_study_can_be_read(name: str) -> None:
    study = brain_encoding_load.load(FOLDER / f"{name}.toml")
    assert study.name == name and study.out.resolve() == FOLDER.parent / "results" / name
    kinds = [type(feature).__name__ for _, feature in study.features]
    assert {"BagOfWords", "FileVectors", "Encoder"} == set(kinds)
    assert study.encode == settings.Encode(), "the lab's questions, asked with the defaults"
