"""Frozen leading layers from the cache, against running them each time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoderlab.data.rows import Rows
from encoderlab.engine import state_cache, tuned_model
from encoderlab.engine.frozen_layers import frozen_layers
from encoderlab.engine.state_cache import StateCache
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.bitfit import BitFit
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.qlora import Qlora
from encoderlab.model import load
from encoderlab.model.dropout import Dropout
from encoderlab.tasks.classification import Classification
from encoderlab.training.checkpoint import Progress
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train
from fixtures_cells import cells

CPU = torch.device("cpu")
TASK = Classification()
CLASSES = ["no", "yes"]
WORDS = "good bad film the a was not very plot acting and".split()
LAST: list[Method] = [Head(), Lora(rank=2, layers="last"), Adapter(layers="last"), Prefix(length=3, layers="last")]
FAMILIES = ["bert", "roberta", "distilbert", "electra", "albert", "modernbert"]


def rows(count: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 30))) for _ in range(count)]
    labels = ["yes" if t.split().count("good") > t.split().count("bad") else "no" for t in texts]
    return Rows({"text": texts, "label": labels}, "made", np.arange(count))


@pytest.fixture
def build(tiny_model: Callable[[str], Path], tmp_path: Path) -> Callable[..., Trainer]:
    def make(method: Method, family: str, folder: str, cache: StateCache | None, **changes: Any) -> Trainer:
        given: dict[str, Any] = {"dtype": torch.float32, "seed": 0} | changes
        model = given.pop("model", None) or tiny_model(family)
        encoder = load.load(str(model), head=TASK.head, class_names=CLASSES, seed=given["seed"])
        method.inject(encoder, 0)
        train, validation = (TASK.tokenize(r, encoder.tokenizer, 64, CLASSES) for r in (rows(40, 1), rows(16, 2)))
        return Trainer(
            encoder=encoder, method=method, task=TASK, train=train, validation=validation, class_names=CLASSES,
            settings=Train(epochs=3, batch_size=8, max_length=64), learning_rate=1e-2, device=CPU,
            folder=tmp_path / folder, cache=cache, **given,
        )  # fmt: skip

    return make


@pytest.mark.parametrize(("family", "method"), cells(FAMILIES, LAST, each=1))
def test_a_run_with_the_cache_is_the_run_without(family: str, method: Method, build, tmp_path: Path) -> None:
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    cached, plain = build(method, family, "a", cache), build(method, family, "b", None)
    found, expected = cached.run(), plain.run()
    if family == "albert" and method.name != "head":  # its layers share their weights, so none is in front
        assert not list(tmp_path.glob("trunk/*.npy"))
    else:
        assert len(list(tmp_path.glob("trunk/*.npy"))) == 2 and cached.model.frozen.count in (1, 2)
    for one, other in zip(found.history, expected.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=2e-6)
        assert one.validation["loss"] == pytest.approx(other.validation["loss"], abs=2e-6)
    for name, tensor in found.tensors.items():
        torch.testing.assert_close(tensor, expected.tensors[name], rtol=0, atol=1e-4, msg=name)


def test_seeds_and_methods_share_what_is_kept(build, tmp_path: Path) -> None:
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    build(Lora(rank=2, layers="last"), "bert", "a", cache).run()
    made = {file: file.stat().st_ino for file in tmp_path.glob("trunk/*.npy")}
    build(Lora(rank=2, layers="last"), "bert", "b", cache, seed=1).run()
    build(Adapter(layers="last"), "bert", "c", cache).run()
    assert {file: file.stat().st_ino for file in tmp_path.glob("trunk/*.npy")} == made and len(made) == 2
    build(Head(), "bert", "d", cache).run()
    assert len(list(tmp_path.glob("trunk/*.npy"))) == 4


def test_frozen_layers_that_are_stored_otherwise_have_states_of_their_own(build, tmp_path: Path) -> None:
    """QLoRA quantises every layer, also those in front of the last: what they give is not what the base gives."""
    pytest.importorskip("bitsandbytes")
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    build(Lora(rank=2, layers="last"), "bert", "a", cache).run()
    found = build(Qlora(rank=2, layers="last"), "bert", "b", cache).run()
    assert len(list(tmp_path.glob("trunk/*.npy"))) == 4
    plain = build(Qlora(rank=2, layers="last"), "bert", "c", None).run()
    assert found.history[-1].train_loss == pytest.approx(plain.history[-1].train_loss, abs=2e-6)


def test_what_the_first_layers_train_is_never_kept(build, tmp_path: Path) -> None:
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    for method in (Full(), BitFit(), Lora(rank=2), Adapter(layers=(0,))):
        trainer = build(method, "bert", method.name, cache)
        assert frozen_layers(trainer.encoder) == 0
        trainer.run()
    assert not (tmp_path / "trunk").exists()


def test_a_budget_that_is_full_and_a_damaged_file_only_cost_time(build, tmp_path: Path) -> None:
    method = Head()
    expected = build(method, "bert", "a", None).run()
    small = StateCache(folder=tmp_path / "small", bytes=40 * 32 * 4 + 200)  # the training rows, not those of validation
    assert build(method, "bert", "b", small).run().history[-1].train_loss == pytest.approx(
        expected.history[-1].train_loss, abs=1e-6
    )
    assert len(list(tmp_path.glob("small/*.npy"))) == 1
    (damaged,) = tmp_path.glob("small/*.npy")
    damaged.write_bytes(damaged.read_bytes()[:100])
    build(method, "bert", "c", small).run()
    assert damaged.stat().st_size > 40 * 32 * 4


def test_files_of_earlier_commands_make_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, used in (("old", 10), ("older", 5), ("now", 100)):
        np.save(tmp_path / f"{name}.npy", np.zeros((100, 10), np.float32))
        (tmp_path / f"{name}.json").write_text('{"seconds": 1.0}')
        os.utime(tmp_path / f"{name}.npy", (used, used))
    size = (tmp_path / "now.npy").stat().st_size

    def room(files: float, **since: float) -> bool:
        return state_cache.room(StateCache(folder=tmp_path, bytes=int(files * size), **since), size)

    def there() -> list[str]:
        return sorted(path.name for path in tmp_path.iterdir())

    assert room(4, since=50) and len(there()) == 6
    assert not room(3) and len(there()) == 6 and caplog.text.count("train.trunk_cache is too small") == 1
    assert not room(0.5, since=50) and len(there()) == 6  # never, so nothing goes for it
    assert room(3, since=50)
    assert there() == ["now.json", "now.npy", "old.json", "old.npy"]
    assert state_cache.opened(tmp_path / "old.npy", (100, 10), torch.float32) is not None  # used again
    assert not room(2, since=50) and len(there()) == 4
    os.utime(tmp_path / "old.npy", (10, 10))
    assert room(2, since=50) and there() == ["now.json", "now.npy"]


def test_bf16_is_kept_as_it_is(build, tmp_path: Path) -> None:
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    method = Lora(rank=2, layers="last")
    cached = build(method, "bert", "a", cache, dtype=torch.bfloat16)
    cached._keep(Progress())
    plain = build(method, "bert", "b", None, dtype=torch.bfloat16)
    chosen = np.arange(8)
    with torch.no_grad():
        for trainer in (cached, plain):
            trainer.model.eval()
        assert torch.equal(cached.model.run(cached.train, chosen, 0, CPU), plain.model.run(plain.train, chosen, 0, CPU))


def test_a_full_disk_only_costs_time(build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has its room before anything is written: a hole that cannot be filled would kill the process."""
    expected = build(Head(), "bert", "a", None).run()

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    found = build(Head(), "bert", "b", cache).run()
    assert found.history[-1].train_loss == pytest.approx(expected.history[-1].train_loss, abs=1e-6)
    assert not list((tmp_path / "trunk").iterdir())


