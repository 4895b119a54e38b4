"""A made-up experiment whose responses follow the vectors of one file, and its study."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from encoderlab.brain.fmri.design import Design
from encoderlab.brain.stories.saved import save
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors.static import read_vectors

WORDS = "the film was not very good and acting plot bad a".split()
VOXELS = 12


def make_lab(folder: Path, stories: int = 7) -> None:
    """Stories of made-up words, vectors for these, and responses that follow the vectors of `true.txt`."""
    rng = np.random.default_rng(0)
    for name in ("true", "other"):
        rows = [f"{word} " + " ".join(f"{x:.4f}" for x in rng.normal(size=4)) for word in WORDS]
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    made, table = [], read_vectors(folder / "true.txt", set(WORDS))
    weights = rng.normal(size=(16, VOXELS))
    (folder / "S1").mkdir()
    for number in range(stories):
        trs = -9.0 + 2 * np.arange(75 + number)
        times = np.sort(rng.uniform(0, trs[-1] - 12, 300))
        story = Story(name=f"tale{number}", words=tuple(rng.choice(WORDS, 300)), times=times, tr_times=trs)
        made.append(story)
        design = Design()
        (rows_,) = design.delayed([design.rows(story.name, table.of(story)[0], times, trs)])
        signal = rows_ @ weights
        np.save(folder / "S1" / f"{story.name}.npy", signal / signal.std() + rng.normal(size=signal.shape))
    save(made, folder / "stories.parquet")


STUDY = """
[stories]
path = "stories.parquet"
[responses]
S1 = "S1"
[[features]]
kind = "bag-of-words"
size = 3
rate = true
[[features]]
kind = "vectors"
path = ["true.txt", "other.txt"]
[[features]]
kind = "word-length"
[encode]
permutations = 200
groups = 3
fitted = 3
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    make_lab(tmp_path)
    file = tmp_path / "study.toml"
    file.write_text(STUDY)
    return file


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "encoding.csv").open(encoding="utf-8") as file:
        return {row["feature"]: row for row in csv.DictReader(file)}
