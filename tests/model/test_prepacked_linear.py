"""Frozen linear layers against `F.linear`, and their copies of a weight against the weight."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.lora import Lora
from encoderlab.model import load, prepacked_linear
from encoderlab.model.encoder import EncoderModel

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.04}


def precisions() -> list[torch.dtype]:
    return [dtype for dtype in TOLERANCE if prepacked_linear._known(dtype)]


def drawn(*sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(*sizes, generator=generator).to(dtype)


def layer(dtype: torch.dtype = torch.float32, *, trains: bool = False) -> nn.Linear:
    """16 to 24, seen by `prepack`."""
    made = nn.Linear(16, 24)
    made.weight = nn.Parameter(drawn(24, 16, dtype=dtype), requires_grad=trains)
    made.bias = nn.Parameter(drawn(24, dtype=dtype))
    prepacked_linear.prepack(made)
    return made


INPUTS = {
    "a row": lambda: torch.randn(16),
    "rows": lambda: torch.randn(7, 16),
    "a batch": lambda: torch.randn(2, 3, 16),
    "every other number": lambda: torch.randn(2, 3, 32)[..., ::2],
    "no rows": lambda: torch.randn(0, 16),
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("dtype", precisions(), ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_equals_the_plain_product_and_its_gradients(kind: str, dtype: torch.dtype, biased: bool) -> None:
    torch.manual_seed(0)
    x, weight = INPUTS[kind]().to(dtype).requires_grad_(), layer(dtype).weight
    bias = drawn(24, dtype=dtype).requires_grad_() if biased else None
    found, wanted = prepacked_linear.linear(x, weight, bias), F.linear(x, weight, bias)
    assert type(found.grad_fn).__name__ == "_LinearBackward"  # not `F.linear` itself
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE[dtype])
    inputs = [x, bias] if bias is not None else [x]
    for grad in (torch.randn_like(wanted), torch.ones((), dtype=dtype).expand(wanted.shape)):
        ours, theirs = (torch.autograd.grad(y, inputs, grad, retain_graph=True) for y in (found, wanted))
        torch.testing.assert_close(ours, theirs, rtol=TOLERANCE[dtype], atol=2 * TOLERANCE[dtype])
    with torch.no_grad():
        torch.testing.assert_close(prepacked_linear.linear(x, weight, bias), found, rtol=0, atol=0)


def test_a_weight_that_trains_gets_its_gradient() -> None:
    made = layer(trains=True)
    made(torch.ones(2, 16)).sum().backward()
    torch.testing.assert_close(made.weight.grad, torch.full((24, 16), 2.0))


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("dtype", precisions(), ids=str)
def test_a_low_rank_change_and_its_gradients(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = INPUTS[kind]().to(dtype).requires_grad_(), layer(dtype).weight
    bias, a, b = (drawn(*sizes, dtype=dtype).requires_grad_() for sizes in ((24,), (3, 16), (24, 3)))
    found = prepacked_linear.with_low_rank(x, weight, bias, x, a, b)
    assert type(found.grad_fn).__name__ == "_LinearBackward"
    inputs = [x, bias, a, b]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    wanted = F.linear(exact[0], weight.double() + exact[3] @ exact[2], exact[1])
    grad = torch.randn_like(found)
    ours = found, *torch.autograd.grad(found, inputs, grad)
    theirs = wanted, *torch.autograd.grad(wanted, exact, grad.double())
    for one, other in zip(ours, theirs, strict=True):
        scale = other.abs().max().item() if other.numel() else 1.0
        torch.testing.assert_close(one.double(), other, rtol=0, atol=TOLERANCE[dtype] * scale)
    with torch.no_grad():
        again = prepacked_linear.with_low_rank(x, weight, bias, x, a, b)
        torch.testing.assert_close(again, found, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_a_weight_that_begins_to_train_gets_its_gradient_too() -> None:
    made = layer()
    made(torch.ones(2, 16))
    made.weight.requires_grad_(True)
    made(torch.ones(2, 16)).sum().backward()
    torch.testing.assert_close(made.weight.grad, torch.full((24, 16), 2.0))


def test_a_weight_changed_before_the_backward_pass_is_refused_as_torch_does() -> None:
    made, x = layer(), torch.ones(2, 16, requires_grad=True)
    found = made(x).sum()
    changed_in_place(made.weight)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


def changed_in_place(weight: Any) -> None:
    with torch.no_grad():
        weight.mul_(2)


def changed_storage(weight: Any) -> None:
    weight.data = weight.data * 2


def changed_precision(weight: Any) -> None:
    weight.data = weight.data.bfloat16() if prepacked_linear._known(torch.bfloat16) else weight.data.double()


def changed_order(weight: Any) -> None:
    weight.data = weight.data.t()


@pytest.mark.parametrize("change", [changed_in_place, changed_storage, changed_precision, changed_order])
def test_copies_follow_the_weight(change: Callable[[Any], None]) -> None:
    made = nn.Linear(16, 16).requires_grad_(False)
    prepacked_linear.prepack(made)
    weight, x = made.weight, torch.ones(2, 16, requires_grad=True)
    prepacked_linear.linear(x, weight).sum().backward()
    change(weight)
    again = torch.ones(2, 16, dtype=weight.dtype, requires_grad=True)
    found = prepacked_linear.linear(again, weight)
    found.sum().backward()
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=TOLERANCE.get(weight.dtype, 1e-5))
    close(found, F.linear(again, weight))
    close(again.grad, weight.sum(0).expand(2, -1))


def test_a_model_that_was_used_goes_into_a_file_without_its_copies() -> None:
    made = layer()
    found = made(torch.ones(2, 16))
    again = pickle.loads(pickle.dumps(made))
    torch.testing.assert_close(again(torch.ones(2, 16)), found)


def test_a_model_is_freed_with_its_last_name() -> None:
    made = layer()
    made(torch.ones(2, 16, requires_grad=True)).sum().backward()
    seen = weakref.ref(made.weight)
    gc.disable()
    try:
        del made
        assert seen() is None
    finally:
        gc.enable()


def test_a_traced_layer_is_the_plain_product() -> None:
    made = layer()
    made(torch.ones(2, 16))
    for strict in (True, False):
        program = torch.export.export(made, (torch.ones(2, 16),), strict=strict)
        assert "linear_pointwise" not in str(program.graph) and "aten.linear" in str(program.graph)


def test_without_the_operators_it_is_the_plain_product(monkeypatch: pytest.MonkeyPatch) -> None:
    # A private name: whether torch has the operators depends on the processor, and no argument can change it.
    monkeypatch.setattr(prepacked_linear, "_known", lambda dtype: False)
    made, x = layer(), torch.ones(2, 16)
    torch.testing.assert_close(made(x), F.linear(x, made.weight, made.bias), rtol=0, atol=0)
    assert not uses_copies(made)


def loaded(tiny_model: Callable[[str], Path], family: str) -> EncoderModel:
    names = ["no", "yes"]
    return load.load(str(tiny_model(family)), head="AutoModelForSequenceClassification", class_names=names, seed=0)


def uses_copies(module: Any) -> bool:
    return getattr(getattr(module, "weight", None), "prepacked", prepacked_linear._Copies()).current is not None


def logits(model: nn.Module) -> Tensor:
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 10, 11, 12, 3]])
    found = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return found if isinstance(found, Tensor) else found.logits


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_every_frozen_layer_of_a_model_and_no_head(tiny_model: Callable[[str], Path], family: str) -> None:
    encoder = loaded(tiny_model, family)
    Lora().inject(encoder, seed=0)
    plain = copy.deepcopy(encoder.model).eval()
    computed = ModelRunner(encoder, torch.float32, torch.device("cpu")).eval()
    torch.testing.assert_close(logits(computed), logits(plain))
    layers = {path: m for path, m in encoder.model.named_modules() if isinstance(m, nn.Linear)}
    wanted = {path for path, module in layers.items() if not module.weight.requires_grad}
    assert {path for path, module in layers.items() if uses_copies(module)} == wanted
    assert len(wanted) >= 4 * len(encoder.layer_paths())


def test_a_copy_of_a_model_goes_by_its_own_weights(tiny_model: Callable[[str], Path]) -> None:
    encoder = loaded(tiny_model, "bert")
    Lora().inject(encoder, seed=0)
    computed = ModelRunner(encoder, torch.float32, torch.device("cpu")).eval()
    before = logits(computed)
    other = copy.deepcopy(encoder.model)
    torch.testing.assert_close(logits(other), before)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(logits(computed), before, rtol=0, atol=0)
    changed = logits(other)
    assert (changed - before).abs().max() > 1e-3
    with torch.no_grad():
        for parameter in encoder.model.parameters():
            parameter.zero_()
    torch.testing.assert_close(logits(other), changed, rtol=0, atol=0)


def test_word_embeddings_stay_out(tiny_masked_lm: Callable[[str], Path]) -> None:
    """A masked-LM head multiplies with them."""
    encoder = load.load(str(tiny_masked_lm("bert")), head="AutoModelForMaskedLM", class_names=["masked"], seed=0)
    Lora().inject(encoder, seed=0)
    assert encoder.frozen_head
    logits(ModelRunner(encoder, torch.float32, torch.device("cpu")).eval())
    words = encoder.model.get_output_embeddings()
    assert words.weight is encoder.base_model.get_input_embeddings().weight  # type: ignore[operator]
    assert not uses_copies(words) and uses_copies(encoder.model.cls.predictions.transform.dense)


def test_layers_of_the_peft_library_stay_out() -> None:
    model = nn.ModuleDict({"base_layer": nn.Linear(4, 4), "dense": nn.Linear(4, 4)}).requires_grad_(False)
    prepacked_linear.prepack(model)
    for module in model.values():
        module(torch.ones(1, 4))
    assert [uses_copies(module) for module in model.values()] == [False, True]
