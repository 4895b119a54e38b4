"""LayerNorm tuning: which values train, on every family; the same gradients and function as PEFT's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from torch import nn

from encoderlab.methods.layernorm import LayerNorm
from encoderlab.model.families import FAMILIES
from fixtures_methods import load_in_place as load
from fixtures_methods import saved_and_loaded, trained_on_bert_base


@pytest.mark.parametrize("family", FAMILIES)
def test_all_layer_norms_of_the_encoder_and_nothing_else_train(family: str, tiny_model: Callable[[str], Path]) -> None:
    made = load(tiny_model(family))
    # By name, not by type as the method finds them: a family with a class of its own for its norms would be missed.
    norms = {n for n, _ in made.base_model.named_parameters() if "norm" in n.split(".")[-2].lower()}
    assert LayerNorm().problems(made) == []
    LayerNorm().inject(made, 0)
    trained = {n.removeprefix(made.base_prefix) for n, _ in made.trainable() if not made.is_head(n)}
    assert trained == norms
    assert {n.split(".")[-1] for n in trained} == ({"weight"} if family == "modernbert" else {"weight", "bias"})


def test_modernbert_without_bias_trains_its_gains(tiny_model: Callable[[str], Path]) -> None:
    """The embeddings' norm, two a layer (the first layer's attention has none) and the last one."""
    made = load(tiny_model("modernbert"))
    LayerNorm().inject(made, 0)
    layers, hidden = made.model.config.num_hidden_layers, made.model.config.hidden_size
    assert made.counts()["adapter"] == (1 + 2 * layers - 1 + 1) * hidden


def test_every_layer_norm_is_saved_and_nothing_that_is_frozen(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    tensors = saved_and_loaded(LayerNorm(), tiny_model("bert"), tmp_path)
    assert all(".LayerNorm." in f".{name}" for name in tensors if not name.startswith(("head.", "pooler.")))


def test_the_count_on_bert_base() -> None:
    """Two LayerNorms in each of 12 layers and one in the embeddings, each a gain and a bias of 768."""
    assert trained_on_bert_base(LayerNorm()) == (12 * 2 + 1) * 2 * 768 == 38_400


@pytest.mark.filterwarnings("ignore:Unsupported layer type")  # PEFT does not know the sizes of a LayerNorm
@pytest.mark.parametrize(
    ("family", "target"),
    [
        ("bert", ["LayerNorm"]),
        ("distilbert", ["LayerNorm", "sa_layer_norm", "output_layer_norm"]),
        # Not the head's norm. Not layers.0.attn_norm either: it is an nn.Identity, which PEFT cannot wrap.
        ("modernbert", r"model\.(?!layers\.0\.attn_norm).*norm"),
    ],
)
def test_gradients_and_logits_are_those_of_peft(
    family: str, target: list[str] | str, tiny_model: Callable[[str], Path]
) -> None:
    ours, theirs = load(tiny_model(family)), load(tiny_model(family))
    LayerNorm().inject(ours, 0)
    tuned = peft.get_peft_model(theirs.model, peft.LNTuningConfig(target_modules=target)).eval()
    batch = ours.tokenizer(["a good film", "the plot was bad"], padding=True, return_tensors="pt")
    for _ in range(3):
        for model in (ours.model, tuned):
            model.zero_grad()
            nn.functional.cross_entropy(model(**batch).logits, torch.tensor([1, 0])).backward()
        mine = {n: p for n, p in ours.model.named_parameters() if p.requires_grad and not ours.is_head(n)}
        other = {
            n.removeprefix("base_model.model.").replace(".ln_tuning_layers.default", ""): p
            for n, p in tuned.named_parameters()
            if p.requires_grad
        }
        assert mine.keys() == other.keys() and len(mine) > 4
        for name, parameter in mine.items():
            wanted, found = other[name].grad, parameter.grad
            assert wanted is not None and found is not None and torch.equal(found, wanted), name
            parameter.data.sub_(found, alpha=0.5)
            other[name].data.sub_(wanted, alpha=0.5)
    with torch.no_grad():
        assert torch.equal(ours.model(**batch).logits, tuned(**batch).logits)
