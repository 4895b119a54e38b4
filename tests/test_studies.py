"""The ready studies: every file is a study without problems, the local twins down to their rows and weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoderlab import check, config

FOLDER = Path(__file__).resolve().parents[1] / "studies"
STUDIES = sorted(path.stem for path in FOLDER.glob("*.toml"))
LOCAL = [name for name in STUDIES if name.endswith("-local")]


def test_every_study_has_a_local_twin_and_a_page() -> None:
    assert {name.removesuffix("-local") for name in LOCAL} == {name for name in STUDIES if name not in LOCAL}
    for name in STUDIES:
        first = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").split("\nname")[0]
        page = first.split()[-1]
        assert page.startswith("docs/studies/") and (FOLDER.parent / page).is_file(), f"{name}: no page {page}"


@pytest.mark.parametrize("name", [name for name in STUDIES if name not in LOCAL])
def test_a_study_of_the_hub_can_be_read(name: str) -> None:
    study = config.load(FOLDER / f"{name}.toml")
    assert study.name == name and study.out.resolve() == FOLDER.parent / "results" / name
    assert study.data.train.hub and not Path(study.model).is_absolute()


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_twin_has_no_problem_and_asks_the_same(name: str, shared: Path) -> None:
    assert check.check(FOLDER / f"{name}.toml").runs["runs"] > 0
    twin, study = (config.load(FOLDER / f"{one}.toml") for one in (name, name.removesuffix("-local")))
    assert twin.task == study.task
    assert [v.label for v in twin.variants] == [v.label for v in study.variants]
