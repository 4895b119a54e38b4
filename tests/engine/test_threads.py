"""Two threads that run one model at the same time get, bit for bit, what each of them gets alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from encoderlab.adapters.folder import adapter_tensors
from encoderlab.adapters.tensor_names import our_name
from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine import tuned_model
from encoderlab.engine.runner import ModelRunner
from encoderlab.engine.state_cache import StateCache
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.head import Head
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model import load
from encoderlab.model.dropout import DropoutRNG
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.tasks.regression import Regression

CPU = torch.device("cpu")
WORDS = "good bad film the a was not very plot acting and".split()
BATCHES, ROWS = 20, 24
PAD = 0  # behind the mask any token will do
CASES: list[tuple[str, Method]] = [
    ("bert", Lora(rank=2, dropout=0.1)),
    ("bert", Prefix(length=3)),
    ("bert", Full()),
    ("bert", Adapter(placement="parallel")),
    ("bert", Ia3()),
    ("bert", Prompt(length=3)),  # padded, as the three below
    ("bert", Prefix(length=3, shift_positions=True)),
    ("mpnet", Prefix(length=3)),
    ("deberta-v2", Lora(rank=2, dropout=0.1)),
    ("distilbert", Lora(rank=2, dropout=0.1)),
    ("albert", Prefix(length=3)),
    ("modernbert", Lora(rank=2, dropout=0.1)),
]
Pass = Callable[[int], Tensor]


@pytest.fixture
def often() -> Iterator[None]:
    """Let the interpreter change threads as often as it can, where threads do not wait for each other."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def texts(count: int, seed: int, shortest: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(shortest, 40))) for _ in range(count)]


def split(task: Task, columns: dict[str, list[Any]], tokenizer: Any, names: list[str]) -> TokenizedRows:
    rows = Rows(columns, "made", np.arange(len(next(iter(columns.values())))))
    return task.tokenize(task.prepare(rows, labelled=True), tokenizer, 48, names)


def tuned(folder: Path, task: Task, names: list[str], method: Method) -> EncoderModel:
    """A model with trained numbers: a change that starts at zero would show nothing."""
    encoder = load.load(str(folder), head=task.head, class_names=names, seed=0)
    method.inject(encoder, 0)
    generator = torch.Generator().manual_seed(0)
    for _, parameter in encoder.trainable():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return encoder


