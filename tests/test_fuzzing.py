"""Damaged and hostile files: each is read, refused in one line or warned about. `fuzzing` says how.

The default tests read the first cases of each kind of file in this process; the slow one 2,000 of each in processes of
their own, as `python -m tests.fuzzing` does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzzing.guard import Outcome
from fuzzing.run import apart, cases
from fuzzing.targets import TARGETS


def failures(name: str, outcomes: list[tuple[int, Outcome]]) -> list[str]:
    return [f"{name} --case {i}: {o.where}: {o.said}" for i, o in outcomes if o.kind == "failed"]


@pytest.mark.parametrize("name", TARGETS)
def test_the_first_damaged_files(name: str, tmp_path: Path) -> None:
    found = list(enumerate(cases(name, TARGETS[name], range(30), 0, tmp_path)))
    assert not (failed := failures(name, found)), "\n".join(failed)
    kinds = {outcome.kind for _, outcome in found}
    assert "refused" in kinds and kinds & {"read", "warned"}, f"only {kinds}: the cases try too little"


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_two_thousand_damaged_files(name: str, tmp_path: Path) -> None:
    found = list(apart(name, TARGETS[name], range(2000), 0, tmp_path))
    assert not (failed := failures(name, found)), "\n".join(failed)
