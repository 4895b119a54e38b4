"""What several test files share with `test_training`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from encoderlab.data.rows import Rows
from encoderlab.methods.base import Method
from encoderlab.model import load
from encoderlab.model.dropout import Dropout
from encoderlab.tasks.classification import Classification
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train

WORDS = "good bad film the a was not very plot acting and".split()
TASK = Classification()
CLASSES = ["no", "yes"]
CPU = torch.device("cpu")


def rows(count: int, seed: int) -> Rows:
    """Texts of very uneven length, "yes" where "good" is the more frequent word."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 30))) for _ in range(count)]
    labels = ["yes" if t.split().count("good") > t.split().count("bad") else "no" for t in texts]
    return Rows(columns={"text": texts, "label": labels}, origin="made", index=np.arange(count), notes=())


def without_dropout(model: nn.Module) -> None:
    """Switch dropout off: ours and another library's draw different masks."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0


Build = Callable[..., Trainer]


@pytest.fixture
def build(tiny_model: Callable[[str], Path], tmp_path: Path) -> Build:
    def make(
        method: Method, *, folder: str = "run", family: str = "bert", dropout: bool = True, **changes: Any
    ) -> Trainer:
        encoder = load.load(str(tiny_model(family)), head=TASK.head, class_names=CLASSES, seed=0)
        method.inject(encoder, 0)
        if not dropout:
            without_dropout(encoder.model)
        encode = lambda r: TASK.tokenize(r, encoder.tokenizer, 64, CLASSES)  # noqa: E731
        keywords: dict[str, Any] = {
            "settings": Train(epochs=2, batch_size=8, max_length=64),
            "learning_rate": 1e-2,
            "seed": 0,
            "dtype": torch.float32,
            "train": encode(rows(40, 1)),
        }
        keywords |= changes
        return Trainer(
            encoder=encoder,
            method=method,
            task=TASK,
            validation=encode(rows(16, 2)),
            class_names=CLASSES,
            device=CPU,
            folder=tmp_path / folder,
            **keywords,
        )

    return make
