"""The parallel adapter against its equation, computed from what the model without it does; every family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encoderlab.methods.adapter import Adapter
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES

TEXTS = ["a good film", "the plot was not very good and the acting bad", "bad"]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Callable[..., EncoderModel]:
    def build(family: str) -> EncoderModel:
        made = load.load(
            str(tiny_model(family)), head="AutoModelForSequenceClassification", class_names=["no", "yes"], seed=0
        )
        made.model.eval()
        return made

    return build


def watch(encoder: EncoderModel) -> dict[str, Tensor]:
    """What the first pass through the first layer gives: x, the feed-forward input; s, the normalised sum; out."""
    seen: dict[str, Tensor] = {}
    row = encoder.family

    def keep(name: str) -> Any:
        return lambda module, args: seen.setdefault(name, args[0]) is None or None

    encoder.part(0, row.ffn_in).register_forward_pre_hook(keep("x"))
    if row.ffn_norm is not None:
        encoder.part(0, row.ffn_norm).register_forward_pre_hook(keep("s"))

    def out(module: Any, args: Any, y: Any) -> None:
        seen.setdefault("out", y if isinstance(y, Tensor) else y[0])

    encoder.layers()[0].register_forward_hook(out)
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_parallel_follows_its_equation(family: str, make: Callable[..., EncoderModel]) -> None:
    plain, tuned = make(family), make(family)
    Adapter(placement="parallel", bottleneck=5, layers=(0,), scale=2.5).inject(tuned, 0)
    generator = torch.Generator().manual_seed(3)
    small = {n.split(".adapter.")[1]: p for n, p in tuned.trainable() if ".adapter." in n}
    for parameter in small.values():
        parameter.data.normal_(std=0.3, generator=generator)
    tuned.model(**tuned.tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.sum().backward()
    copied = copy.deepcopy(tuned.model)  # hooks belong to the copy, not to the original
    tuned.model.requires_grad_(False)
    small = {name: parameter.detach().clone() for name, parameter in small.items()}
    for name, parameter in copied.named_parameters():
        if ".adapter." in name:
            parameter.data.zero_()
    seen, found = watch(plain), watch(tuned)
    rows = plain.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        before = plain.model(**rows).logits
        tuned.model(**rows)
        assert torch.equal(copied(**rows).logits, before)
    x = seen["x"]
    change = torch.relu(x @ small["down.weight"].T + small["down.bias"]) @ small["up.weight"].T + small["up.bias"]
    row = plain.family
    with torch.no_grad():
        if row.ffn_norm is None:
            wanted = seen["out"] + 2.5 * change
        else:
            wanted = plain.part(0, row.ffn_norm)(seen["s"] + 2.5 * change)
    torch.testing.assert_close(found["out"], wanted, rtol=0, atol=1e-5)
    assert not torch.allclose(found["out"], seen["out"], atol=1e-2)


def test_the_scale_is_checked(make: Callable[..., EncoderModel]) -> None:
    assert Adapter(placement="parallel", scale=0.0).problems(make("bert")) == [
        "scale = 0.0: expected a number above 0 (of what a parallel adapter adds)"
    ]
