"""BitFit: which values train, and the family that has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from encoderlab.methods.bitfit import BitFit
from encoderlab.model.families import FAMILIES
from fixtures_methods import load_in_place as load
from fixtures_methods import saved_and_loaded, trained_on_bert_base


@pytest.mark.parametrize("family", FAMILIES)
def test_all_biases_of_the_encoder_and_nothing_else_train(family: str, tiny_model: Callable[[str], Path]) -> None:
    made = load(tiny_model(family))
    vectors = {n for n, p in made.base_model.named_parameters() if n.split(".")[-1] == "bias" and p.ndim == 1}
    problems = BitFit().problems(made)
    if not any("layer" in name for name in vectors):
        assert family == "modernbert" and len(problems) == 1 and "have no bias vectors" in problems[0]
        return
    assert problems == []
    BitFit().inject(made, 0)
    trained = {n.removeprefix(made.base_prefix) for n, _ in made.trainable() if not made.is_head(n)}
    in_head = {n.removeprefix(made.base_prefix) for n, _ in made.trainable() if made.is_head(n)}
    assert trained == vectors - in_head and len(trained) > 8


def test_every_bias_is_saved_and_nothing_that_is_frozen(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    tensors = saved_and_loaded(BitFit(), tiny_model("bert"), tmp_path)
    assert all(name.endswith(".bias") for name in tensors if not name.startswith(("head.", "pooler.")))


def test_the_count_of_the_paper_on_bert_base() -> None:
    """12 layers of 8,448, the embeddings' LayerNorm 768, the pooler 768."""
    assert trained_on_bert_base(BitFit()) == 12 * 8_448 + 768 + 768 == 102_912
