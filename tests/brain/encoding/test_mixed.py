"""Turned arrays and changed stories that no row count shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoderlab.brain.encoding.check import check
from fixtures_brain import Lab, make


def said(lab: Lab, rows: dict[str, np.ndarray]) -> str:
    lab.save(rows)
    (line,) = check(lab.study()).alignment
    return line


@pytest.mark.parametrize("order", ["s2 s1 s3 s4 s5", "s2 s3 s4 s5 s1", "s2 s1 s4 s3 s5"])
def test_stories_of_one_length_with_each_others_responses(tmp_path: Path, order: str) -> None:
    lab = make(tmp_path, lengths=(200,) * 5)
    assert said(lab, lab.rows) == "S: responses follow the words by 2 TRs (4 s)"
    line = said(lab, {name: lab.rows[other] for name, other in zip(lab.rows, order.split(), strict=True)})
    moved = [f"{a} has those of {b}" for a, b in zip(lab.rows, order.split(), strict=True) if a != b]
    assert f"stories of one length seem to have each other's responses: {', '.join(moved)}; " in line
    assert "before" not in line and "rename them" in line


def test_two_stories_whose_lengths_differ_by_a_tr(tmp_path: Path) -> None:
    lab = make(tmp_path, lengths=(200, 202, 240, 260))
    line = said(lab, lab.rows | {"s1": lab.rows["s2"], "s2": lab.rows["s1"]})
    assert "s1 has those of s2, s2 has those of s1" in line


def wide(lab: Lab, voxels: int) -> dict[str, np.ndarray]:
    """Voxels that follow the eight of the experiment, each with noise of its own."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(8, voxels))
    return {name: y @ weights + rng.normal(size=(len(y), voxels)) for name, y in lab.rows.items()}


@pytest.mark.parametrize("more", [-3, 0, 4])
def test_as_many_voxels_as_trs(tmp_path: Path, more: int) -> None:
    lab = make(tmp_path, lengths=(200,) * 4)
    rows = wide(lab, 95 + more)
    assert said(lab, rows) == "S: responses follow the words by 2 TRs (4 s)"
    line = said(lab, {name: y.T for name, y in rows.items()})
    assert "the responses of all stories seem to be turned" in line and "save array.T" in line


def test_one_story_with_as_many_voxels_as_trs(tmp_path: Path) -> None:
    lab = make(tmp_path, lengths=(180, 222, 198, 250))
    rows = wide(lab, len(lab.rows["s3"]))
    assert "turned" not in said(lab, rows)
    assert "the responses of s3 seem to be turned" in said(lab, rows | {"s3": rows["s3"].T})


def test_noise_is_not_put_in_another_order(tmp_path: Path) -> None:
    lab = make(tmp_path, lengths=(200,) * 6)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        shared = {name: np.cumsum(rng.normal(size=(95, 2)), axis=0) for name in lab.rows}
        noise = {name: y @ rng.normal(size=(2, 95)) + rng.normal(size=(95, 95)) for name, y in shared.items()}
        line = said(lab, noise)
        assert "each other's" not in line and "turned" not in line
