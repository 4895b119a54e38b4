"""The ready studies: every file is a study without problems, the local twins down to their rows and weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from encoderlab import check, config
from encoderlab.config import encoding
from encoderlab.stories import read, save

FOLDER = Path(__file__).resolve().parents[1] / "studies"
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
    study = config.load(FOLDER / f"{name}.toml", [f"data.train.path={rows}"] if name in OF_STORIES else [])
    assert study.name == name and study.out.resolve() == FOLDER.parent / "results" / name
    assert (study.data.train.hub or name in OF_STORIES) and not Path(study.model).is_absolute()


@pytest.fixture(scope="session")
def lab(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    tool = shared / "tools" / "make_lab_data.py"
    subprocess.run([sys.executable, str(tool), str(folder), "--stories", "12"], check=True, capture_output=True)
    save(read(folder / "raw_text.pkl"), folder / "stories.parquet")
    return folder


@pytest.mark.parametrize("name", [name for name in LOCAL if name not in ENCODING])
def test_a_local_twin_has_no_problem_and_asks_the_same(name: str, lab: Path) -> None:
    rows = [f"data.train.path={lab / 'stories.parquet'}"] if name in OF_STORIES else []
    assert check.check(FOLDER / f"{name}.toml", rows).runs["runs"] > 0
    twin, study = (config.load(FOLDER / f"{one}.toml", rows) for one in (name, name.removesuffix("-local")))
    assert type(twin.task) is type(study.task)
    if name not in OF_STORIES:
        assert twin.task == study.task
    assert [v.label for v in twin.variants] == [v.label for v in study.variants]


@pytest.mark.parametrize("name", ENCODING)
def test_an_encoding_study_can_be_read(name: str) -> None:
    study = encoding.load(FOLDER / f"{name}.toml")
    assert study.name == name and study.out.resolve() == FOLDER.parent / "results" / name
    kinds = [type(feature).__name__ for _, feature in study.features]
    assert {"BagOfWords", "FileVectors", "Encoder"} == set(kinds)
    assert study.encode == encoding.Encode(), "the lab's questions, asked with the defaults"