def test_the_time_of_the_states_counts_for_every_run(build, tmp_path: Path) -> None:
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    build(Head(), "bert", "a", cache).run()
    for file in tmp_path.glob("trunk/*.json"):
        file.write_text('{"seconds": 100}')
    trainer = build(Head(), "bert", "b", cache)
    assert 100 < trainer.run().seconds < 200  # those of the training rows, once
    assert 100 < trainer.run().seconds < 200  # gone on with from its checkpoint


def test_a_pooler_that_trains_is_no_part_of_what_is_frozen(
    build, tiny_masked_lm: Callable[[str], Path], tmp_path: Path
) -> None:
    """A masked-LM checkpoint has none, so each seed draws its own and trains it: what is in front is the same."""
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    model = tiny_masked_lm("bert")
    for seed in (0, 1):
        trainer = build(Head(), "bert", f"s{seed}", cache, model=model, seed=seed)
        assert any("pooler" in name for name, _ in trainer.encoder.trainable())
        before = trainer.model.frozen.fingerprint
        trainer.run()
        del trainer.model.frozen.__dict__["fingerprint"]
        assert trainer.model.frozen.fingerprint == before
    assert len(list(tmp_path.glob("trunk/*.npy"))) == 2


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2"])
def test_frozen_layers_rest_where_nothing_is_packed_too(family: str, build) -> None:
    model = build(Head(), family, "a", None).model.train()
    assert not model.packs and model.frozen.count == 0
    assert not any(module.training for module in model.frozen.modules)
    assert not [
        n for n, m in model.model.named_modules() if m.training and "Dropout" in type(m).__name__ and ".layer." in n
    ]


