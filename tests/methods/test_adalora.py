"""AdaLoRA against PEFT's: the change, the regulariser, which ranks go; and what a run with it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoderlab.adapters import folder as adapters
from encoderlab.core.errors import InputError
from encoderlab.engine.batches import collate, epoch_batches
from encoderlab.engine.logits import logits
from encoderlab.methods.adalora import AdaLora, AdaLoraLinear
from encoderlab.methods.low_rank import low_rank_layers
from encoderlab.model import load as model_load
from encoderlab.model.encoder import EncoderModel
from encoderlab.training import checkpoint
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train
from fixtures_training import CLASSES, CPU, TASK, rows, without_dropout

METHOD = AdaLora(rank=2, initial_rank=4, alpha=8, target=("query", "value", "ffn_in"), warmup=0.2, interval=2)
STEPS = 20  # of 4 epochs of 40 rows in batches of 8: the first rank may go after step 4, the last at step 14

Tiny = Callable[[str], Path]
Build = Callable[..., Trainer]


def load(tiny_model: Tiny, seed: int = 0) -> EncoderModel:
    return model_load.load(str(tiny_model("bert")), head=TASK.head, class_names=CLASSES, seed=seed)


@pytest.fixture
def build(tiny_model: Tiny, tmp_path: Path) -> Build:
    def make(
        method: AdaLora = METHOD, *, folder: str = "run", still: bool = False, clip: float = 1.0, **changes: Any
    ) -> Trainer:
        encoder = load(tiny_model)
        method.inject(encoder, 0)
        if still:
            without_dropout(encoder.model)
        encode = lambda r: TASK.tokenize(r, encoder.tokenizer, 64, CLASSES)  # noqa: E731
        keywords: dict[str, Any] = {"learning_rate": 3e-2, "dtype": torch.float32} | changes
        return Trainer(
            encoder=encoder,
            method=method,
            task=TASK,
            train=encode(rows(40, 1)),
            validation=encode(rows(16, 2)),
            class_names=CLASSES,
            settings=Train(epochs=4, batch_size=8, clip=clip),
            seed=0,
            device=CPU,
            folder=tmp_path / folder,
            **keywords,
        )

    return make


def layers(encoder: EncoderModel) -> dict[str, AdaLoraLinear]:
    return {path: layer for path, layer in low_rank_layers(encoder) if isinstance(layer, AdaLoraLinear)}


def peft_twin(ours: EncoderModel, tiny_model: Tiny) -> Any:
    from peft import AdaLoraConfig, get_peft_model

    model = load(tiny_model).model
    without_dropout(model)
    config = AdaLoraConfig(
        init_r=4,
        target_r=2,
        lora_alpha=8,
        tinit=4,
        tfinal=6,
        deltaT=2,
        total_step=STEPS,
        orth_reg_weight=0.5,
        target_modules=["query", "value", "intermediate.dense"],
        modules_to_save=["classifier"],
    )
    theirs: Any = get_peft_model(model, config)
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            mine = name.removeprefix("base_model.model.").replace("modules_to_save.default.", "")
            parameter.data.copy_(ours.model.get_parameter(mine.replace(".default", "")).data)
    return theirs


def theirs_of(theirs: Any, path: str) -> Any:
    return theirs.base_model.model.bert.get_submodule(path)


def test_change_logits_and_regulariser_are_pefts(build: Build, tiny_model: Tiny) -> None:
    ours = build(still=True)
    generator = torch.Generator().manual_seed(2)
    for layer in layers(ours.encoder).values():
        layer.lora_E.data.normal_(generator=generator)
        layer.lora_A.data.normal_(std=0.5, generator=generator)
    theirs = peft_twin(ours.encoder, tiny_model)
    for path, layer in layers(ours.encoder).items():
        wanted = theirs_of(theirs, path).get_delta_weight("default")
        torch.testing.assert_close(layer.delta(), wanted)
        assert wanted.abs().max() > 1e-3
    batch = collate(ours.train, np.arange(8), ours.pad_id, CPU)
    target = torch.from_numpy(ours.train.labels[:8])
    with torch.no_grad():
        out = theirs.base_model(**batch, labels=target)
        torch.testing.assert_close(ours.model(**batch), out.logits, rtol=0, atol=1e-6)
        wanted = out.loss - nn.functional.cross_entropy(out.logits, target)
    found = METHOD.regulariser(ours.encoder)
    assert found is not None and wanted > 0.1
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-5, atol=0)
    assert replace(METHOD, orthogonality=0.0).regulariser(ours.encoder) is None


def test_the_same_ranks_go_as_with_pefts_allocator(build: Build, tiny_model: Tiny) -> None:
    """A whole run on the same rows: every loss, and after every step which ranks are zero."""
    ours = build(still=True, clip=1e9)
    theirs = peft_twin(ours.encoder, tiny_model)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    theirs.train()
    left = []
    for step, chosen in enumerate(c for epoch in range(1, 5) for c in epoch_batches(40, 8, 0, epoch)):
        loss, _ = ours.step(step, chosen)
        batch, target = collate(ours.train, chosen, ours.pad_id, CPU), torch.from_numpy(ours.train.labels[chosen])
        out = theirs.base_model(**batch, labels=target)  # which adds the regulariser; PeftModel alone does not
        assert loss == pytest.approx(nn.functional.cross_entropy(out.logits, target).item(), abs=1e-5), step
        out.loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = ours.rate(step)
        optimizer.step()
        theirs.base_model.update_and_allocate(step + 1)
        optimizer.zero_grad()
        zero = {path: layer.lora_E.view(-1) == 0 for path, layer in layers(ours.encoder).items()}
        for path, found in zero.items():
            assert torch.equal(found, theirs_of(theirs, path).lora_E["default"].view(-1) == 0), (step, path)
        left.append(sum(int((~found).sum()) for found in zero.values()))
    assert left[3] == 6 * 4 and left[13:] == [6 * 2] * 7
    assert 6 * 2 < left[7] < 6 * 4  # and something went on the way
    widths = {int(layer.in_use.sum()) for layer in layers(ours.encoder).values()}
    assert len(widths) > 1  # the budget is not spread evenly: that is the method's point


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("final", [0.0, 0.3, 0.5, 0.99])
def test_every_run_has_a_schedule(warmup: float, final: float) -> None:
    method = replace(METHOD, warmup=warmup, final=final)
    for steps in range(1, 80):
        start, end = method.phase(steps)
        assert 0 <= start < end <= steps
        budgets = [method.budget(step, steps, 3) for step in range(steps + 1)]
        assert budgets == sorted(budgets, reverse=True)
        assert budgets[start] == 12 and set(budgets[end:]) == {6}
        assert [method.can_be_best(step, steps) for step in range(steps + 1)] == [
            step >= end for step in range(steps + 1)
        ]


def test_the_budget_is_pefts(build: Build, tiny_model: Tiny) -> None:
    theirs = peft_twin(build().encoder, tiny_model).base_model.rankallocator
    for step in range(1, STEPS + 1):
        assert METHOD.budget(step, STEPS, 6) == theirs.budget_schedule(step)[0], step


def test_equal_scores_leave_exactly_the_budget(build: Build) -> None:
    """A threshold on the scores would drop every rank here."""
    encoder = build().encoder
    for _, parameter in encoder.trainable():
        parameter.grad = torch.zeros_like(parameter)
    for layer in layers(encoder).values():
        layer.lora_E.data.fill_(1.0)
    for step in range(1, STEPS + 1):
        METHOD.after_step(encoder, step, STEPS)
    assert sum(int((layer.lora_E != 0).sum()) for layer in layers(encoder).values()) == 6 * 2


def test_a_run_ends_with_fewer_ranks_and_reloads_to_the_same_function(
    build: Build, tiny_model: Tiny, tmp_path: Path
) -> None:
    trainer = build()
    began = {name: tensor.shape for name, tensor in adapters.adapter_tensors(trainer.encoder).items()}
    trained = trainer.run()
    assert METHOD.can_be_best(5 * trained.best_epoch, STEPS)  # 5 steps an epoch
    ranks = {n.removesuffix(".lora_E"): len(t) for n, t in trained.tensors.items() if n.endswith("lora_E")}
    assert sum(ranks.values()) == 6 * 2 < sum(shape[0] for n, shape in began.items() if n.endswith("lora_E"))
    for path, rank in ranks.items():
        assert trained.tensors[f"{path}.lora_A"].shape == (rank, 32)
        assert trained.tensors[f"{path}.lora_B"].shape[1] == rank

    show = lambda model: logits(  # noqa: E731
        model, trainer.task, trainer.validation, pad_id=trainer.pad_id, budget=10**6, device=CPU
    )
    progress, _ = checkpoint.read(tmp_path / "run" / "checkpoint")
    whole = checkpoint.best(tmp_path / "run" / "checkpoint", progress)
    adapters.fill(trainer.encoder, METHOD, whole, "untrimmed")
    wanted = show(trainer.model)

    adapters.save(trainer.encoder, METHOD, trained.tensors, tmp_path / "adapter")
    found = []
    for seed in (3, 4):
        encoder = load(tiny_model, seed)
        method = adapters.load_adapter(encoder, tmp_path / "adapter")
        assert {p: len(layer.lora_E) for p, layer in layers(encoder).items()} == ranks
        found.append(show(type(trainer.model)(encoder, torch.float32, CPU)))
        method.merge(encoder)
        np.testing.assert_allclose(show(type(trainer.model)(encoder, torch.float32, CPU)), wanted, atol=1e-5)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
    assert np.abs(wanted - show(type(trainer.model)(load(tiny_model), torch.float32, CPU))).max() > 1e-3


@pytest.mark.parametrize("killed", [7, 13, 18], ids=["at first", "while ranks go", "after the last"])
def test_a_resumed_run_equals_the_undisturbed_one_to_the_bit(killed: int, build: Build) -> None:
    class Killed(BaseException):
        pass

    def kill(tokens: int, loss: float | None) -> None:
        if loss is not None:
            steps.append(loss)
        if len(steps) == killed:
            raise Killed

    steps: list[float] = []
    whole = build(folder="whole")
    wanted = whole.run()
    with pytest.raises(Killed):
        build(folder="cut", on_progress=kill).run()
    again = build(folder="cut")
    got = again.run()
    assert got.best_epoch == wanted.best_epoch and got.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        assert torch.equal(tensor, got.tensors[name]), name
    memory, other = METHOD.state(whole.encoder), METHOD.state(again.encoder)
    assert len(memory) == 6 * 7 and any(bool(t.any()) for t in memory.values())
    for name, tensor in memory.items():
        assert torch.equal(tensor, other[name]), name


def test_patience_waits_until_the_last_rank_went(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch scores worse than the one before; of 40 steps the last rank goes at step 28, in the sixth epoch."""
    calls: list[int] = []
    worse = lambda self: calls.append(1) or {"accuracy": 1.0 / len(calls), "loss": 1.0}  # noqa: E731
    # A private name: no real training gets worse in every epoch without fail.
    monkeypatch.setattr(Trainer, "_validate", worse)
    trainer = build()
    trainer.settings = Train(epochs=8, batch_size=8, patience=1)
    trained = trainer.run()
    assert (trained.best_epoch, trained.epochs) == (6, 7)


