"""(IA)^3: the paper's vectors and count, PEFT's model with the same targets as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.ia3 import Ia3
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES

HEAD = "AutoModelForSequenceClassification"
TEXTS = ["a good film", "the plot was not very good and the acting bad", "bad"]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Callable[..., EncoderModel]:
    def build(family: str, method: Ia3 | None = None) -> EncoderModel:
        made = load.load(str(tiny_model(family)), head=HEAD, class_names=["no", "yes"], seed=0)
        made.model.eval()
        if method is not None:
            method.inject(made, 0)
            generator = torch.Generator().manual_seed(1)
            for name, parameter in made.trainable():
                if name.endswith("ia3_l"):
                    parameter.data.uniform_(-30, 30, generator=generator)  # so that it matters: the weights are small
        return made

    return build


def batch(encoder: EncoderModel) -> Any:
    return encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_peft_with_the_same_vectors_gives_the_same_logits(family: str, make: Callable[..., EncoderModel]) -> None:
    peft = pytest.importorskip("peft")
    tuned, plain = make(family, Ia3()), make(family)
    ours = {name.removesuffix(".ia3_l"): p for name, p in tuned.trainable() if name.endswith("ia3_l")}
    row = plain.family
    prefix = [f"{plain.base_prefix}{path}." for path in plain.layer_paths()]
    feedforward = [path + row.ffn_out for path in prefix]
    targets = [path + part for path in prefix for part in (row.key, row.value)] + feedforward
    assert sorted(ours) == sorted(targets)
    theirs = peft.get_peft_model(
        plain.model, peft.IA3Config(target_modules=targets, feedforward_modules=feedforward, task_type="SEQ_CLS")
    )
    theirs.eval()
    vectors = {n: p for n, p in theirs.named_parameters() if "ia3_l" in n}
    assert len(vectors) == len(ours)
    for name, vector in vectors.items():
        path = name.removeprefix("base_model.model.").removesuffix(".ia3_l.default")
        assert vector.shape == ours[path].shape
        vector.data.copy_(ours[path].data)
    with torch.no_grad():
        wanted = theirs(**batch(tuned)).logits
        torch.testing.assert_close(tuned.model(**batch(tuned)).logits, wanted, rtol=0, atol=1e-6)
        assert not torch.allclose(wanted, make(family).model(**batch(tuned)).logits, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_merging_folds_the_vectors_into_rows_biases_and_columns(family: str, make: Callable[..., EncoderModel]) -> None:
    method = Ia3()
    tuned, plain = make(family, method), make(family)
    with torch.no_grad():
        wanted = tuned.model(**batch(tuned)).logits
        assert not torch.allclose(wanted, plain.model(**batch(plain)).logits, atol=1e-4)
        method.merge(tuned)
        method.merge(tuned)  # twice is once
        torch.testing.assert_close(tuned.model(**batch(tuned)).logits, wanted, rtol=0, atol=1e-5)
    assert not [name for name, _ in tuned.model.named_parameters() if name.endswith("ia3_l")]


def test_a_fused_layer_leaves_its_queries_alone(make: Callable[..., EncoderModel]) -> None:
    if "modernbert" not in FAMILIES:
        pytest.skip("no family with query, key and value in one layer")
    tuned, plain = make("modernbert", Ia3()), make("modernbert")
    fused, before = (b.part(0, b.family.key) for b in (tuned, plain))
    assert fused.ia3_l.shape == (64, 1)  # type: ignore[union-attr]
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y, wanted = fused(x), before(x)
        assert torch.equal(y[..., :32], wanted[..., :32])
        torch.testing.assert_close(y[..., 32:], wanted[..., 32:] * fused.ia3_l.flatten())  # type: ignore[union-attr]


def test_chosen_layers_only_and_bf16(make: Callable[..., EncoderModel]) -> None:
    tuned = make("bert", Ia3(layers="last"))
    names = [name for name, _ in tuned.trainable() if name.endswith("ia3_l")]
    assert len(names) == 3 and all("layer.1." in name for name in names)
    with torch.no_grad():
        wanted = tuned.model(**batch(tuned)).logits
    model = ModelRunner(tuned, torch.bfloat16, torch.device("cpu"))
    logits = model(**batch(tuned))
    torch.testing.assert_close(logits, wanted, rtol=0, atol=0.05 * float(wanted.std()))
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for _, p in tuned.trainable())


def test_the_count_of_the_paper_on_bert_base() -> None:
    config = AutoConfig.for_model("bert", vocab_size=30, num_labels=2)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    made = EncoderModel(
        name="bert", model=model, tokenizer=None, family=FAMILIES["bert"], newly_initialized=frozenset(), fingerprint=""
    )
    Ia3().inject(made, 0)
    assert made.counts()["adapter"] == 55_296
