"""The stand-ins for MPNet's and DeBERTa's attention against transformers' own modules, and what they are for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification

from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.model import load as model_load
from encoderlab.model.dropout import DropoutRNG, use_rng
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.relative_attention import BiasedAttention, DisentangledAttention

HEAD = "AutoModelForSequenceClassification"
# keys that differ from the tiny model's config, which is as DeBERTa-v3's
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mpnet": ("mpnet", {}),
    "v3": ("deberta-v2", {}),
    "v2": (
        "deberta-v2",
        {"share_att_key": False, "conv_kernel_size": 3, "position_biased_input": True, "type_vocab_size": 2},
    ),
    "content to position": ("deberta-v2", {"pos_att_type": ["c2p"], "share_att_key": False}),
    "position to content": ("deberta-v2", {"pos_att_type": ["p2c"]}),
    "no buckets": ("deberta-v2", {"position_buckets": -1, "max_relative_positions": 6, "norm_rel_ebd": "none"}),
    "no distances": ("deberta-v2", {"relative_attention": False, "pos_att_type": [], "position_biased_input": True}),
}
LENGTHS = [[12, 5, 1], [40, 33, 2], [1], [2, 2]]


@pytest.fixture(params=VARIANTS)
def folder(request: Any, tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model whose weights are large, so that positions and padding matter."""
    family, changed = VARIANTS[request.param]
    where = Path(shutil.copytree(tiny_model(family), tmp_path / "model"))
    config = AutoConfig.from_pretrained(where, num_labels=3, **changed)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.data.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.data.mul_(8 if "embed" in name else 12)
    model.save_pretrained(where)
    return where


def load(folder: Path) -> EncoderModel:
    return model_load.load(str(folder), head=HEAD, class_names=["a", "b", "c"], seed=0)


def batch(encoder: EncoderModel, lengths: list[int]) -> dict[str, Tensor]:
    pad = encoder.tokenizer.pad_token_id
    ids = torch.full((len(lengths), max(lengths)), pad)
    generator = torch.Generator().manual_seed(sum(lengths))
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(5, len(encoder.tokenizer), (length,), generator=generator)
    return {"input_ids": ids, "attention_mask": (ids != pad).long()}


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_logits_and_gradients_are_those_of_transformers(lengths: list[int], folder: Path) -> None:
    ours, own = load(folder), AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    assert all(isinstance(m, BiasedAttention | DisentangledAttention) for m in ours.attentions())
    assert {n: p.shape for n, p in ours.model.named_parameters()} == {n: p.shape for n, p in own.named_parameters()}
    ours.model.eval()
    own.eval()
    given = batch(ours, lengths)
    with torch.no_grad():
        torch.testing.assert_close(ours.model(**given).logits, own(**given).logits, rtol=0, atol=1e-5)
    target = torch.arange(len(lengths)) % 3
    for model in (ours.model, own):
        torch.nn.functional.cross_entropy(model(**given).logits, target).backward()
    for name, parameter in own.named_parameters():
        grad = ours.model.get_parameter(name).grad
        if parameter.grad is None:  # transformers multiplies an unused table into nothing
            assert grad is None or not grad.any(), name
        else:
            assert grad is not None, name
            torch.testing.assert_close(grad, parameter.grad, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_padding_and_order_matter_as_they_should(folder: Path) -> None:
    """The oracle above can tell: other tokens or another order of them give other logits, more padding does not."""
    model = load(folder)
    model.model.eval()
    with torch.no_grad():
        given = batch(model, [9])
        logits = model.model(**given).logits
        turned = {**given, "input_ids": given["input_ids"].flip(1)}
        assert not torch.allclose(model.model(**turned).logits, logits, atol=1e-2)
        pad = torch.full((1, 4), model.tokenizer.pad_token_id)
        longer = {
            "input_ids": torch.cat([given["input_ids"], pad], 1),
            "attention_mask": torch.cat([given["attention_mask"], torch.zeros_like(pad)], 1),
        }
        torch.testing.assert_close(model.model(**longer).logits, logits, rtol=0, atol=1e-5)


def test_dropout_draws_from_our_generator_alone(folder: Path) -> None:
    model = load(folder)
    model.model.train()
    for module in model.model.modules():  # in attention only, so that it is attention's that is seen
        if hasattr(module, "p"):
            module.p = 0.0
    for module in model.attentions():
        module.dropout.p = 0.5  # type: ignore[union-attr]
    given, state = batch(model, [9, 4]), torch.get_rng_state()

    def draw(*counters: int) -> Tensor:
        with use_rng(DropoutRNG(0, *counters)):
            return model.model(**given).logits

    one = draw(1)
    assert torch.equal(draw(1), one) and not torch.allclose(draw(2), one, atol=1e-3)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_prefix_starts_as_the_keys_of_tokens(folder: Path) -> None:
    """Not as those of distances, which go through the same projection in DeBERTa-v3."""
    plain, tuned = load(folder), load(folder)
    ids: list[Any] = []
    keys: list[Any] = []
    tuned.base_model.get_input_embeddings().register_forward_hook(lambda m, args, y: ids.append(args[0]))  # type: ignore[operator]
    plain.part(0, plain.family.key).register_forward_hook(lambda m, args, y: keys.append(y))
    Prefix(length=7).insert(tuned, 3)
    plain.model.eval()
    with torch.no_grad():
        plain.base_model(input_ids=ids[0])
    wanted = keys[-1][0].view(7, 2, 16).transpose(0, 1)
    assert torch.equal(tuned.attentions()[0].prefix_key.data, wanted)  # type: ignore[union-attr]


@pytest.mark.parametrize("method", [Lora(), Prefix(length=3)], ids=repr)
def test_bf16_trains_close_to_fp32(folder: Path, method: Any) -> None:
    both = []
    for dtype in (torch.float32, torch.bfloat16):
        model = load(folder)
        method.inject(model, 0)
        run = ModelRunner(model, dtype, torch.device("cpu"))
        run.eval()
        logits = run(**batch(model, [12, 5]))
        assert logits.dtype == torch.float32
        logits.square().sum().backward()
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for _, p in model.trainable())
        both.append(logits.detach())
    assert (both[0] - both[1]).abs().max() < 0.25 * both[0].abs().max()
