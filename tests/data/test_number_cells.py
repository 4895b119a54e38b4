"""Numbers as people write them: one reading is taken and said, two are refused."""

from __future__ import annotations

import numpy as np
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.number_cells import read_numbers
from encoderlab.data.rows import Rows
from encoderlab.tasks.regression import Regression

READ = {
    "decimal commas": (["0,5", "1,25", "3"], [0.5, 1.25, 3.0]),
    "a leading zero tells": (["1,100", "0,100"], [1.1, 0.1]),
    "decimal commas and points between thousands": (["1.234,5", "1.100", "-2,0"], [1234.5, 1100.0, -2.0]),
    "thousands and a decimal point": (["1,234.5", "1,100", "0.5"], [1234.5, 1100.0, 0.5]),
    "millions": (["1,234,567", "1,100"], [1234567.0, 1100.0]),
    "spaces": (["1 100", "2\u202f500\u00a0000", "3"], [1100.0, 2500000.0, 3.0]),
    "apostrophes": (["1'100.5", "2\u2019000"], [1100.5, 2000.0]),
    "an exponent": (["1,5e3", "2,25E-1"], [1500.0, 0.225]),
    "full-width": (["\uff11\uff12\uff0e\uff15", "3"], [12.5, 3.0]),
    "Arabic": (["\u0661\u0662\u066b\u0665"], [12.5]),
    "a minus sign": (["\u22120.5", "1"], [-0.5, 1.0]),
    "beside numbers of JSON": (["0,5", 2, 1.5], [0.5, 2.0, 1.5]),
}


@pytest.mark.parametrize("case", READ)
def test_one_reading_is_taken_and_said(case: str) -> None:
    cells, numbers = READ[case]
    found = read_numbers(cells)
    assert found.values == numbers and len(found.notes) == 1


def test_what_follows_the_rule_has_no_note() -> None:
    found = read_numbers(["1.100", " 1e3 ", "-.5", "+2.", 3, 2.5])
    assert found.values == [1.1, 1000.0, -0.5, 2.0, 3.0, 2.5] and found.notes == ()


REFUSED = {
    "two readings": (
        ["1,100", "2,200"],
        0,
        "'1,100' has a thousands separator or a decimal comma, and it is not clear which",
    ),
    "points and commas": (["0.5", "0,5"], 1, "are mixed"),
    "an underscore": (["1", "1_000"], 1, "write it without _"),
    "percentages": (["12%", "3 %"], 0, "without %"),
    "units": (["12", "$5"], 1, "without a unit"),
    "a gap": (["0,5", ""], 1, ""),
    "a word": (["0,5", "many"], 1, ""),
    "superscripts": (["5", "5\u00b2"], 1, ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_two_readings_are_refused(case: str) -> None:
    cells, wrong, hint = REFUSED[case]
    found = read_numbers(cells)
    assert found.values[wrong] is None and hint in found.hint
    rows = Rows({"text": ["x"] * len(cells), "label": cells}, "here", np.arange(len(cells)))
    with pytest.raises(InputError, match=f"here: row {wrong + 1}, column 'label': expected a number, got") as error:
        Regression().prepare(rows, labelled=True)
    assert len(error.value.lines) == 1


def test_all_rows_are_said_at_once() -> None:
    rows = Rows({"text": ["x"] * 60, "label": [f"{i}%" for i in range(60)]}, "here", np.arange(60))
    with pytest.raises(InputError, match=r"got '0%' \(all 60 rows\); .*without %; correct or remove the rows"):
        Regression().prepare(rows, labelled=True)


def test_the_note_is_kept_with_the_rows() -> None:
    rows = Rows({"text": ["x", "y"], "label": ["0,5", "1"]}, "here", np.arange(2), ("here: read so",))
    found = Regression().prepare(rows, labelled=True)
    assert found.columns["label"] == [0.5, 1.0]
    assert found.notes == (
        "here: read so",
        "here: column 'label': numbers with a decimal comma or thousands separators, such as '0,5', are read as 0.5",
    )
