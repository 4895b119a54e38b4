"""DoRA and LoRA+ against PEFT and against optimizers made by hand; what all low-rank methods do alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoderlab.engine.batches import collate, epoch_batches
from encoderlab.methods.adalora import AdaLora
from encoderlab.methods.base import Method
from encoderlab.methods.dora import Dora, DoraLinear
from encoderlab.methods.lora import Lora
from encoderlab.methods.lora_plus import LoraPlus
from encoderlab.methods.low_rank import LowRankLinear, low_rank_layers
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import FAMILIES, ROLES
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train
from fixtures_training import CLASSES, CPU, TASK, rows, without_dropout

Tiny = Callable[[str], Path]
Build = Callable[..., Trainer]


def load(tiny_model: Tiny, family: str = "bert") -> EncoderModel:
    return model_load.load(str(tiny_model(family)), head=TASK.head, class_names=CLASSES, seed=0)


@pytest.fixture
def build(tiny_model: Tiny, tmp_path: Path) -> Build:
    def make(method: Method, *, dtype: torch.dtype = torch.float32, rate: float = 1e-2, **settings: Any) -> Trainer:
        encoder = load(tiny_model)
        method.inject(encoder, 0)
        without_dropout(encoder.model)
        encode = lambda r: TASK.tokenize(r, encoder.tokenizer, 64, CLASSES)  # noqa: E731
        return Trainer(
            encoder=encoder,
            method=method,
            task=TASK,
            train=encode(rows(40, 1)),
            validation=encode(rows(16, 2)),
            class_names=CLASSES,
            settings=Train(**{"epochs": 4, "batch_size": 8, "clip": 1e9, **settings}),
            learning_rate=rate,
            seed=0,
            dtype=dtype,
            device=CPU,
            folder=tmp_path,
        )

    return make


def peft_twin(ours: EncoderModel, tiny_model: Tiny, family: str = "bert", **config: Any) -> Any:
    """PEFT's LoRA kind on the same model, with our tensors in it."""
    from peft import LoraConfig, get_peft_model

    model = load(tiny_model, family).model
    without_dropout(model)
    theirs: Any = get_peft_model(model, LoraConfig(modules_to_save=["classifier"], **config))
    copied = 0
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            mine = name.removeprefix("base_model.model.").replace("modules_to_save.default.", "")
            mine = mine.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector").replace(".default", "")
            parameter.data.copy_(ours.model.get_parameter(mine).data)
            copied += parameter.numel()
    assert copied == sum(p.numel() for _, p in ours.trainable())
    return theirs


