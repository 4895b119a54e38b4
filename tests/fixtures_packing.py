"""What several test files share with `test_packing`."""

from __future__ import annotations

import numpy as np

from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.model.families import FAMILIES
from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.tasks.multiple_choice import MultipleChoice

WORDS = "good bad film the a was not very plot acting and".split()
PACKING = [name for name, family in FAMILIES.items() if family.packs]


def texts(count: int, seed: int, shortest: int = 1, longest: int = 34) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(shortest, longest))) for _ in range(count)]


def classification(tokenizer) -> tuple[Task, TokenizedRows, list[str]]:
    task = Classification(text=("premise", "hypothesis"))
    columns = {"premise": texts(9, 0), "hypothesis": texts(9, 1), "label": ["yes", "no", "no"] * 3}
    return task, task.tokenize(Rows(columns, "made", np.arange(9)), tokenizer, 60, ["no", "yes"]), ["no", "yes"]


def choices(tokenizer) -> tuple[Task, TokenizedRows, list[str]]:
    task, made = MultipleChoice(), texts(60, 2)
    rows = [
        {"question": made[i], "choices": made[10 + 5 * i : 10 + 5 * i + 3 + i % 3], "answer": "ABC"[i % 3]}
        for i in range(9)
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    found = task.prepare(Rows(columns, "made", np.arange(9)), labelled=True)
    return task, task.tokenize(found, tokenizer, 60, list("ABCDE")), list("ABCDE")


def masked(tokenizer) -> tuple[Task, TokenizedRows, list[str]]:
    task = MaskedLM()
    rows = task.prepare(Rows({"text": texts(6, 3, 32, 57)}, "made", np.arange(6)), labelled=True)
    return task, task.tokenize(rows, tokenizer, 60, ["masked"]), ["masked"]
