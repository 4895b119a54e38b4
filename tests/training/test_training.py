"""The loop against independent ways to the same numbers: PEFT's LoRA, the padded batch, the run that nobody killed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoderlab.core.errors import RunFailed
from encoderlab.core.rng import derive
from encoderlab.engine.batches import GROUP_COST, collate, epoch_batches, micro_batches
from encoderlab.engine.device import _bf16_speed_up, choose_precision
from encoderlab.engine.logits import logits
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.model import load
from encoderlab.model.dropout import Dropout, DropoutRNG
from encoderlab.model.families import FAMILIES
from encoderlab.tasks.classification import Classification
from encoderlab.training.settings import Train
from fixtures_training import CLASSES, CPU, TASK, Build, build  # noqa: F401  (a fixture)

EACH: list[Method] = [Full(), Head(), Lora(dropout=0.1), Adapter(), Adapter(placement="houlsby"), Prefix()]


def test_lora_trains_as_peft_does(build: Build, tiny_model: Callable[[str], Path]) -> None:
    """Same A, B and rows, fp32, no dropout: the losses of 20 steps agree to 1e-5."""
    from peft import LoraConfig, get_peft_model

    ours = build(Lora(rank=4, alpha=8), dropout=False, settings=Train(epochs=4, batch_size=8, clip=1e9))
    model = load.load(str(tiny_model("bert")), head=TASK.head, class_names=CLASSES, seed=0).model
    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["query", "value"], modules_to_save=["classifier"]
    )
    theirs: Any = get_peft_model(model, config)
    for name, parameter in theirs.named_parameters():
        if ".default." not in name:
            assert not parameter.requires_grad
            continue
        mine = ours.encoder.model.get_parameter(
            name.removeprefix("base_model.model.").replace("modules_to_save.default.", "").replace(".default", "")
        )
        parameter.data.copy_(mine.data)
    trained = [(n, p) for n, p in theirs.named_parameters() if p.requires_grad]
    assert sum(p.numel() for _, p in trained) == sum(p.numel() for _, p in ours.encoder.trainable())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for _, p in trained if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for _, p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    theirs.train()
    step = 0
    for epoch in range(1, 5):
        for chosen in epoch_batches(40, 8, 0, epoch):
            loss, _ = ours.step(step, chosen)
            batch = collate(ours.train, chosen, ours.pad_id, CPU)
            target = torch.from_numpy(ours.train.labels[chosen])
            other = torch.nn.functional.cross_entropy(theirs(**batch).logits, target)
            optimizer.zero_grad()
            other.backward()
            for group in optimizer.param_groups:
                group["lr"] = ours.rate(step)
            optimizer.step()
            assert loss == pytest.approx(other.item(), abs=1e-5), step
            step += 1
    assert step == 20


@pytest.mark.parametrize("method", EACH, ids=lambda m: m.name)
def test_micro_batches_have_the_padded_batchs_gradient(method: Method, build: Build) -> None:
    settings = Train(epochs=1, batch_size=24, weight_decay=0.0, clip=1e9, token_budget=48)
    chosen = np.arange(24)
    gradients = []
    for budget in (48, 10**6):
        trainer = build(method, dropout=False, settings=replace(settings, token_budget=budget))
        groups = micro_batches(trainer.lengths, chosen, budget)
        assert len(groups) > 8 if budget == 48 else len(groups) < 4
        trainer.optimizer.step = lambda: None  # type: ignore[assignment]
        trainer.optimizer.zero_grad = lambda: None  # type: ignore[assignment]
        trainer.step(0, chosen)
        gradients.append({name: p.grad for name, p in trainer.encoder.trainable()})
    padded = build(method, dropout=False, settings=settings)
    padded.model.train()
    scores = padded.model(**collate(padded.train, chosen, padded.pad_id, CPU))
    torch.nn.functional.cross_entropy(scores, torch.from_numpy(padded.train.labels[chosen])).backward()
    for name, parameter in padded.encoder.trainable():
        for found in gradients:
            torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-6, msg=name)


def test_micro_batches_cover_every_row_once_and_are_the_cheapest_cut() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        lengths = rng.integers(1, 60, size=20)
        chosen = rng.permutation(20)[:7]
        groups = micro_batches(lengths, chosen, 90)
        assert sorted(np.concatenate(groups)) == sorted(chosen)
        cost = lambda g, lengths=lengths: len(g) * lengths[g].max() + GROUP_COST  # noqa: E731
        assert all(len(g) == 1 or len(g) * lengths[g].max() <= 90 for g in groups)
        ordered = chosen[np.argsort(-lengths[chosen], kind="stable")]
        cheapest = math.inf
        for cuts in range(2**6):  # every way to cut seven rows
            parts = np.split(ordered, [i + 1 for i in range(6) if cuts >> i & 1])
            if all(len(g) == 1 or len(g) * lengths[g].max() <= 90 for g in parts):
                cheapest = min(cheapest, sum(map(cost, parts)))
        assert sum(map(cost, groups)) == cheapest


def test_one_batch_padded_or_alone_gives_the_same_logits(build: Build) -> None:
    for family in FAMILIES:
        trainer = build(Prefix(length=2), family=family)
        together = logits(trainer.model, trainer.task, trainer.train, pad_id=trainer.pad_id, budget=10**6, device=CPU)
        alone = logits(trainer.model, trainer.task, trainer.train, pad_id=trainer.pad_id, budget=1, device=CPU)
        np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("method", [Full(), Lora(dropout=0.1), Adapter()], ids=lambda m: m.name)
def test_a_run_that_goes_on_from_its_checkpoint_equals_the_undisturbed_one(
    method: Method, build: Build, tmp_path: Path
) -> None:
    """Killed in the middle of the third epoch: the same tensors, history and log, to the bit."""
    settings = Train(epochs=4, batch_size=8)
    whole = build(method, folder="whole", settings=settings)
    wanted = whole.run()

    class Killed(BaseException):
        pass

    def kill(tokens: int, loss: float | None) -> None:
        steps.append(loss)
        if len([s for s in steps if s is not None]) == 13:
            raise Killed

    steps: list[float | None] = []
    with pytest.raises(Killed):
        build(method, folder="cut", settings=settings, on_progress=kill).run()
    again = build(method, folder="cut", settings=settings)
    torch.manual_seed(99)  # whatever else the process does with the global generator
    got = again.run()
    assert got.best_epoch == wanted.best_epoch and got.steps == wanted.steps == 20
    for name, tensor in wanted.tensors.items():
        assert torch.equal(tensor, got.tensors[name]), name
    clean = lambda h: [{k: v for k, v in e.items() if k != "seconds"} for e in h]  # noqa: E731
    assert clean(map(asdict, got.history)) == clean(map(asdict, wanted.history))
    logs = [
        [json.loads(x) for x in (tmp_path / f / "metrics.jsonl").read_text().splitlines()] for f in ("whole", "cut")
    ]
    assert clean(logs[0]) == clean(logs[1])


def test_the_best_epoch_is_what_a_run_gives_and_patience_stops_it(build: Build) -> None:
    trainer = build(Lora(), settings=Train(epochs=12, batch_size=8, patience=2), learning_rate=3e-2)
    trained = trainer.run()
    scores = [(e.validation["accuracy"], -e.validation["loss"]) for e in trained.history]
    assert trained.best_epoch == 1 + scores.index(max(scores))
    assert trained.epochs == len(scores) and (trained.epochs == 12 or trained.epochs - trained.best_epoch == 2)
    fresh = build(Lora(), folder="other")
    from encoderlab.adapters.folder import fill

    fill(fresh.encoder, Lora(), trained.tensors, "the best epoch")
    again = fresh._validate()
    assert again["accuracy"] == scores[trained.best_epoch - 1][0]
    assert again["loss"] == -scores[trained.best_epoch - 1][1]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_best(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(Full(), settings=Train(epochs=3, batch_size=8))
    original, calls = Classification.losses, []

    def overflowing(self: Classification, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return original(self, scores, labels) * (math.inf if len(calls) > 12 else 1.0)

    monkeypatch.setattr(Classification, "losses", overflowing)
    with pytest.raises(RunFailed, match=r"not finite at step \d+ of 15.*smaller learning rate"):
        trainer.run()
    kept = trainer.best()
    assert kept is not None and all(torch.isfinite(t).all() for t in kept.values())


def test_learning_rate_rises_and_falls_in_straight_lines(build: Build) -> None:
    trainer = build(Lora(), settings=Train(epochs=4, batch_size=4, warmup=0.25), learning_rate=1.0)
    rates = [trainer.rate(step) for step in range(trainer.total_steps)]
    assert trainer.total_steps == 40
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:], np.arange(30, 0, -1) / 30)


def test_dropout_is_exact_in_distribution_and_comes_from_its_place_in_the_run() -> None:
    like = torch.empty(1000, 1003)
    for dtype in (torch.float32, torch.bfloat16):
        mask = DropoutRNG(3, 5, 1).mask(like.to(dtype), 0.1)
        assert mask.dtype == dtype and mask.shape == like.shape
        dropped, scale = (mask == 0).float().mean().item(), mask.max().item()
        p = round(0.1 * 256) / 256
        assert abs(dropped - p) < 5 * math.sqrt(p * (1 - p) / like.numel())
        assert scale == pytest.approx(1 / (1 - p), rel=2**-8 if dtype == torch.bfloat16 else 1e-6)
        assert set(mask.unique().tolist()) == {0.0, scale}
    rng = DropoutRNG(3, 5, 1)
    again = rng.mask(like.to(torch.bfloat16), 0.1)
    assert torch.equal(mask, again)
    assert not torch.equal(mask, rng.mask(like.to(torch.bfloat16), 0.1))  # it draws on
    assert not torch.equal(mask, DropoutRNG(3, 5, 2).mask(like.to(torch.bfloat16), 0.1))
    rows_kept = (again != 0).float().mean(dim=1)  # no row or column is favoured
    assert (rows_kept - (1 - 26 / 256)).abs().max() < 6 * math.sqrt(0.1 * 0.9 / 1003)


def test_seeds_of_purposes_are_pinned() -> None:
    assert derive(0, "head") == derive(0, "head") != derive(0, "order")
    assert derive(0, "a", 1, 2) != derive(0, "a", 12)


def test_precision_is_chosen_by_device_and_says_why() -> None:
    dtype, why = choose_precision(CPU, "auto")
    fast = torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and _bf16_speed_up() > 2)
    assert dtype == (torch.bfloat16 if fast else torch.float32) and why
    assert choose_precision(CPU, "bf16") == (torch.bfloat16, "asked for")


def test_the_speed_of_bf16_is_measured_once_for_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The precision is in a run's id: a busy machine must not make the same command train everything again."""
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path))
    found = _bf16_speed_up.__wrapped__()
    monkeypatch.setattr(torch, "mm", lambda a, b: pytest.fail("measured again"))
    assert _bf16_speed_up.__wrapped__() == found > 0
    (tmp_path / "bf16-speed-up.json").write_text("{")
    monkeypatch.undo()
    monkeypatch.setenv("ENCODERLAB_CACHE", str(tmp_path))
    assert _bf16_speed_up.__wrapped__() > 0


@pytest.mark.parametrize("method", EACH, ids=lambda m: m.name)
def test_bf16_trains_fp32_parameters_and_an_fp32_head(method: Method, build: Build) -> None:
    exact = build(method, dropout=False, folder="fp32", learning_rate=1e-3)
    trainer = build(method, dropout=False, folder="bf16", learning_rate=1e-3, dtype=torch.bfloat16)
    assert all(p.dtype == torch.float32 for _, p in trainer.encoder.trainable())
    frozen = [p for n, p in trainer.encoder.model.named_parameters() if not p.requires_grad]
    assert all(p.dtype == torch.bfloat16 for p in frozen)
    chosen = epoch_batches(40, 8, 0, 1)
    for step, batch in enumerate(chosen):
        loss, _ = trainer.step(step, batch)
        assert loss == pytest.approx(exact.step(step, batch)[0], abs=0.02)
