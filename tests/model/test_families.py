"""What the table of families says of each, and that our attention computes what the family's own code does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from conftest import SHAPES
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.lora import Lora, LoraLinear
from encoderlab.methods.prefix import Prefix
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES, ROLES

HEAD = "AutoModelForSequenceClassification"
Load = Callable[[str], EncoderModel]


@pytest.fixture
def load(tiny_model: Callable[[str], Path]) -> Load:
    def get(family: str) -> EncoderModel:
        made = model_load.load(str(tiny_model(family)), head=HEAD, class_names=["a", "b", "c"], seed=0)
        made.model.eval()
        return made

    return get


def random_batch(encoder: EncoderModel, *lengths: int) -> dict[str, Tensor]:
    pad = encoder.tokenizer.pad_token_id
    ids = torch.full((len(lengths), max(lengths)), pad)
    generator = torch.Generator().manual_seed(0)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(5, len(encoder.tokenizer), (length,), generator=generator)
    return {"input_ids": ids, "attention_mask": (ids != pad).long()}


def test_every_family_has_a_tiny_model_and_a_statement() -> None:
    assert FAMILIES.keys() == SHAPES.keys()
    assert all(row.note.endswith(".") and "|" not in row.note for row in FAMILIES.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_path_of_the_row_is_there(family: str, load: Load) -> None:
    made, row = load(family), FAMILIES[family]
    assert len(made.layers()) == (1 if family == "albert" else 2)
    width = {"ffn_in": (32, 128 if family == "modernbert" else 64), "ffn_out": (64, 32)}
    for i in range(len(made.layers())):
        for role in ROLES:
            linear: Any = made.part(i, getattr(row, role))
            assert isinstance(linear, torch.nn.Linear)
            wanted = width.get(role, (32, 96 if row.fused and role in ("query", "key", "value") else 32))
            assert (linear.in_features, linear.out_features) == wanted
        if row.ffn_norm is not None:
            assert isinstance(made.part(i, row.ffn_norm), torch.nn.LayerNorm)
        for path in (row.after_attention, row.after_ffn):
            seen: list[Tensor] = []
            hook = made.part(i, path).register_forward_hook(lambda m, args, y, to=seen: to.append(y))
            made.model(**random_batch(made, 3))
            hook.remove()
            assert seen and all(y.shape == (1, 3, 32) for y in seen)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_are_transformers_own(
    family: str, attention: str, load: Load, tiny_model: Callable[[str], Path]
) -> None:
    """On texts longer than ModernBERT's window, with padding, where weights are large enough for it to matter."""
    ours = load(family)
    try:
        own = AutoModelForSequenceClassification.from_pretrained(
            tiny_model(family), num_labels=3, attn_implementation=attention
        )
    except ValueError as error:  # MPNet and DeBERTa
        assert "does not support" in str(error) and FAMILIES[family].stand_in is not None
        return
    for name, parameter in ours.model.named_parameters():
        if parameter.ndim == 2 and "embeddings" not in name:
            parameter.data.mul_(8)
    own.load_state_dict(ours.model.state_dict())
    own.eval()
    given = random_batch(ours, 40, 9, 1)
    wanted = own(**given).logits
    torch.testing.assert_close(ours.model(**given).logits, wanted, rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours.model(**given).logits, wanted, rtol=0, atol=1e-5)


def test_a_poolers_family_is_where_the_table_says(load: Load) -> None:
    with_pooler = {family for family in FAMILIES if getattr(load(family).base_model, "pooler", None) is not None}
    assert with_pooler == {"bert", "albert"}  # under a classification head
    assert {"pooler.dense.weight", "pooler.dense.bias"} < load("deberta-v2").newly_initialized
    assert {"pre_classifier.weight", "classifier.weight"} < load("distilbert").newly_initialized


def test_albert_repeats_one_layer_and_counts_it_once(load: Load) -> None:
    tuned = load("albert")
    Lora(rank=4).inject(tuned, 0)
    assert tuned.counts()["adapter"] == 2 * 4 * (32 + 32)  # query and value, once
    calls: list[int] = []
    tuned.part(0, tuned.family.query).register_forward_hook(lambda m, args, y: calls.append(1))
    tuned.model(**random_batch(tuned, 3))
    assert len(calls) == 2


def test_modernberts_three_projections_are_one(load: Load) -> None:
    tuned = load("modernbert")
    Lora(rank=2, target=("query", "key", "value")).inject(tuned, 0)
    wrapped = [name for name, module in tuned.base_model.named_modules() if isinstance(module, LoraLinear)]
    assert wrapped == ["layers.0.attn.Wqkv", "layers.1.attn.Wqkv"]
    qkv: Any = tuned.part(0, tuned.family.query)
    own = qkv(torch.ones(1, 1, 32)).view(3, 2, 16)  # transformers: three, heads, head size
    for i, role in enumerate(("query", "key", "value")):
        assert torch.equal(qkv(torch.ones(1, 1, 32))[0, 0, tuned.outputs(role, 96)].view(2, 16), own[i])


def test_a_modernbert_adapter_reads_the_sublayer_where_no_norm_follows(load: Load) -> None:
    """out = x + h + A(h), as adapter.py's head states."""
    tuned = load("modernbert")
    Adapter(bottleneck=4, layers="last").inject(tuned, 0)
    layer: Any = tuned.layers()[-1]
    small = layer.mlp.adapter
    small.up.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    seen: dict[str, Tensor] = {}
    layer.mlp_norm.register_forward_hook(lambda m, args, y: seen.update(x=args[0], normed=y))
    layer.register_forward_hook(lambda m, args, y: seen.update(out=y))
    with torch.no_grad():
        tuned.model(**random_batch(tuned, 5))
        h = type(layer.mlp).forward(layer.mlp, seen["normed"])
        bend = torch.relu(h @ small.down.weight.T + small.down.bias) @ small.up.weight.T + small.up.bias
    assert bend.abs().max() > 1e-3
    torch.testing.assert_close(seen["out"], seen["x"] + h + bend, rtol=0, atol=1e-6)


def test_a_modernbert_prefix_is_seen_beyond_the_window(load: Load) -> None:
    tuned = load("modernbert")
    Prefix(length=2, layers=(1,)).inject(tuned, 0)
    assert tuned.model.config.layer_types[1] == "sliding_attention"
    states = tuned.base_model(**random_batch(tuned, 40)).last_hidden_state
    assert tuned.model.config.local_attention < 40
    (gradient,) = torch.autograd.grad(states[0, -1, 0], tuned.attentions()[1].prefix_value)  # type: ignore[arg-type]
    assert gradient.abs().max() > 0