def stir(encoder: EncoderModel, size: float = 0.3) -> None:
    """Random values for every trained tensor of a low-rank layer, so that nothing is zero or as it began."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in encoder.trainable():
        if "lora_" in name:
            parameter.data += torch.randn(parameter.shape, generator=generator) * size


@pytest.mark.parametrize("rslora", [False, True])
def test_dora_trains_as_peft_does(rslora: bool, build: Build, tiny_model: Tiny) -> None:
    """Same tensors and rows, fp32: the logits and the losses of 20 steps agree to 1e-5."""
    ours = build(Dora(rank=4, alpha=8, rslora=rslora, target=("query", "value", "ffn_in")))
    stir(ours.encoder)
    theirs = peft_twin(
        ours.encoder,
        tiny_model,
        r=4,
        lora_alpha=8,
        use_dora=True,
        use_rslora=rslora,
        target_modules=["query", "value", "intermediate.dense"],
    )
    batch = collate(ours.train, np.arange(8), ours.pad_id, CPU)
    with torch.no_grad():
        torch.testing.assert_close(ours.model(**batch), theirs(**batch).logits, rtol=0, atol=1e-6)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    magnitudes = [m.lora_magnitude_vector.detach().clone() for _, m in dora_layers(ours.encoder)]
    theirs.train()
    for step, chosen in enumerate(c for epoch in range(1, 5) for c in epoch_batches(40, 8, 0, epoch)):
        loss, _ = ours.step(step, chosen)
        target = torch.from_numpy(ours.train.labels[chosen])
        other = nn.functional.cross_entropy(theirs(**collate(ours.train, chosen, ours.pad_id, CPU)).logits, target)
        optimizer.zero_grad()
        other.backward()
        for group in optimizer.param_groups:
            group["lr"] = ours.rate(step)
        optimizer.step()
        assert loss == pytest.approx(other.item(), abs=1e-5), step
    for before, (_, module) in zip(magnitudes, dora_layers(ours.encoder), strict=True):
        assert (module.lora_magnitude_vector - before).abs().max() > 1e-3


def dora_layers(encoder: EncoderModel) -> list[tuple[str, DoraLinear]]:
    return [(n, m) for n, m in low_rank_layers(encoder) if isinstance(m, DoraLinear)]


def test_dora_drops_what_peft_drops() -> None:
    """In training, with one mask for both: y of one layer and every gradient."""
    from peft import LoraConfig, get_peft_model

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * mask

    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(3, 5, 12, generator=generator).round() * 2
    base = nn.Linear(12, 7)
    for parameter in base.parameters():  # not from torch's own generator, which no test seeds
        parameter.data.uniform_(-0.3, 0.3, generator=generator)
    ours = DoraLinear(base, 2, 1.5, Fixed(), generator)
    ours.lora_B.weight.data.normal_(generator=generator)
    ours.lora_magnitude_vector.data.normal_(generator=generator)
    config = LoraConfig(r=2, lora_alpha=3, lora_dropout=0.5, use_dora=True, target_modules=["0"])
    wrapped: Any = get_peft_model(nn.Sequential(base), config)
    theirs = wrapped.base_model.model[0]
    theirs.lora_dropout["default"] = Fixed()
    for name in ("lora_A", "lora_B"):
        getattr(theirs, name)["default"].weight.data.copy_(getattr(ours, name).weight.data)
    magnitude = theirs.lora_magnitude_vector["default"].weight
    magnitude.data.copy_(ours.lora_magnitude_vector.data)
    inputs = [torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1), requires_grad=True) for _ in range(2)]
    for layer, x in zip((ours, theirs), inputs, strict=True):
        layer(x).square().sum().backward()
    torch.testing.assert_close(ours(inputs[0]), theirs(inputs[1]))
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(ours.lora_magnitude_vector.grad, magnitude.grad)
    for name in ("lora_A", "lora_B"):
        torch.testing.assert_close(getattr(ours, name).weight.grad, getattr(theirs, name)["default"].weight.grad)


def test_dora_keeps_a_row_of_zeros_and_a_layer_without_bias() -> None:
    base = nn.Linear(6, 4, bias=False)
    base.weight.data[1] = 0
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    layer = DoraLinear(base, 2, 2.0, nn.Identity(), torch.Generator().manual_seed(0))
    assert torch.equal(layer(x), base(x))
    layer.lora_B.weight.data.fill_(0.5)
    layer(x).sum().backward()
    for parameter in (layer.lora_magnitude_vector, layer.lora_A.weight, layer.lora_B.weight):
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    layer.lora_magnitude_vector.data.copy_(torch.arange(4.0))
    wanted = layer(x)
    layer.merge()
    torch.testing.assert_close(layer(x), wanted)
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.arange(4.0))  # m is the length of a row


def test_dora_in_bf16_stays_near_fp32(build: Build) -> None:
    """The magnitudes stay fp32, every step's loss near that of fp32, and step 0 near the plain model in bf16."""
    exact, half = (build(Dora(), dtype=dtype, rate=1e-3) for dtype in (torch.float32, torch.bfloat16))
    plain = build(Lora(), dtype=torch.bfloat16)  # at step 0, the model itself
    batch = collate(half.train, np.arange(8), half.pad_id, CPU)
    with torch.no_grad():
        torch.testing.assert_close(half.model(**batch), plain.model(**batch), rtol=0, atol=0.02)
    for step, chosen in enumerate(epoch_batches(40, 8, 0, 1)):
        assert half.step(step, chosen)[0] == pytest.approx(exact.step(step, chosen)[0], abs=0.02)
    for _, module in dora_layers(half.encoder):
        assert module.lora_magnitude_vector.dtype == torch.float32 and module.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("ratio", [16.0, 1.0])
def test_lora_plus_trains_as_adamw_with_two_rates(ratio: float, build: Build, tiny_model: Tiny) -> None:
    """20 steps against a hand-made AdamW on PEFT's LoRA; with ratio 1 it is LoRA to the bit."""
    ours = build(LoraPlus(rank=4, alpha=8, ratio=ratio), rate=1e-3)
    theirs = peft_twin(ours.encoder, tiny_model, r=4, lora_alpha=8, target_modules=["query", "value"])
    trained = [(n, p) for n, p in theirs.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in trained if "lora_B" in n], "weight_decay": 0.01, "ratio": ratio},
        {"params": [p for n, p in trained if "lora_B" not in n and p.ndim > 1], "weight_decay": 0.01, "ratio": 1.0},
        {"params": [p for _, p in trained if p.ndim <= 1], "weight_decay": 0.0, "ratio": 1.0},
    ]
    optimizer = torch.optim.AdamW(groups)
    plain = build(Lora(rank=4, alpha=8), rate=1e-3)
    theirs.train()
    for step, chosen in enumerate(c for epoch in range(1, 5) for c in epoch_batches(40, 8, 0, epoch)):
        loss, _ = ours.step(step, chosen)
        target = torch.from_numpy(ours.train.labels[chosen])
        other = nn.functional.cross_entropy(theirs(**collate(ours.train, chosen, ours.pad_id, CPU)).logits, target)
        optimizer.zero_grad()
        other.backward()
        for group in optimizer.param_groups:
            group["lr"] = ours.rate(step) * group["ratio"]
        optimizer.step()
        assert loss == pytest.approx(other.item(), abs=1e-5), step
        plain.step(step, chosen)
    pairs = list(zip(plain.encoder.trainable(), ours.encoder.trainable(), strict=True))
    assert all(torch.equal(p, q) for (_, p), (_, q) in pairs) == (ratio == 1.0)


