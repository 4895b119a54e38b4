"""Sequences end to end in one row give what the padded batch gives, for every family, task and method that packs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import by_row, collate, full_batches, pack
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.full import Full
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model import attention, load, packing
from encoderlab.model.dropout import Dropout, DropoutRNG
from encoderlab.tasks.base import Task
from encoderlab.tasks.classification import Classification
from fixtures_packing import PACKING, choices, classification, masked

CPU = torch.device("cpu")
METHODS: list[Method] = [
    Full(),
    Lora(rank=2),
    Prefix(length=3),
    Adapter(),
    Adapter(placement="houlsby"),
    Adapter(placement="parallel"),
    Ia3(),
]


def computed(folder: Path, task: Task, names: list[str], method: Method | None = None) -> ModelRunner:
    """The model with weights so large that words make a difference."""
    encoder = load.load(str(folder), head=task.head, class_names=names, seed=0)
    with torch.no_grad():
        for parameter in encoder.model.parameters():
            parameter.mul_(6 if parameter.ndim > 1 else 1)
    if method is not None:
        method.inject(encoder, 0)
        generator = torch.Generator().manual_seed(0)
        for _, parameter in encoder.trainable():  # or a change that starts at zero shows nothing
            parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return ModelRunner(encoder, torch.float32, CPU).eval()


def padded(model: ModelRunner, tokenized: TokenizedRows, rows: np.ndarray, pad: int) -> torch.Tensor:
    return by_row(model(**collate(tokenized, rows, pad, CPU)), tokenized, rows)


@pytest.mark.parametrize("make", [classification, choices], ids=["classification", "choices"])
@pytest.mark.parametrize("family", PACKING)
def test_logits_are_those_of_the_padded_batch(family: str, make, tiny_model: Callable[[str], Path]) -> None:
    folder = tiny_model(family)
    tokenizer = load.load(str(folder), head="AutoModel", class_names=["x"], seed=0).tokenizer
    task, tokenized, names = make(tokenizer)
    model, rows = computed(folder, task, names), np.array([4, 0, 8, 3, 5])
    assert model.packs
    packed = by_row(model.run(tokenized, rows, tokenizer.pad_token_id, CPU), tokenized, rows)
    assert packed[packed.isfinite()].std() > 1e-2
    torch.testing.assert_close(packed, padded(model, tokenized, rows, tokenizer.pad_token_id), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", PACKING)
def test_masked_tokens_are_those_of_the_padded_batch(family: str, tiny_masked_lm: Callable[[str], Path]) -> None:
    folder = tiny_masked_lm(family)
    tokenizer = load.load(str(folder), head="AutoModel", class_names=["x"], seed=0).tokenizer
    task, tokenized, names = masked(tokenizer)
    model, rows = computed(folder, task, names), np.array([2, 5, 0, 3])
    found = task.masked(tokenized, rows, (0, 1))
    assert found is not None and model.packs
    with torch.no_grad():
        packed = model.run(tokenized, rows, tokenizer.pad_token_id, CPU, found)
        batch = collate(tokenized, rows, tokenizer.pad_token_id, CPU)
        batch["input_ids"].view(-1)[found.places] = torch.from_numpy(found.inputs)
        whole = model.model(**batch).logits.flatten(0, 1)[found.places]
    assert len(found.places) > 10
    torch.testing.assert_close(packed, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name + getattr(m, "placement", ""))
@pytest.mark.parametrize("family", ["bert", "distilbert", "albert", "modernbert"])
def test_gradients_are_those_of_the_padded_batch(
    family: str, method: Method, tiny_model: Callable[[str], Path]
) -> None:
    folder = tiny_model(family)
    tokenizer = load.load(str(folder), head="AutoModel", class_names=["x"], seed=0).tokenizer
    task, tokenized, names = classification(tokenizer)
    model, rows = computed(folder, task, names, method), np.arange(9)
    assert model.packs
    labels, gradients = torch.from_numpy(tokenized.labels), []
    for logits in (
        lambda: model.run(tokenized, rows, tokenizer.pad_token_id, CPU),
        lambda: padded(model, tokenized, rows, tokenizer.pad_token_id),
    ):
        model.zero_grad()
        task.losses(logits(), labels).mean().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    for name, found in gradients[0].items():
        torch.testing.assert_close(found, gradients[1][name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "type_name", ["BOFT", "OFT", "VERA", "LOHA", "FOURIERFT", "LN_TUNING", "DELORA", "HRA", "LOKR"]
)
def test_the_bridges_layers_are_packed_too(type_name: str, tiny_model: Callable[[str], Path]) -> None:
    options = {"BOFT": {"boft_block_size": 4}, "OFT": {"oft_block_size": 8}, "FOURIERFT": {"n_frequency": 40}}
    method = Peft(type=type_name, options=options.get(type_name, {}))
    test_gradients_are_those_of_the_padded_batch("bert", method, tiny_model)


@pytest.mark.parametrize("family", ["bert", "electra", "roberta"])
def test_the_last_layers_attention_drops_weights_in_training(family: str, tiny_model: Callable[[str], Path]) -> None:
    """Its first tokens ask through a way of their own."""
    folder = tiny_model(family)
    encoder = load.load(str(folder), head=Classification.head, class_names=["no", "yes"], seed=0)
    _, tokenized, _ = classification(encoder.tokenizer)
    Full().inject(encoder, 0)
    model = ModelRunner(encoder, torch.float32, CPU).train()
    last = encoder.layers()[-1].get_submodule("attention.self.dropout")
    dropouts = [module for module in encoder.model.modules() if isinstance(module, Dropout)]
    for module in dropouts:
        module.p = 0.5 if module is last else 0.0
    assert last in dropouts
    pad = encoder.tokenizer.pad_token_id
    one, other = (model.run(tokenized, np.arange(9), pad, CPU, rng=DropoutRNG(0, step)) for step in range(2))
    assert (one - other).abs().max() > 1e-6
    last.p = 0.0  # type: ignore[assignment]
    one, other = (model.run(tokenized, np.arange(9), pad, CPU, rng=DropoutRNG(0, step)) for step in range(2))
    assert torch.equal(one, other)  # nothing else drops


def test_what_cannot_be_packed_is_padded(tiny_model: Callable[[str], Path]) -> None:
    task = Classification()
    for family, method in (("mpnet", None), ("deberta-v2", None), ("bert", Prompt(length=3))):
        assert not computed(tiny_model(family), task, ["no", "yes"], method).packs
    for changing in (Prefix(length=3, shift_positions=True), Peft(type="LILY", options={"r": 2})):
        assert not computed(tiny_model("bert"), task, ["no", "yes"], changing).packs


def test_local_layers_see_as_far_as_in_the_padded_batch(tiny_model: Callable[[str], Path]) -> None:
    """ModernBERT's window is shorter than the texts, so that without it the logits would be others."""
    folder = tiny_model("modernbert")
    tokenizer = load.load(str(folder), head="AutoModel", class_names=["x"], seed=0).tokenizer
    task, tokenized, names = classification(tokenizer)
    model, rows = computed(folder, task, names), np.arange(9)
    packed = model.run(tokenized, rows, tokenizer.pad_token_id, CPU)
    for layer in model.model.model.layers:
        layer.attn.sliding_window = None
    assert (model.run(tokenized, rows, tokenizer.pad_token_id, CPU) - packed).abs().max() > 1e-3


