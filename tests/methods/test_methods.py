"""What each method promises beyond the contract, which `test_matrix` holds every one of the `CASES` to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface

from encoderlab.core.errors import InputError
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.lora import Lora, LoraLinear
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.registry import METHODS
from encoderlab.model import attention, load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES
from fixtures_methods import CASES, CLASSES

HEAD = "AutoModelForSequenceClassification"


def test_every_method_is_among_the_cases() -> None:
    assert set(METHODS) == {type(case) for case in CASES}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_declares_that_it_merges(method: type[Method]) -> None:
    assert method.merges == (method.merge is not Method.merge)


Make = Callable[..., EncoderModel]


@pytest.fixture
def make(tiny_model: Callable[[str], Path]) -> Make:
    def build(family: str, method: Method | None = None, *, seed: int = 0, method_seed: int = 0) -> EncoderModel:
        made = load.load(str(tiny_model(family)), head=HEAD, class_names=CLASSES, seed=seed)
        made.model.eval()
        if method is not None:
            method.inject(made, method_seed)
        return made

    return build


def inputs(encoder: EncoderModel, pair: bool) -> dict[str, Tensor]:
    texts: list[Any] = ["a good film", "the plot was not very good and the acting bad", "bad"]
    second = ["not bad", "a film", "the acting was good"] if pair else None
    return encoder.tokenizer(texts, second, padding=True, return_tensors="pt")


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_merges_to_w_plus_scaled_ba_and_unmerges_to_the_bit(family: str, make: Make) -> None:
    method = Lora(rank=2, alpha=7, target=("query", "ffn_in"))
    tuned = make(family, method)
    layers = {n: m for n, m in tuned.base_model.named_modules() if isinstance(m, LoraLinear)}
    assert len(layers) == 2 * len(tuned.layers())
    generator = torch.Generator().manual_seed(0)
    for layer in layers.values():
        layer.lora_B.weight.data.normal_(generator=generator)
    originals = {name: layer.weight.clone() for name, layer in layers.items()}
    method.merge(tuned)
    method.merge(tuned)  # twice is once
    for name, layer in layers.items():
        a, b = layer.lora_A.weight.detach().double().numpy(), layer.lora_B.weight.detach().double().numpy()
        np.testing.assert_allclose(layer.weight.numpy(), originals[name].detach().numpy() + 7 / 2 * b @ a, atol=1e-5)
    method.unmerge(tuned)
    for name, layer in layers.items():
        assert torch.equal(layer.weight, originals[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_shifts_no_position_and_leaves_every_position_usable(
    family: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix of the text's own keys and values changes nothing: softmax over [K; K] weighs [V; V] as K weighs V."""
    length = 64  # all positions of the model
    plain, tuned = make(family), make(family, Prefix(length=length))
    for made in (plain, tuned):
        made.model.config.num_hidden_layers = len(made.layers())  # once through the layer that ALBERT would repeat
        made.model.config.local_attention = 2 * length  # ModernBERT: each token sees all others, as it sees a prefix
        for name, parameter in made.base_model.named_parameters():
            if "relative_attention_bias" in name or "rel_embeddings" in name:
                parameter.data.zero_()  # MPNet, DeBERTa: a prefix has no position, so for once nothing has
    ids = torch.randint(5, len(plain.tokenizer), (1, length), generator=torch.Generator().manual_seed(0))
    seen: dict[int, dict[str, Tensor]] = {}
    real = attention.attention

    def spy(module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen[id(module)] = {"key": key[0], "value": value[0]}
        return real(module, query, key, value, *args, **kwargs)

    monkeypatch.setattr(attention, "attention", spy)
    monkeypatch.setitem(AttentionInterface._global_mapping, attention.NAME, spy)
    with torch.no_grad():
        wanted = plain.model(input_ids=ids).logits
        for module in tuned.attentions():
            for role in ("key", "value"):
                getattr(module, f"prefix_{role}").mul_(50)  # so that it matters: random weights attend to all alike
        assert not torch.allclose(tuned.model(input_ids=ids).logits, wanted, atol=1e-5)
        for module, own in zip(tuned.attentions(), plain.attentions(), strict=True):
            for role, states in seen[id(own)].items():
                parameter = getattr(module, f"prefix_{role}")
                assert parameter.shape == (2, length, 16)  # (heads, length, head size)
                parameter.copy_(states)
        torch.testing.assert_close(tuned.model(input_ids=ids).logits, wanted, rtol=0, atol=1e-6)


def attention_by_hand(q: Tensor, k: Tensor, v: Tensor, pk: Tensor, pv: Tensor, mask: Tensor) -> Tensor:
    """One query at a time, as the equation is written; float64."""
    out = torch.zeros_like(q)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            keys = torch.cat([pk[h], k[b, h][mask[b]]])
            values = torch.cat([pv[h], v[b, h][mask[b]]])
            for t in range(q.shape[2]):
                weights = torch.softmax(keys @ q[b, h, t] / q.shape[-1] ** 0.5, dim=0)
                out[b, h, t] = weights @ values
    return out


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
def test_attention_against_the_equation(grad: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 3, 6, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    module = torch.nn.Module()
    module.prefix_key = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    module.prefix_value = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    additive = torch.zeros(2, 1, 6, 6, dtype=torch.float64).masked_fill(~mask[:, None, None, :], -1e30)
    with torch.set_grad_enabled(grad):
        context, _ = attention.attention(module, q, k, v, additive)
    wanted = attention_by_hand(q, k, v, module.prefix_key, module.prefix_value, mask)
    torch.testing.assert_close(context, wanted.transpose(1, 2), rtol=0, atol=1e-12)


def test_houlsby_and_pfeiffer_follow_their_equations(make: Make) -> None:
    """One BERT layer's second half, recomputed from the weights: out = LN(s + A(...)), as adapter.py's head states."""
    for placement in ("pfeiffer", "houlsby"):
        tuned = make("bert", Adapter(placement=placement, bottleneck=4, layers="last"))
        generator = torch.Generator().manual_seed(3)
        for name, parameter in tuned.model.named_parameters():
            if "adapter" in name:
                parameter.data.normal_(std=0.5, generator=generator)
        layer: Any = tuned.layers()[-1]
        seen: dict[str, Tensor] = {}
        layer.intermediate.register_forward_hook(lambda m, x, y, seen=seen: seen.update(x=x[0]))
        layer.register_forward_hook(lambda m, x, y, seen=seen: seen.update(out=y if isinstance(y, Tensor) else y[0]))
        with torch.no_grad():
            tuned.model(**inputs(tuned, False))
            x = seen["x"]
            h = layer.output.dense(layer.intermediate(x))
            norm = layer.output.LayerNorm
            plain = lambda s, norm=norm: torch.nn.functional.layer_norm(s, (32,), norm.weight, norm.bias, norm.eps)  # noqa: E731
            host = layer.output.LayerNorm if placement == "pfeiffer" else layer.output.dropout
            a = host.adapter
            small = lambda z, a=a: torch.relu(z @ a.down.weight.T + a.down.bias) @ a.up.weight.T + a.up.bias  # noqa: E731
            wanted = plain(x + h + small(plain(x + h))) if placement == "pfeiffer" else plain(x + h + small(h))
        torch.testing.assert_close(seen["out"], wanted, rtol=0, atol=1e-5)


def test_counts_keep_adapter_and_head_apart(make: Make) -> None:
    hidden, layers, classes = 32, 2, 3
    pooler, classifier = hidden * hidden + hidden, hidden * classes + classes
    counts = make("bert", Lora(rank=4)).counts()
    assert counts["adapter"] == layers * 2 * 4 * (hidden + hidden)
    assert counts["head"] in (classifier, classifier + pooler)
    assert make("bert", Prefix(length=3)).counts()["adapter"] == layers * 2 * 3 * hidden
    assert make("bert", Adapter(bottleneck=6)).counts()["adapter"] == layers * (2 * hidden * 6 + 6 + hidden)
    assert make("bert", Head()).counts()["adapter"] == 0
    full = make("bert", Full()).counts()
    assert full["adapter"] + full["head"] == full["total"]


def test_draws_depend_on_the_seed_and_the_place_alone(make: Make) -> None:
    torch.manual_seed(1)
    one = dict(make("bert", Lora(), seed=1, method_seed=1).trainable())
    torch.manual_seed(2)
    two = dict(make("bert", Lora(), seed=1, method_seed=1).trainable())
    other = dict(make("bert", Lora(), seed=2, method_seed=2).trainable())
    for name, parameter in one.items():
        assert torch.equal(parameter, two[name])
        assert "lora_B" in name or "bias" in name or not torch.equal(parameter, other[name]), name


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Lora(rank=33), "rank = 33: larger than the layer"),
        (Lora(target=("querry",)), "did you mean 'query'"),
        (Lora(target=("encoder.layer.0.attention.self.quer",)), "encoder.layer.0.attention.self.query"),
        (Lora(layers=(5,)), "has layers 0 to 1"),
        (Adapter(layers=(-3,)), "has layers 0 to 1"),
    ],
    ids=repr,
)
def test_what_cannot_be_inserted_is_said_in_one_line(method: Method, said: str, make: Make) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")) as caught:
        make("bert", method)
    assert len(caught.value.lines) == 1 and "\n" not in str(caught.value)


def test_one_exact_path_gets_one_lora(make: Make) -> None:
    tuned = make("bert", Lora(target=("encoder.layer.1.output.dense",), rank=2))
    assert [n for n, _ in tuned.trainable() if "lora_A" in n] == ["bert.encoder.layer.1.output.dense.lora_A.weight"]
