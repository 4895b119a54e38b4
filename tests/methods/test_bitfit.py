"""BitFit: which values train, and the family that has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from encoderlab.adapters import folder as adapters
from encoderlab.methods.bitfit import BitFit
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES

HEAD = "AutoModelForSequenceClassification"


def load(folder: Path, seed: int = 0) -> EncoderModel:
    made = model_load.load(str(folder), head=HEAD, class_names=["no", "yes"], seed=seed)
    made.model.eval()
    return made


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
    method, made = BitFit(), load(tiny_model("bert"))
    method.inject(made, 0)
    generator = torch.Generator().manual_seed(0)
    for _, parameter in made.trainable():
        parameter.data.normal_(generator=generator)
    tensors = adapters.adapter_tensors(made)
    assert all(name.endswith(".bias") for name in tensors if not name.startswith(("head.", "pooler.")))
    adapters.save(made, method, tensors, tmp_path)
    loaded = load(tiny_model("bert"), seed=5)
    assert adapters.load_adapter(loaded, tmp_path) == method
    batch = made.tokenizer(["a good film", "bad"], padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(loaded.model(**batch).logits, made.model(**batch).logits)


def test_the_count_of_the_paper_on_bert_base() -> None:
    """12 layers of 8,448, the embeddings' LayerNorm 768, the pooler 768."""
    config = AutoConfig.for_model("bert", vocab_size=30, num_labels=2)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    made = EncoderModel(
        name="bert", model=model, tokenizer=None, family=FAMILIES["bert"], newly_initialized=frozenset(), fingerprint=""
    )
    BitFit().inject(made, 0)
    assert made.counts()["adapter"] == 12 * 8_448 + 768 + 768 == 102_912
