"""What several test files share with `test_invariance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

SMALL = 1e-6


def same(found: Mapping[str, Any], wanted: Mapping[str, Any], within: float = SMALL) -> None:
    """Equal metrics; of classes, by their names."""
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if isinstance(value, float):
            assert found[key] == pytest.approx(value, rel=within, abs=within), key
        elif key == "per_class":
            ours, theirs = ({row["label"]: row for row in rows} for rows in (found[key], value))
            assert ours.keys() == theirs.keys()
            for name, row in theirs.items():
                same(ours[name], row, within)
        elif key != "confusion":
            assert found[key] == value, key
