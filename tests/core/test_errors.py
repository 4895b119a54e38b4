"""Problems of the input: one line each, put into words only when they are printed."""

from __future__ import annotations

import pickle

import pytest

from encoderlab.core.errors import InputError, Problem, collecting, first_line


def test_a_problem_prints_where_it_is_what_is_wrong_and_what_to_do() -> None:
    problem = Problem("rank", "expected a whole number, got 0.2", "give a number such as 8")
    assert str(problem) == "rank: expected a whole number, got 0.2; give a number such as 8"
    placed = problem.under("method.lora").at("study.toml")
    assert str(placed) == "study.toml: method.lora.rank: expected a whole number, got 0.2; give a number such as 8"
    assert str(Problem("", "no such file").at("a.csv")) == "a.csv: no such file"
    assert Problem("seeds", "x").under("") == Problem("seeds", "x") == Problem("seeds", "x").at("")
    assert "\n" not in str(Problem("a\nb", "c\nd", "e\nf"))


def test_an_error_has_every_line_once_in_the_order_given() -> None:
    error = InputError(Problem("b", "wrong"), "a: wrong", Problem("", "b: wrong"), Problem("a", "wrong"))
    assert error.lines == ("b: wrong", "a: wrong") and str(error) == "b: wrong\na: wrong"


def test_an_error_of_another_process_has_the_same_problems() -> None:
    error = InputError(Problem("a", "wrong", "mend it"), "b: wrong")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError and again.problems == error.problems


def test_problems_are_collected_with_their_place() -> None:
    found = [Problem("a", "first")]
    with collecting(found, "study.toml"):
        raise InputError(Problem("b", "second"), "third")
    assert list(map(str, found)) == ["a: first", "study.toml: b: second", "study.toml: third"]
    with pytest.raises(ValueError), collecting(found):
        raise ValueError


def test_an_error_of_another_library_in_one_line() -> None:
    error = OSError("\n no such file \r\nsee the manual\n")
    assert first_line(error) == "no such file" and first_line(error, named=True) == "OSError: no such file"
    assert first_line(ValueError(" \n")) == first_line(ValueError(), named=True) == "ValueError"
