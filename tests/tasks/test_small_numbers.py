"""A metric in the unit of the labels, squared, is printed with digits that are not 0, however small the unit is."""

from __future__ import annotations

import pytest

from encoderlab.adapters import model_card
from encoderlab.cli import tables
from encoderlab.study.progress import Meter
from encoderlab.tasks.metric import plain
from encoderlab.training.run_record import Kind, RunRecord, SplitScores, Status


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.25e-14, "1.250e-14"), (0.000125, "0.0001250"), (0.0123, "0.0123"), (0.5, "0.5000"), (0.0, "0.0000")],
)
def test_progress_and_cards_say_digits(value: float, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(value) == text
    scores = SplitScores(rows=9, metrics={"mse": value})
    record = RunRecord(
        id="1", status=Status.DONE, kind=Kind.RUN, method="full", variant="full", splits={"test": scores}
    )
    meter = Meter([], "mse")
    meter.say(record)
    meter.close()
    assert f"test mse {text}" in capsys.readouterr().err
    assert f"| test | 9 | {text} |" in model_card._result(record)


def test_an_evaluation_says_digits(capsys: pytest.CaptureFixture[str]) -> None:
    tables.evaluated({"rows": 9, "loss": 1.25e-14, "mse": 1.25e-14, "pearson": 0.00001, "accuracy": 0.5, "notes": []})
    found = dict(line.rsplit(None, 1) for line in capsys.readouterr().out.splitlines())
    assert found == {
        **{"rows": "9", "loss": "1.250e-14", "mse": "1.250e-14", "pearson": "0.0000", "accuracy": "0.5000"},
    }
