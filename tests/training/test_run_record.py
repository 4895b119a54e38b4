"""The record of a run: files that an earlier version wrote come out byte for byte; what is wrong with one is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from encoderlab.core.errors import InputError
from encoderlab.results.study_record import StudyRecord
from encoderlab.training.run_record import Kind, RunRecord, SplitScores, Status
from fixtures_records import BASELINE, RUN, STUDY, TRIAL


def changed(text: str, **keys: Any) -> Any:
    """The object of a file with other values; `...` takes a key out."""
    return {key: value for key, value in {**json.loads(text), **keys}.items() if value is not ...}


@pytest.mark.parametrize("text", [RUN, BASELINE, TRIAL], ids=["run", "baseline", "trial"])
def test_a_result_of_an_earlier_version_comes_out_byte_for_byte(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    record = RunRecord.read(tmp_path)
    path.unlink()
    record.write(tmp_path)
    assert path.read_text(encoding="utf-8") == text
    assert RunRecord.read(tmp_path) == record


def test_a_study_file_of_an_earlier_version_comes_out_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(STUDY, encoding="utf-8")
    record = StudyRecord.read(tmp_path)
    grid, sampled = record.search
    assert not grid.is_sampled and grid.candidates[0].status is Status.NOT_TRIED and grid.candidates[0].scores == {}
    assert sampled.is_sampled and sampled.candidates[0].scores == {"accuracy": 0.5, "loss": 0.7}
    path.unlink()
    record.write(tmp_path)
    assert path.read_text(encoding="utf-8") == STUDY


def test_what_a_record_says() -> None:
    record = RunRecord.from_json(json.loads(RUN))
    assert record.kind is Kind.RUN and record.is_done and record.parameters.trained == 1378
    assert record.metric("test", "accuracy") == 1 and record.metric("test", "macro_f1") is None
    assert record.metric("elsewhere", "accuracy") is None
    validation = record.splits["validation"]
    assert list(validation.metrics) == ["loss", "accuracy", "macro_f1"]
    assert list(validation.tables) == ["per_class", "confusion"]
    assert record.labelled("lora", "lora").variant == "lora" and record.variant == "lora rank=4"
    failed = RunRecord.from_json(json.loads(TRIAL))
    assert failed.status is Status.FAILED and failed.try_again and failed.parameters.trained == 0


def test_keys_that_are_not_known_are_kept(tmp_path: Path) -> None:
    value = changed(RUN, mood="good", parameters={"adapter": 1, "head": 2, "total": 3, "frozen": 0})
    record = RunRecord.from_json(value)
    assert record.extra == {"mood": "good"} and record.to_json()["mood"] == "good"
    assert record.parameters.total == 3
    study = StudyRecord.from_json(changed(STUDY, mood="good"))
    assert study.to_json()["mood"] == "good"


def test_a_key_that_is_missing_or_null_has_its_default() -> None:
    record = RunRecord.from_json(changed(RUN, parameters=None, versions=..., warnings=None, predictions=...))
    assert record.parameters.total is None and record.warnings == () and record.predictions is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id":', "not readable as JSON"),
        ("[]", "expected an object"),
        ("{}", "the key 'id' is missing"),
        (json.dumps(changed(RUN, status="well")), "'well' is not a valid Status"),
        (json.dumps(changed(RUN, kind="walk")), "'walk' is not a valid Kind"),
        (json.dumps(changed(RUN, epochs="two")), "the key 'epochs' is 'two'"),
        (json.dumps(changed(RUN, splits=[1])), "has no attribute"),
        (json.dumps(changed(RUN, splits={"test": {"loss": 0.5}})), "the key 'rows' is missing"),
    ],
)
def test_a_damaged_result_is_one_line(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError) as caught:
        RunRecord.read(tmp_path)
    (line,) = caught.value.lines
    assert line.startswith(f"{tmp_path / 'result.json'}: ") and said in line and "run the study again" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "expected an object"),
        ('{"study": {}}', "the key 'runs' is missing"),
        (json.dumps(changed(STUDY, data=[1])), "has no attribute"),
        (json.dumps(changed(STUDY, search=[{"method": "full"}])), "missing"),
    ],
)
def test_a_damaged_study_file_is_one_line(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(InputError) as caught:
        StudyRecord.read(tmp_path)
    (line,) = caught.value.lines
    assert line.startswith(f"{tmp_path / 'study.json'}: ") and said in line


def test_scores_are_what_the_task_reports_with_its_numbers_apart() -> None:
    scores = SplitScores.of(3, {"loss": 0.5, "words": 7, "per_class": [{"label": "a"}]})
    assert scores.metrics == {"loss": 0.5, "words": 7} and scores.tables == {"per_class": [{"label": "a"}]}
    assert SplitScores.from_json(scores.to_json()) == scores
