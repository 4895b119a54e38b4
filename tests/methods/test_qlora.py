"""QLoRA on a CPU: what is quantised and how, that it trains, and that what it saves and merges is what it trained."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoderlab.adapters import folder as adapters
from encoderlab.config.settings import Variant
from encoderlab.core.errors import InputError
from encoderlab.engine.batches import epoch_batches
from encoderlab.methods import qlora
from encoderlab.methods.lora import Lora
from encoderlab.methods.qlora import Nf4Weight, Qlora, QuantizedLinear
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES, ROLES
from encoderlab.model.prepacked_linear import prepack
from encoderlab.study.prepare import _insert
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train
from fixtures_training import CLASSES, CPU, TASK, rows

pytest.importorskip("bitsandbytes")

# The 16 values of NF4, as the paper's appendix E lists them.
NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)

Tiny = Callable[[str], Path]


def load(tiny_model: Tiny, family: str = "bert", seed: int = 0) -> EncoderModel:
    made = model_load.load(str(tiny_model(family)), head=TASK.head, class_names=CLASSES, seed=seed)
    made.model.eval()
    return made


def batch(encoder: EncoderModel) -> dict[str, Tensor]:
    return encoder.tokenizer(["good film", "the plot was not very good"], padding=True, return_tensors="pt")


def trainer(tiny_model: Tiny, folder: Path, method: Any, dtype: torch.dtype = torch.float32, **more: Any) -> Trainer:
    encoder = load(tiny_model)
    method.inject(encoder, 0)
    encode = lambda r: TASK.tokenize(r, encoder.tokenizer, 64, CLASSES)  # noqa: E731
    return Trainer(
        encoder=encoder,
        method=method,
        task=TASK,
        train=encode(rows(40, 1)),
        validation=encode(rows(16, 2)),
        class_names=CLASSES,
        settings=Train(epochs=3, batch_size=8),
        learning_rate=1e-2,
        seed=0,
        dtype=dtype,
        device=CPU,
        folder=folder,
        **more,
    )


def nf4_by_hand(weight: Tensor) -> Tensor:
    """Blocks of 64 in memory order: each weight over its block's largest, rounded to the nearest value."""
    blocks = weight.reshape(-1, 64)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    values = torch.tensor(NF4)
    return (values[(blocks / scale)[..., None].sub(values).abs().argmin(dim=-1)] * scale).view_as(weight)


def test_nf4_is_the_papers() -> None:
    weight = torch.randn(48, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Nf4Weight(weight, double=False).values(), nf4_by_hand(weight), rtol=0, atol=1e-6)
    twice = Nf4Weight(weight, double=True).values()
    assert 0 < (twice - nf4_by_hand(weight)).abs().max() < 0.05  # the scales are rounded to eight bits


def test_four_bits_take_an_eighth_of_fp32() -> None:
    weight = torch.randn(256, 256)
    size = lambda double: sum(  # noqa: E731
        t.numel() * t.element_size() for n, t in Nf4Weight(weight, double).named_buffers() if "code" not in n
    )
    plain = 256 * 256 / 2  # four bits each
    assert size(False) == plain + 256 * 256 / 64 * 4  # and four bytes per block of 64
    assert size(True) == plain + 256 * 256 / 64 * 1 + 256 * 256 / 64 / 256 * 4 + 4  # and one byte, with scales in turn


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_of_the_layers_is_quantised_and_nothing_else(family: str, tiny_model: Tiny) -> None:
    plain, tuned = load(tiny_model, family), load(tiny_model, family)
    method = Qlora(target=ROLES)
    assert method.problems(tuned) == []
    method.inject(tuned, 0)
    inside = tuple(f"{tuned.base_prefix}{path}." for path in tuned.layer_paths())
    linears = {n for n, m in plain.model.named_modules() if isinstance(m, nn.Linear) and n.startswith(inside)}
    quantised = {n for n, m in tuned.model.named_modules() if isinstance(m, QuantizedLinear)}
    assert quantised == linears
    parameters = dict(tuned.model.named_parameters())
    assert all(p.is_floating_point() for p in parameters.values())
    for name, parameter in plain.model.named_parameters():
        if name.removesuffix(".weight") in quantised and name.endswith(".weight"):
            assert name not in parameters
        else:
            assert torch.equal(parameter, parameters[name]), name  # head, poolers, embeddings, biases, norms
    assert {n for n, _ in tuned.trainable() if tuned.is_head(n)} == {n for n in parameters if plain.is_head(n)}
    assert tuned.counts()["adapter"] == plain_lora(tiny_model, family, method).counts()["adapter"]