@pytest.mark.parametrize("masked", ["no mask", "padding", "a bias that trains"])
def test_long_sequences_have_the_gradients_of_short_ones(masked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's kernel trains from some length on, the written-out products below it."""
    generator = torch.Generator().manual_seed(0)
    found = []
    given = [torch.randn(2, 3, 40, 8, generator=generator) for _ in range(3)]
    bias = torch.randn(1, 3, 40, 40, generator=generator)
    for long in (40, 41):
        monkeypatch.setattr(attention, "LONG", {torch.float32: long})
        inputs = [x.clone().requires_grad_() for x in given]
        mask = None if masked == "no mask" else torch.zeros(2, 1, 1, 40)
        if masked == "padding" and mask is not None:
            mask[0, ..., 30:] = torch.finfo(torch.float32).min
        elif masked != "no mask":
            mask = bias.clone().requires_grad_()
            inputs.append(mask)
        groups = [packing.Group(2, 40, None)]
        assert attention._fused(inputs[1], groups, mask) == (long == 40 and masked != "a bias that trains")
        query, key, value = inputs[:3]
        context, _ = attention.attention(None, query, key, value, mask)
        context.square().sum().backward()
        found.append([context, *(x.grad for x in inputs)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_groups_are_the_cheapest_cut() -> None:
    rng = np.random.default_rng(0)
    for cost in (0.5, 3.0, 20.0):
        lengths = rng.integers(1, 40, size=9)
        found = packing.groups(lengths, cost)
        assert sorted(np.concatenate(found)) == list(range(9))
        price = lambda parts, lengths=lengths, cost=cost: sum(len(p) * lengths[p].max() + cost for p in parts)  # noqa: E731
        ordered = np.argsort(-lengths, kind="stable")
        cuts = itertools.chain.from_iterable(itertools.combinations(range(1, 9), k) for k in range(9))
        assert price(found) == pytest.approx(min(price(np.split(ordered, list(cut))) for cut in cuts))


def test_a_packed_row_is_the_tokens_end_to_end(tiny_tokenizer) -> None:
    _, tokenized, _ = classification(tiny_tokenizer)
    rows = np.array([5, 2, 7, 0])
    inputs, layout, starts, source = pack(
        tokenized, rows, 99, 0.0, torch.float32, CPU
    )  # groups cost nothing: no padding at all
    assert inputs["input_ids"].shape == (1, int(tokenized.lengths[rows].sum()))
    assert layout.starts.tolist() == starts.tolist() == layout.cu_seqlens[layout.ranks].tolist()
    assert layout.cu_seqlens.dtype == torch.int32 and layout.cu_seqlens[-1] == inputs["input_ids"].numel()
    assert layout.cu_seqlens.diff()[layout.ranks].tolist() == tokenized.lengths[rows].tolist()
    assert layout.max_seqlen == tokenized.lengths[rows].max()
    for row, start in zip(rows, starts, strict=True):
        own = tokenized.ids[tokenized.offsets[row] : tokenized.offsets[row + 1]]
        assert inputs["input_ids"][0, start : start + len(own)].tolist() == own.tolist()
        assert (tokenized.ids[source[start : start + len(own)]] == own).all()
        assert inputs["position_ids"][0, start : start + len(own)].tolist() == list(range(len(own)))
    one = pack(tokenized, rows, 99, 1e9, torch.float32, CPU)  # a group costs all: the padded batch
    assert len(one[1].groups) == 1 and one[0]["input_ids"].numel() == 4 * tokenized.lengths[rows].max()
    assert (one[3] < 0).sum() == one[0]["input_ids"].numel() - tokenized.lengths[rows].sum()


def test_micro_batches_hold_the_budget_and_every_row() -> None:
    rng = np.random.default_rng(0)
    for budget in (1, 50, 130, 10**6):
        tokens = rng.integers(1, 60, size=30)
        rows = rng.permutation(30)[:17]
        groups = full_batches(tokens, tokens, rows, budget)
        assert sorted(np.concatenate(groups)) == sorted(rows)
        held = [int(tokens[group].sum()) for group in groups]
        assert all(len(group) == 1 or total <= budget for group, total in zip(groups, held, strict=True))
        if budget == 130:
            assert len(groups) <= -(-tokens[rows].sum() // budget) + 2
