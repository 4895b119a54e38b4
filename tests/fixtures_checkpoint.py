"""What several test files share with `test_checkpoint`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fixtures_training import Build, build  # noqa: F401  (a fixture)


class Killed(BaseException):
    pass


def cut(path: Path, draw: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes()[: draw.integers(path.stat().st_size)])


def flip(path: Path, draw: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[draw.integers(len(content))] ^= 1 << draw.integers(8)
    path.write_bytes(content)