def plain_lora(tiny_model: Tiny, family: str, method: Qlora) -> EncoderModel:
    """LoRA with the same settings, on plain weights."""
    made = load(tiny_model, family)
    Lora(rank=method.rank, alpha=method.alpha, target=method.target, layers=method.layers).inject(made, 0)
    return made


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_lora_over_the_dequantised_weights_and_merges_to_it(family: str, double: bool, tiny_model: Tiny) -> None:
    """Logits and gradients against LoRA on plain layers that hold the rounded weights; then the merged model."""
    method = Qlora(rank=3, alpha=5, rslora=True, target=ROLES, double_quantization=double)
    tuned = load(tiny_model, family)
    method.inject(tuned, 0)
    twin = load(tiny_model, family)
    for name, layer in tuned.base_model.named_modules():
        if isinstance(layer, QuantizedLinear):
            twin.base_model.get_parameter(f"{name}.weight").data.copy_(layer.whole())
    Lora(rank=3, alpha=5, rslora=True, target=ROLES).inject(twin, 0)
    generator = torch.Generator().manual_seed(0)
    for (name, mine), (other, theirs) in zip(tuned.trainable(), twin.trainable(), strict=True):
        assert name == other
        if "lora_B" in name:
            mine.data.normal_(std=0.3, generator=generator)
            theirs.data.copy_(mine)
        assert torch.equal(mine, theirs)
    inputs = batch(tuned)
    found, wanted = (b.model(**inputs).logits for b in (tuned, twin))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    for logits in (found, wanted):
        nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    for (name, mine), (_, theirs) in zip(tuned.trainable(), twin.trainable(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-5, msg=name)
    method.merge(tuned)
    assert not any(isinstance(m, QuantizedLinear) for m in tuned.model.modules())
    pretrained = dict(load(tiny_model, family).model.named_parameters())
    merged = dict(tuned.model.named_parameters())
    assert merged.keys() == pretrained.keys()
    assert all(merged[n].shape == p.shape and merged[n].dtype == p.dtype for n, p in pretrained.items())
    with torch.no_grad():
        torch.testing.assert_close(tuned.model(**inputs).logits, found.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_trains_on_a_cpu_with_the_base_in_four_bits(dtype: torch.dtype, tiny_model: Tiny, tmp_path: Path) -> None:
    made = trainer(tiny_model, tmp_path, Qlora(), dtype)
    packed = {n: b.clone() for n, b in made.encoder.model.named_buffers()}
    done = made.run()
    losses = [entry.train_loss for entry in done.history]
    assert losses[-1] < losses[0] - 0.03
    for name, buffer in made.encoder.model.named_buffers():
        assert buffer.dtype == packed[name].dtype and torch.equal(buffer, packed[name]), name
    assert {t.dtype for n, t in packed.items() if n.endswith("quantized.packed")} == {torch.uint8}
    assert all(p.dtype == torch.float32 for _, p in made.encoder.trainable())
    assert not [name for name in done.tensors if "quantized" in name]


def test_bf16_stays_near_fp32(tiny_model: Tiny, tmp_path: Path) -> None:
    exact, half = (trainer(tiny_model, tmp_path, Qlora(), dtype) for dtype in (torch.float32, torch.bfloat16))
    for made in (exact, half):
        made.learning_rate = 1e-3
    for step, chosen in enumerate(epoch_batches(40, 8, 0, 1)):
        assert half.step(step, chosen)[0] == pytest.approx(exact.step(step, chosen)[0], abs=0.02)


def test_the_backward_pass_keeps_no_weight(tiny_model: Tiny) -> None:
    """A dequantised weight held from forward to backward would cost the memory that four bits save."""

    def held(method: Any) -> set[tuple[int, ...]]:
        """Shapes of what one layer keeps for its backward pass, and of no parameter."""
        tuned = load(tiny_model)
        method.inject(tuned, 0)
        hidden = torch.randn(2, 5, 32, requires_grad=True)
        shapes: set[tuple[int, ...]] = set()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: shapes.add(tuple(t.shape)) or t, lambda t: t):
            tuned.layers()[0](hidden)
        return shapes

    weights = {(32, 32), (32, 64), (64, 32)}  # of the layer, some of them transposed
    assert held(Lora()) & weights and not held(Qlora()) & weights


def test_copies_and_the_check_of_a_study(tiny_model: Tiny) -> None:
    encoder = load(tiny_model)
    method = Qlora()
    counts = _insert(encoder, Variant(method=method, label="qlora", learning_rates=(1e-3,)))
    lora = _insert(encoder, Variant(method=Lora(), label="lora", learning_rates=(1e-3,)))
    assert counts == lora  # of adapter, head and all, though a quantised weight is no parameter
    method.inject(encoder, 0)
    twin = copy.deepcopy(encoder.model)
    inputs = batch(encoder)
    with torch.no_grad():
        wanted = encoder.model(**inputs).logits
        assert torch.equal(twin(**inputs).logits, wanted)
        for module in encoder.model.modules():
            if isinstance(module, Nf4Weight):
                module.packed.zero_()
        assert torch.equal(twin(**inputs).logits, wanted)  # nothing is shared


def test_the_file_holds_lora_and_head_and_gives_the_same_logits(tiny_model: Tiny, tmp_path: Path) -> None:
    """The base is quantised anew when it is loaded, to the same bits."""
    made = trainer(tiny_model, tmp_path / "run", Qlora())
    done = made.run()
    adapters.save(made.encoder, made.method, done.tensors, tmp_path / "adapter")
    assert all("lora_" in n or n.startswith("head.") for n in done.tensors)
    loaded = load(tiny_model, seed=5)
    assert adapters.load_adapter(loaded, tmp_path / "adapter") == made.method
    adapters.fill(made.encoder, made.method, done.tensors, "the best epoch")
    prepack(loaded.model)  # as training did
    with torch.no_grad():
        wanted = made.encoder.model.eval()(**batch(loaded)).logits
        assert torch.equal(loaded.model(**batch(loaded)).logits, wanted)


def test_a_target_outside_the_layers_stays_plain(tiny_model: Tiny) -> None:
    tuned = load(tiny_model)
    method = Qlora(target=("query", "pooler.dense"))
    method.inject(tuned, 0)
    assert not isinstance(tuned.base_model.get_submodule("pooler.dense"), QuantizedLinear)
    tuned.model.get_parameter("bert.pooler.dense.lora_B.weight").data.fill_(0.1)
    inputs = batch(tuned)
    with torch.no_grad():
        wanted = tuned.model(**inputs).logits
        method.merge(tuned)
        torch.testing.assert_close(tuned.model(**inputs).logits, wanted, rtol=0, atol=1e-5)


def test_without_bitsandbytes_one_line_names_the_extra(tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "bitsandbytes" else real(n, *a))
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    qlora.bitsandbytes.cache_clear()
    said = "qlora needs bitsandbytes, which is not installed; pip install 'encoderlab[quant]'"
    assert Qlora().problems(load(tiny_model)) == [said]
    with pytest.raises(InputError) as caught:
        Qlora().inject(load(tiny_model), 0)
    assert caught.value.lines == (said,)
