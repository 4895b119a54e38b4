"""Texts, windows, an encoder and a study of masked language modelling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.masked_lm import MaskedLM

TASK = MaskedLM()
WORDS = "good bad film the a was not very plot acting and".split()


def text(words: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def rows_of(*texts: str | list[str]) -> Rows:
    return TASK.prepare(Rows({"text": list(texts)}, "here", np.arange(len(texts))), labelled=True)


def windows(tokenizer, *lengths: int, max_length: int = 40, task: MaskedLM = TASK) -> TokenizedRows:
    return task.tokenize(rows_of(*(text(n, n) for n in lengths)), tokenizer, max_length, ["masked"])


@pytest.fixture(scope="module")
def plain(tiny_masked_lm: Callable[[str], Path]) -> EncoderModel:
    """To be copied, not changed."""
    return load.load(str(tiny_masked_lm("bert")), head=TASK.head, class_names=["masked"], seed=0)


STUDY = """
model = "{model}"
seeds = [0, 1]
[task]
kind = "masked-lm"
[data]
train = {{ path = "texts.jsonl" }}
validation = {{ fraction = 0.25 }}
test = {{ fraction = 0.25 }}
[train]
epochs = 2
max_length = 40
batch_size = 4
[search]
candidates = 1
[[method]]
name = "lora"
rank = [2, 4]
[[method]]
name = "full"
"""


@pytest.fixture
def study(tmp_path: Path, tiny_masked_lm: Callable[[str], Path]) -> Path:
    lines = [json.dumps({"text": text(60, i)}) for i in range(24)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    file = tmp_path / "study.toml"
    file.write_text(STUDY.format(model=tiny_masked_lm("bert")))
    return file