def test_a_layer_that_lost_every_rank_is_the_pretrained_one(tiny_model: Tiny, tmp_path: Path) -> None:
    tuned = load(tiny_model)
    METHOD.inject(tuned, 0)
    generator = torch.Generator().manual_seed(2)
    for i, layer in enumerate(layers(tuned).values()):
        layer.lora_E.data.normal_(generator=generator).mul_(torch.arange(4)[:, None] < i)
    tensors = METHOD.trimmed(adapters.adapter_tensors(tuned))
    adapters.save(tuned, METHOD, tensors, tmp_path)
    loaded = load(tiny_model, seed=1)
    adapters.load_adapter(loaded, tmp_path)
    assert [len(layer.lora_E) for layer in layers(loaded).values()] == [0, 1, 2, 3, 4, 4]
    x = torch.randn(2, 32, generator=generator)
    first = next(iter(layers(loaded).values()))
    torch.testing.assert_close(first(x), nn.functional.linear(x, first.weight, first.bias), rtol=0, atol=0)
    batch = tuned.tokenizer(["good film", "the plot was not very good"], padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = tuned.model.eval()(**batch).logits
        torch.testing.assert_close(loaded.model.eval()(**batch).logits, wanted, rtol=0, atol=1e-6)
        METHOD.merge(loaded)
        torch.testing.assert_close(loaded.model(**batch).logits, wanted, rtol=0, atol=1e-5)


def test_a_file_with_more_ranks_than_the_method_began_with_is_refused(tiny_model: Tiny) -> None:
    small, large = load(tiny_model), load(tiny_model)
    METHOD.inject(small, 0)
    replace(METHOD, initial_rank=6).inject(large, 0)
    with pytest.raises(InputError, match="of another shape"):
        adapters.fill(small, METHOD, adapters.adapter_tensors(large), "file")


def test_bf16_keeps_parameters_and_memory_in_fp32(build: Build) -> None:
    exact, half = build(still=True), build(still=True, dtype=torch.bfloat16, learning_rate=3e-3)
    exact.learning_rate = 3e-3
    for step, chosen in enumerate(epoch_batches(40, 8, 0, 1)):
        assert half.step(step, chosen)[0] == pytest.approx(exact.step(step, chosen)[0], abs=0.02)
    kinds: set[torch.dtype] = {t.dtype for t in METHOD.state(half.encoder).values()}
    assert kinds == {torch.float32, torch.bool}
    assert all(p.dtype == torch.float32 for _, p in half.encoder.trainable())
    scores: list[Tensor] = [layer.scores() for layer in layers(half.encoder).values()]
    assert all((score > 0).all() for score in scores)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (AdaLora(rank=4, initial_rank=4), "initial_rank = 4: expected more than rank = 4"),
        (AdaLora(rank=22), "rank = 33: larger than the layers (32 wide)"),
        (AdaLora(warmup=0.5, final=0.5), "warmup = 0.5, final = 0.5: expected two shares"),
        (AdaLora(warmup=-0.1), "warmup = -0.1, final = 0.3: expected two shares"),
        (AdaLora(interval=0), "interval = 0: expected at least 1 step"),
        (AdaLora(beta1=1.0), "beta1 = 1.0: expected a number between 0 and 1"),
        (AdaLora(orthogonality=-1.0), "orthogonality = -1.0: expected a number from 0 up"),
        (AdaLora(rank=0), "rank = 0: expected a whole number of at least 1"),
    ],
    ids=repr,
)
def test_a_wrong_setting_is_one_line(method: AdaLora, said: str, tiny_model: Tiny) -> None:
    (line,) = method.problems(load(tiny_model))
    assert line.startswith(said)