def test_lora_plus_gives_a_and_b_the_rates_of_pefts_optimizer(build: Build, tiny_model: Tiny) -> None:
    from peft.optimizers import create_loraplus_optimizer

    ours = build(LoraPlus(rank=4), rate=1e-3)
    theirs = peft_twin(ours.encoder, tiny_model, r=4, lora_alpha=16, target_modules=["query", "value"])
    optimizer = create_loraplus_optimizer(theirs, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16)
    wanted = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rates = {id(p): 1e-3 * g["factor"] for g in ours.optimizer.param_groups for p in g["params"]}
    checked = 0
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            mine = name.removeprefix("base_model.model.").replace(".default", "")
            assert rates[id(ours.encoder.model.get_parameter(mine))] == pytest.approx(wanted[id(parameter)])
            checked += 1
    assert checked == 8
    assert set(ours.method.rate_factors(ours.encoder)) == {n for n, _ in ours.encoder.trainable() if "lora_B" in n}


def test_lora_plus_rates_reach_the_parameters(build: Build) -> None:
    """Adam's first step is the rate times the sign: B moves 16 times the warm rate."""
    trainer = build(LoraPlus(), rate=1e-3, weight_decay=0.0, warmup=0.0)
    before = {n: p.detach().clone() for n, p in trainer.encoder.trainable()}
    trainer.step(0, np.arange(8))
    for name, parameter in trainer.encoder.trainable():
        largest = (parameter - before[name]).abs().max().item()
        if "lora_A" not in name:  # its first gradient is zero, as B is
            assert largest == pytest.approx(16e-3 if "lora_B" in name else 1e-3, rel=0.05), name


@pytest.mark.parametrize(
    "method", [kind(target=ROLES) for kind in (Lora, Dora, LoraPlus, AdaLora)], ids=lambda m: m.name
)
@pytest.mark.parametrize("family", FAMILIES)
def test_merged_is_the_same_function_and_unmerging_exact(family: str, method: Any, tiny_model: Tiny) -> None:
    """With large changes in every linear layer, on a padded batch."""
    tuned = load(tiny_model, family)
    tuned.model.eval()
    method.inject(tuned, 0)
    stir(tuned, 0.1)
    batch = tuned.tokenizer(["good film", "the plot was not very good"], padding=True, return_tensors="pt")
    layers = dict(low_rank_layers(tuned))
    assert layers and all(isinstance(layer, LowRankLinear) for layer in layers.values())
    originals = {name: layer.weight.clone() for name, layer in layers.items()}
    with torch.no_grad():
        wanted = tuned.model(**batch).logits
        method.merge(tuned)
        method.merge(tuned)  # twice is once
        torch.testing.assert_close(tuned.model(**batch).logits, wanted, rtol=0, atol=1e-5)
        for name, layer in layers.items():
            assert not torch.allclose(layer.weight, originals[name], atol=1e-3)
        method.unmerge(tuned)
        assert torch.equal(tuned.model(**batch).logits, wanted)
    for name, layer in layers.items():
        assert torch.equal(layer.weight, originals[name])


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (LoraPlus(ratio=0.0), "ratio = 0.0: expected a number above 0"),
        (LoraPlus(ratio=math.inf), "ratio = inf: expected a number above 0"),
        (Dora(rank=0), "rank = 0: expected a whole number of at least 1"),
        (Dora(rank=33), "rank = 33: larger than the layers (32 wide)"),
        (Dora(alpha=0.0), "alpha = 0.0: expected a number above 0"),
        (Dora(dropout=1.0), "dropout = 1.0: expected 0 <= dropout < 1"),
        (Dora(target=()), "target = []: expected at least one"),
    ],
    ids=repr,
)
def test_a_wrong_setting_is_one_line(method: Method, said: str, tiny_model: Tiny) -> None:
    (line,) = method.problems(load(tiny_model))
    assert line.startswith(said)
