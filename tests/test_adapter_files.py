"""Adapter folders that cannot lie: nothing is left out, nothing is half loaded, and what moves between heads moves
whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from encoderlab import adapters
from encoderlab import backbone as backbones
from encoderlab.backbone import Backbone
from encoderlab.errors import InputError
from encoderlab.methods import Adapter, Lora, Method

CLASSES = ["no", "maybe", "yes"]
Make = Callable[..., Backbone]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(
        family: str, method: Method | None = None, *, head: str = "AutoModelForSequenceClassification", seed: int = 0
    ) -> Backbone:
        made = backbones.load(str(tiny_model(family)), head=head, class_names=CLASSES, seed=seed)
        made.model.eval()
        if method is not None:
            method.inject(made, seed)
        return made

    return build


def test_a_wrong_adapter_file_is_named_not_half_loaded(make: Make, tmp_path: Path) -> None:
    small = make("bert", Lora(rank=2))
    tensors = adapters.adapter_tensors(small)
    adapters.save(small, Lora(rank=2), tensors, tmp_path)
    with pytest.raises(InputError, match="of another shape"):
        adapters.fill(make("bert", Lora(rank=3)), Lora(rank=3), tensors, "here")
    with pytest.raises(InputError, match="missing.*not in the model"):
        adapters.fill(make("bert", Adapter()), Adapter(), tensors, "here")
    with pytest.raises(InputError, match="another base"):
        adapters.load_adapter(make("roberta"), tmp_path)
    tensors.pop("head.classifier.weight")
    with pytest.raises(ValueError, match="without.*classifier.weight"):
        adapters.save(small, Lora(rank=2), tensors, tmp_path)
