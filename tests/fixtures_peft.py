"""What several test files share with `test_peft`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from encoderlab.methods.base import Method
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel

CLASSES = ["no", "maybe", "yes"]
CLASSIFY = "AutoModelForSequenceClassification"
Make = Callable[..., EncoderModel]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(
        family: str | Path, method: Method | None = None, *, head: str = CLASSIFY, seed: int = 0, **config: Any
    ) -> EncoderModel:
        folder = family if isinstance(family, Path) else tiny_model(family)
        made = load.load(str(folder), head=head, class_names=CLASSES, seed=seed)
        made.model.eval()
        if method is not None:
            method.inject(made, seed)
            shake(p for _, p in made.trainable())
        return made

    return build


def shake(parameters: Any) -> None:
    """Values that matter in every trained tensor, as if training had been there."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)


def plain(folder: Path | str, head: str = CLASSIFY) -> Any:
    """The base as a user of PEFT loads it, its head drawn anew."""
    torch.manual_seed(99)
    extra = {"num_labels": len(CLASSES)} if head == CLASSIFY else {}
    transformers.logging.set_verbosity_error()
    return getattr(transformers, head).from_pretrained(folder, **extra).eval()


def batch(encoder: EncoderModel, choices: int = 0) -> dict[str, Tensor]:
    texts: list[Any] = ["a good film", "the plot was not very good and the acting bad", "bad"]
    made = encoder.tokenizer(texts, ["not bad", "a film", "the acting"], padding=True, return_tensors="pt")
    made.pop("token_type_ids", None) if encoder.model.config.model_type == "distilbert" else None
    return {k: v.unsqueeze(0) for k, v in made.items()} if choices else dict(made)


@torch.no_grad()
def same(ours: Any, theirs: Any, inputs: dict[str, Tensor]) -> None:
    wanted = ours(**inputs).logits
    torch.testing.assert_close(theirs(**inputs).logits, wanted, rtol=0, atol=1e-6)


def theirs(family_folder: str, config: dict[str, Any], head: str = CLASSIFY) -> Any:
    """A model under plain PEFT with values in every trained tensor."""
    model = peft.get_peft_model(plain(family_folder, head), peft.get_peft_config(config)).eval()
    shake(p for p in model.parameters() if p.requires_grad)
    return model
