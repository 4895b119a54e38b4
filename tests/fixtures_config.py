"""A study file to write, and what its reader says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoderlab.config import load, settings
from encoderlab.core.errors import InputError

SHORT = 'model = "org/encoder"\n[data]\ntrain = "train.csv"\n'


@pytest.fixture
def write(tmp_path: Path):
    """write(text) -> the path of a study file whose folder holds a train.csv and a test.csv."""
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("text,label\ngood,1\n")

    def study(text: str) -> Path:
        path = tmp_path / "reviews.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return study


def problems(path: Path, *overrides: str) -> list[str]:
    """The problems of a study file, without its own name in front."""
    with pytest.raises(InputError) as refused:
        load.load(path, overrides)
    assert refused.value.lines == tuple(str(refused.value).splitlines())
    return [line.removeprefix(f"{path}: ") for line in refused.value.lines]


def labels(study: settings.Study) -> list[str]:
    return [variant.label for variant in study.variants]


MASKED = SHORT + '[task]\nkind = "masked-lm"\n'
LORA = '[[method]]\nname = "lora"\n'
OTHERS = f'{SHORT}[data.other_tests]\nfar = "test.csv"\nnear = "train.csv"\n'