def classified(folder: Path, method: Method) -> tuple[EncoderModel, TokenizedRows]:
    encoder = tuned(folder, Classification(), ["no", "yes"], method)
    columns = {"text": texts(ROWS, 0), "label": ["no", "yes"] * (ROWS // 2)}
    return encoder, split(Classification(), columns, encoder.tokenizer, ["no", "yes"])


def batches(seed: int) -> list[np.ndarray]:
    """Rows of passes with different numbers of rows and lengths, so with different layouts."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(ROWS)[: rng.integers(1, 9)] for _ in range(BATCHES)]


def meetings(encoder: EncoderModel) -> list[torch.nn.Module]:
    """Every layer's attention, and the end of its feed-forward network."""
    ends = [layer.get_submodule(encoder.family.ffn_out) for layer in encoder.layers()]
    return [*encoder.attentions(), *ends]


def meet_in(modules: Sequence[torch.nn.Module]) -> list[Any]:
    """Let two threads wait for each other in front of these modules and behind them: so both are inside a pass."""
    barrier = Barrier(2, timeout=30)

    def wait(*_: Any) -> None:
        barrier.wait()

    return [
        handle
        for module in modules
        for handle in (module.register_forward_pre_hook(wait), module.register_forward_hook(wait))
    ]


def compare(one: Pass, other: Pass, meetings: Sequence[torch.nn.Module] = ()) -> None:
    """Run both for every batch, first at the same time, then one after the other."""

    def all_of(run: Pass) -> list[Tensor]:
        return [run(number) for number in range(BATCHES)]

    handles = meet_in(meetings)
    with ThreadPoolExecutor(2) as pool:
        together = [future.result() for future in [pool.submit(all_of, run) for run in (one, other)]]
    for handle in handles:
        handle.remove()
    for found, alone in zip(together, [all_of(one), all_of(other)], strict=True):
        for number, (got, wanted) in enumerate(zip(found, alone, strict=True)):
            assert torch.equal(got, wanted), number


def dropping(model: ModelRunner, tokenized: TokenizedRows, seed: int) -> Pass:
    """Passes of training: dropout, and the attention whose gradient is written out."""
    rows = batches(seed)
    return lambda number: model.run(tokenized, rows[number], PAD, CPU, rng=DropoutRNG(seed, number)).detach()


def scoring(model: ModelRunner, tokenized: TokenizedRows, seed: int, cached: bool = True) -> Pass:
    """Passes without dropout and without gradients."""
    rows = batches(seed)

    def run(number: int) -> Tensor:
        with torch.no_grad():
            return model.run(tokenized, rows[number], PAD, CPU, cached=cached)

    return run


@pytest.mark.parametrize(("family", "method"), CASES, ids=[f"{family}-{method.name}" for family, method in CASES])
def test_one_with_dropout_and_one_without(family: str, method: Method, tiny_model: Callable[[str], Path]) -> None:
    encoder, tokenized = classified(tiny_model(family), method)
    model = ModelRunner(encoder, torch.float32, CPU).train()
    assert model.packs == (encoder.family.packs and method.packs)
    compare(dropping(model, tokenized, 1), scoring(model, tokenized, 2), meetings(encoder))
    one, again = (model.run(tokenized, np.arange(3), PAD, CPU, rng=DropoutRNG(0, step)) for step in range(2))
    assert not torch.equal(one, again)  # dropout is on


@pytest.mark.parametrize("method", [Lora(rank=2, dropout=0.1), Prompt(length=3)], ids=lambda method: method.name)
def test_each_with_dropout_of_its_own(method: Method, tiny_model: Callable[[str], Path]) -> None:
    encoder, tokenized = classified(tiny_model("bert"), method)
    model = ModelRunner(encoder, torch.float32, CPU).train()
    compare(dropping(model, tokenized, 1), dropping(model, tokenized, 2), meetings(encoder))


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("method", [Head(), Lora(rank=2, layers="last", dropout=0.1)], ids=lambda m: m.name)
def test_states_of_frozen_layers(method: Method, tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """They stand in for the layers in one thread, while the other one runs the layers."""
    encoder, tokenized = classified(tiny_model("bert"), method)
    model = ModelRunner(encoder, torch.float32, CPU)
    model.keep(tokenized, StateCache(folder=tmp_path, bytes=10**9), PAD, 500, CPU)
    assert model.frozen.kept
    model.train()
    compare(dropping(model, tokenized, 1), scoring(model, tokenized, 2, cached=False))


def test_masked_tokens(tiny_masked_lm: Callable[[str], Path]) -> None:
    """Each pass has places of its own that the head reads."""
    task = MaskedLM()
    encoder = tuned(tiny_masked_lm("bert"), task, ["masked"], Lora(rank=2))
    tokenized = split(task, {"text": texts(ROWS, 0, 30)}, encoder.tokenizer, ["masked"])
    model = ModelRunner(encoder, torch.float32, CPU).eval()

    def passes(seed: int) -> Pass:
        rows = [chosen[chosen < len(tokenized)] for chosen in batches(seed)]
        rows = [chosen if len(chosen) else np.arange(2) for chosen in rows]

        def run(number: int) -> Tensor:
            masked = task.masked(tokenized, rows[number], (seed, number))
            with torch.no_grad():
                return model.run(tokenized, rows[number], PAD, CPU, masked)

        return run

    compare(passes(1), passes(2), meetings(encoder))


@pytest.mark.usefixtures("often")
def test_trained_tensors_of_a_bf16_model_stay_its_own(tiny_model: Callable[[str], Path]) -> None:
    """They are cast for each pass, in the modules themselves."""
    encoder, tokenized = classified(tiny_model("bert"), Full())
    model = ModelRunner(encoder, torch.bfloat16, CPU).train()
    before = {name: (p, p.detach().clone()) for name, p in model.named_parameters()}
    compare(dropping(model, tokenized, 1), scoring(model, tokenized, 2))
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is p and torch.equal(p, value) for name, (p, value) in before.items())


@pytest.mark.usefixtures("often")
def test_what_peft_draws_from_the_global_generator(tiny_model: Callable[[str], Path]) -> None:
    pytest.importorskip("peft")
    encoder, tokenized = classified(tiny_model("bert"), Peft(type="LOHA", options={"rank_dropout": 0.5}))
    model = ModelRunner(encoder, torch.float32, CPU).train()
    before = torch.random.get_rng_state()
    compare(dropping(model, tokenized, 1), dropping(model, tokenized, 2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.usefixtures("often")
def test_a_head_that_leaves_out_its_mean(tiny_model: Callable[[str], Path]) -> None:
    """Labels so far from zero that float32 cannot hold the answers: the mean is added in float64."""
    task, names = Regression(), ["label"]
    encoder = tuned(tiny_model("bert"), task, names, Full())
    tokenized = split(
        task, {"text": texts(ROWS, 0), "label": [1e9 + row for row in range(ROWS)]}, encoder.tokenizer, names
    )
    bias = f"{encoder.output_layer()}.bias"
    mean = torch.tensor([1e9 + 0.25], dtype=torch.float64)
    tensors = {**adapter_tensors(encoder), our_name(encoder, bias): mean}
    loaded = tuned_model.assemble(
        model=encoder.name, task=task, method=Full(), class_names=names, seed=0,
        train={"max_length": 48, "token_budget": 50}, read=lambda _: tensors, origin="made", device=CPU,
        dtype=torch.float32,
    )  # fmt: skip
    assert loaded.mean == 1e9 + 0.25
    before = loaded.encoder.model.get_parameter(bias).clone()

    def run(_: int) -> Tensor:
        return torch.from_numpy(tuned_model.logits(loaded, tokenized))

    compare(run, run)
    assert (run(0) - 1e9).abs().max() < 100
    assert torch.equal(loaded.encoder.model.get_parameter(bias), before)
    assert float(loaded.model(**first_batch(tokenized)).abs().min()) > 1e8  # elsewhere the head adds it


def first_batch(tokenized: TokenizedRows) -> dict[str, Tensor]:
    return {"input_ids": torch.from_numpy(tokenized.ids[: tokenized.offsets[1]].astype(np.int64)).unsqueeze(0)}


def test_a_model_that_is_wrapped_twice(tiny_model: Callable[[str], Path]) -> None:
    """Each wrapper's hooks leave the other's passes alone."""
    encoder, tokenized = classified(tiny_model("bert"), Lora(rank=2))
    models = [ModelRunner(encoder, torch.float32, CPU).eval() for _ in range(2)]
    one, other = (scoring(model, tokenized, 1) for model in models)
    compare(one, other, meetings(encoder))
    assert torch.equal(one(0), other(0))