def test_dropout_is_off_in_front_and_on_behind(build) -> None:
    model = build(Lora(rank=2, layers="last"), "bert", "a", None).model.train()
    on = [name for name, module in model.model.named_modules() if isinstance(module, Dropout) and module.training]
    assert on and not any("layer.0." in name or "embeddings" in name for name in on)
    assert any("layer.1." in name for name in on)
    full = build(Full(), "bert", "b", None).model.train()
    assert all(module.training for module in full.model.modules())


def test_a_merged_model_takes_states_only_of_layers_that_did_not_change(build, tmp_path: Path) -> None:
    """Evaluation merges; what was in front of the change is still the base's."""
    cache = StateCache(folder=tmp_path / "trunk", bytes=10**9)
    trainer = build(Lora(rank=2, layers="last"), "bert", "a", cache)
    trained = trainer.run()
    made = set(tmp_path.glob("trunk/*.npy"))

    def scored(cache: StateCache | None, timed: bool = False) -> np.ndarray:
        loaded = tuned_model.assemble(
            model=trainer.encoder.name, task=TASK, method=trainer.method, class_names=CLASSES, seed=0,
            train={"max_length": 64, "token_budget": 500}, read=lambda _: trained.tensors, origin="a", device=CPU,
            dtype=torch.float32,
        )  # fmt: skip
        found = tuned_model.logits(loaded, trainer.validation, cache=cache)
        assert bool(loaded.model.frozen.kept) == (cache is not None)
        if timed:  # what inference takes is told by a pass that runs every layer
            ran: list[int] = []
            loaded.encoder.part(0, "attention.self").register_forward_hook(lambda *_: ran.append(1))
            tuned_model.logits(loaded, trainer.validation, cache=cache)
            assert not ran
            assert (tuned_model.seconds_without_cache(loaded, trainer.validation) or 0) > 0
            assert ran and loaded.model.frozen.kept
        else:
            assert cache is not None or tuned_model.seconds_without_cache(loaded, trainer.validation) is None
        return found

    np.testing.assert_allclose(scored(cache), scored(None), atol=1e-6)
    scored(cache, timed=True)
    assert set(tmp_path.glob("trunk/*.npy")) == made
