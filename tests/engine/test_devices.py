"""What a step computes, it computes where the model is.

Torch's `meta` device has no numbers, but most of its operations refuse a tensor that was left on the CPU, as a GPU's
do, and it takes the way of everything that is no CPU: large groups, dropout's bits drawn there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.base import Method
from encoderlab.methods.lora import Lora
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.prompt import Prompt
from encoderlab.methods.qlora import Qlora
from encoderlab.methods.registry import METHODS
from encoderlab.model import load
from encoderlab.model.dropout import DropoutRNG
from encoderlab.tasks.base import Task
from fixtures_packing import PACKING, choices, classification, masked

META = torch.device("meta")
# Not: what a file brings; 4-bit kernels, which know devices by name; padded batches, whose mask transformers reads.
KINDS: list[Any] = [kind for kind in METHODS if kind not in (Peft, Qlora, Prompt)]


def step(folder: Path, make: Callable, method: Method, dtype: torch.dtype) -> None:
    encoder = load.load(str(folder), head="AutoModel", class_names=["x"], seed=0)
    task: Task
    tokenized: TokenizedRows
    task, tokenized, names = make(encoder.tokenizer)
    encoder = load.load(str(folder), head=task.head, class_names=names, seed=0)
    method.inject(encoder, 0)
    model = ModelRunner(encoder, dtype, META).train()
    rows = np.array([4, 0, 3, 5])
    hidden = task.masked(tokenized, rows, (0, 0))
    logits = model.run(tokenized, rows, encoder.tokenizer.pad_token_id, META, hidden, rng=DropoutRNG(0))
    assert model.packs and logits.device == META
    logits.sum().backward()
    trained = [parameter for _, parameter in encoder.trainable()]
    assert trained and all(p.grad is not None and p.grad.device == META for p in trained)


@pytest.fixture(autouse=True)
def no_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` has none."""
    monkeypatch.setattr(DropoutRNG, "_generator", lambda *_: None)


@pytest.mark.parametrize("make", [classification, choices], ids=["classification", "choices"])
@pytest.mark.parametrize("family", PACKING)
def test_no_tensor_stays_behind(family: str, make: Callable, tiny_model: Callable[[str], Path]) -> None:
    if family == "modernbert" and make is choices:
        pytest.skip("transformers' head for choices asks a number of its mask, and `meta` has none")
    step(tiny_model(family), make, Lora(), torch.bfloat16)


@pytest.mark.parametrize("family", PACKING)
def test_no_tensor_stays_behind_masked_tokens(family: str, tiny_masked_lm: Callable[[str], Path]) -> None:
    step(tiny_masked_lm(family), masked, Lora(), torch.bfloat16)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
def test_no_tensor_stays_behind_with_any_method(
    kind: Callable[[], Method], dtype: torch.dtype, tiny_model: Callable[[str], Path]
) -> None:
    step(tiny_model("bert"), classification, kind(), dtype)
