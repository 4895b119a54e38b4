"""Masked language modelling: which windows of a text are trained on, which of their tokens are masked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from encoderlab.cli import tables
from encoderlab.cli.app import main
from encoderlab.core.errors import InputError
from encoderlab.data.rows import Rows
from encoderlab.study import check
from encoderlab.tasks.masked_lm import MaskedLM
from fixtures_masked import TASK, study, text, windows  # noqa: F401  (a fixture)


def test_windows_of_texts(tiny_tokenizer) -> None:
    found = windows(tiny_tokenizer, 100, 38, 31, 32, 75)
    spans = [found.ids[a:b] for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    assert all(span[0] == tiny_tokenizer.cls_token_id and span[-1] == tiny_tokenizer.sep_token_id for span in spans)
    # 100 tokens: 38 + 38 + 24 left over, too short for a window of their own
    assert [len(span) - 2 for span in spans] == [38, 38, 38, 32, 38, 38]
    assert found.rows_cut == 2 and found.tokens_lost == 24 + 31
    whole = tiny_tokenizer(text(100, 100), add_special_tokens=False)["input_ids"]
    assert spans[0][1:-1].tolist() == whole[:38] and spans[1][1:-1].tolist() == whole[38:76]


def test_the_last_window_ends_with_the_text(tiny_tokenizer) -> None:
    found = windows(tiny_tokenizer, 110, task=MaskedLM(stride=30))
    assert len(found) == 3 and found.tokens_lost == 12, "starts 0, 30, 60; 12 tokens are too short a rest"
    found = windows(tiny_tokenizer, 2 * 38 + 33)
    whole = tiny_tokenizer(text(109, 109), add_special_tokens=False)["input_ids"]
    assert len(found) == 3 and found.ids[found.offsets[2] + 1 : -1].tolist() == whole[-38:]


def test_what_is_left_out_is_told_of_texts_and_their_tokens(tiny_tokenizer) -> None:
    """Windows share tokens, and are more or fewer than the texts: neither may be what the shares are of."""
    found = windows(tiny_tokenizer, 76, *[20] * 9, task=MaskedLM(stride=19))
    assert (len(found), found.tokens_kept, found.tokens_lost) == (3, 76, 180)
    assert TASK.cut_warning(found, 10, 40) == (
        "70% of the tokens are left out: 9 of 10 texts (90%) have fewer than 32 tokens, or so few behind their last "
        "window"
    )
    assert TASK.cut_warning(windows(tiny_tokenizer, *[38 * 9 + 31] * 3), 3, 40) is None, "short rests of long texts"
    assert TASK.label_counts(found.labels, ["masked"]) == {"windows": 3}


def test_lists_of_words_are_texts() -> None:
    words = TASK.prepare(Rows({"words": [["", "a", " film "], ["the"]]}, "here", np.arange(2)), labelled=True)
    assert words.columns == {"text": ["a film", "the"], "masked": ["masked"] * 2}
    with pytest.raises(InputError, match="here: no column 'txt'; it has text"):
        MaskedLM(text="txt").prepare(Rows({"text": ["a"]}, "here", np.arange(1)), labelled=False)
    with pytest.raises(InputError, match="row 2: text is neither a text nor a list of words"):
        TASK.prepare(Rows({"text": ["a", 3]}, "here", np.arange(2)), labelled=False)


def test_masks_are_those_of_the_paper(tiny_tokenizer) -> None:
    tokenized = windows(tiny_tokenizer, *[38] * 400)
    masked = TASK.masked(tokenized, np.arange(400), (0, 1))
    flat = tokenized.ids.reshape(400, 40).reshape(-1)
    assert (flat[masked.places] == masked.targets).all() and not np.isin(masked.places % 40, [0, 39]).any()
    n = 400 * 38
    assert len(masked.places) / n == pytest.approx(0.15, abs=4 * math.sqrt(0.15 * 0.85 / n))
    share = len(masked.places)
    as_mask = (masked.inputs == tiny_tokenizer.mask_token_id).mean()
    stays = (masked.inputs == masked.targets).mean()
    spread = 4 * math.sqrt(0.8 * 0.2 / share)
    assert as_mask == pytest.approx(0.8, abs=spread) and stays == pytest.approx(0.1, abs=spread)
    assert not np.isin(
        masked.inputs[masked.inputs != tiny_tokenizer.mask_token_id], tiny_tokenizer.all_special_ids
    ).any()


def test_masks_depend_on_seed_epoch_and_window_alone(tiny_tokenizer) -> None:
    tokenized = windows(tiny_tokenizer, 38, 35, 100)

    def inputs(rows: list[int], draw: tuple[int, int]) -> dict[int, list[int]]:
        masked = TASK.masked(tokenized, np.array(rows), draw)
        width = tokenized.lengths[rows].max()
        return {
            row: (masked.places[masked.owner == i] - i * width).tolist() + masked.inputs[masked.owner == i].tolist()
            for i, row in enumerate(rows)
        }

    assert inputs([0, 1, 2, 3], (0, 1)) == inputs([3, 2, 1, 0], (0, 1)) == {r: inputs([r], (0, 1))[r] for r in range(4)}
    assert inputs([0], (0, 1)) != inputs([0], (0, 2)) and inputs([0], (0, 1)) != inputs([0], (1, 1))


@pytest.mark.parametrize("command", ["check", "compare"])
def test_a_stride_above_the_window(study: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, str(study), "-s", "method.lora.stride=[38, 39]", "-s", "method.lora.rank=2"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "method.lora stride=39: stride = 39, but a window has 38 tokens" in line and line.endswith("use at most 38")


def refusals(study: Path, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as error:
        check.check(study, overrides)
    return [line.removeprefix(f"{study}: ") for line in error.value.lines]


@pytest.mark.parametrize(
    "override, line",
    [
        (
            "train.max_length=33",
            "train.max_length: 33 leaves windows of 31 tokens; expected at least 34: fewer than 32 tokens have too "
            "little context to learn from",
        ),
        (
            "task.stride=39",
            "task.stride: 39 is more than the 38 tokens of a window (train.max_length = 40 with 2 special ones), and "
            "those between two windows would be left out; use at most 38",
        ),
    ],
)
def test_windows_that_cannot_be(study: Path, override: str, line: str) -> None:
    assert refusals(study, override) == [line]
    assert check.check(study, ["train.max_length=34", "task.stride=32"]).splits["train"].rows == 12


def test_texts_too_short_are_told_with_their_split(study: Path) -> None:
    said = "no text has 32 tokens; shorter ones have too little context to learn from: join them to longer texts"
    for n in (31, 20):
        (study.parent / f"{n}.jsonl").write_text(json.dumps({"text": text(n)}))
    assert refusals(study, "data.validation=31.jsonl", "data.test=20.jsonl") == [
        f"data.validation: 31.jsonl: {said}",
        f"data.test: 20.jsonl: {said}",
    ]


def test_check_counts_texts_and_windows(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (study.parent / "texts.jsonl").open("a") as file:
        file.writelines("\n" + json.dumps({"text": text(20, i)}) for i in range(40))
    report = check.check(study)
    train = report.splits["train"]
    assert train.rows == 32 and train.labels["windows"] < 32 == train.rows_cut
    tables.checked(report)
    printed = capsys.readouterr().out
    assert "32 (100%)" in printed and "label windows" in printed
    (line,) = (line for line in report.warnings if line.startswith("data.train: ") and "left out" in line)
    assert "32 of 32 texts (100%)" in line


@pytest.mark.parametrize("command", ["check", "compare"])
def test_windows_longer_than_the_models_positions(
    study: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, str(study), "-s", "train.max_length=65"])
    assert stop.value.code == 2 and not (study.parent / "results").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "train.max_length: 65, but " in line and line.endswith("has 64 positions; use at most 64")
