"""Durations as people read them."""

from __future__ import annotations

import math

import pytest

from encoderlab.core import durations


@pytest.mark.parametrize(
    "seconds, expected",
    [(12.4, "12 s"), (89, "89 s"), (600, "10 min"), (5399, "90 min"), (9000, "2.5 h"), (math.nan, "unknown time")],
)
def test_an_estimate_has_one_unit(seconds: float, expected: str) -> None:
    assert durations.rough(seconds) == expected


@pytest.mark.parametrize(
    "seconds, expected",
    [(0, "0 s"), (4.21, "4.2 s"), (59.7, "60 s"), (185, "3 min 05 s"), (3725, "1 h 02 min"), (7620, "2 h 07 min")],
)
def test_a_measurement_keeps_its_minutes_and_seconds(seconds: float, expected: str) -> None:
    assert durations.measured(seconds) == expected
