"""Rows with a label for every word, as the task prepares them."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.tasks.token_classification import TokenClassification

TASK = TokenClassification()
TAGS = ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]


def rows_of(words: list[Any], labels: list[Any] | None = None) -> Rows:
    columns = {"tokens": words} | ({} if labels is None else {"ner_tags": labels})
    return Rows(columns, "here", np.arange(len(words)))


def encoded_of(tokenizer: Any, *texts: str, max_length: int = 64) -> TokenizedRows:
    words = [text.split() for text in texts]
    labels = [[TAGS[(i + len(word)) % 5] for i, word in enumerate(row)] for row in words]
    return TASK.tokenize(TASK.prepare(rows_of(words, labels), labelled=True), tokenizer, max_length, TAGS)


TEXTS = ("good zebra film", "the plot", "a very bad actor xyz was not good", "film")


def as_arrays(gold: list[list[str]], predicted: list[list[str]], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    width = max(map(len, gold))
    labels, answers = np.full((len(gold), width), -1), np.full((len(gold), width, len(names)), -np.inf, np.float32)
    for i, pair in enumerate(zip(gold, predicted, strict=True)):
        for j, (one, other) in enumerate(zip(*pair, strict=True)):
            labels[i, j] = names.index(one)
            answers[i, j] = 0
            answers[i, j, names.index(other)] = 1
    return answers, labels
