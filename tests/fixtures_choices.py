"""Rows of multiple choice: as OpenBookQA publishes them, with 3, 4 and 5 choices, and as the task prepares them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from encoderlab.data.rows import Rows
from encoderlab.tasks.multiple_choice import MultipleChoice

TASK = MultipleChoice()
CPU = torch.device("cpu")
WORDS = "good bad film the a was not very plot acting and".split()
LETTERS = "ABCDE"


def raw(**columns: list) -> Rows:
    return Rows(columns, "made.jsonl", np.arange(len(next(iter(columns.values()))), dtype=np.int64))


def official(stem: str, texts: list[str], key: str, labels: str = LETTERS) -> dict[str, Any]:
    choices = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=False)]
    return {"question": {"stem": stem, "choices": choices}, "answerKey": key, "fact1": f"{stem} fact"}


def records(count: int, seed: int, sizes: tuple[int, ...] = (3, 4, 5)) -> list[dict[str, Any]]:
    """Questions of uneven length; the right choice is the one with "good" in it."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(count):
        size = sizes[i % len(sizes)]
        texts = [" ".join(draw.choice(WORDS[1:], size=draw.integers(1, 6))) for _ in range(size)]
        right = int(draw.integers(size))
        texts[right] += " good"
        found.append(official(" ".join(draw.choice(WORDS[1:], size=draw.integers(1, 20))), texts, LETTERS[right]))
    return found


def prepared(objects: list[dict[str, Any]], task: MultipleChoice = TASK, *, labelled: bool = True) -> Rows:
    return task.prepare(raw(**{name: [one[name] for one in objects] for name in objects[0]}), labelled=labelled)
