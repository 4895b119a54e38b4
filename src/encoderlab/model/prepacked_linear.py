"""Frozen linear layers, y = x W' + b, whose W is laid out once in the order in which oneDNN reads it, on a CPU.

A plain W is brought into that order in every product, which takes a tenth of its time. Here copies in that order are
kept beside the weight: one for y, and one, once a gradient is asked for, for dx = dy W. They are made anew where the
weight is another one by address, version counter, precision or shape; what changes `weight.data` in place is not seen.
The operators that take such weights are not public in torch; where it has none, and elsewhere than on a CPU, a layer is
`F.linear`, as it is in a model that `prepack` has not seen.
"""

from __future__ import annotations

import platform
from collections.abc import Container
from functools import cache, cached_property
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class PrepackedLinear(nn.Linear):
    """What a plain layer becomes."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def prepack(model: nn.Module, but: Container[int] = ()) -> None:
    """From now on the linear layers with a frozen weight go by copies of it. but: ids of parameters that stay out; so
    do embeddings that a masked-LM head multiplies with, whose copies would be the largest of all."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for path, module in model.named_modules():
        weight = module._parameters.get("weight")
        if not isinstance(module, nn.Linear) or weight is None or weight.requires_grad:
            continue
        if id(weight) in embeddings or id(weight) in but:
            continue
        if path.endswith("base_layer"):  # of the peft library, which changes `weight.data` in place
            continue
        weight.prepacked = _Copies()  # type: ignore[attr-defined]
        if type(module) is nn.Linear:  # those of our methods call `linear` themselves
            module.__class__ = PrepackedLinear  # no bound function: that would be a cycle, which keeps the weights


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: (..., in) -> (..., out); weight: (out, in), of a layer."""
    copies = _copies(x, weight)
    if copies is None:
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias, None, None, copies)  # type: ignore[no-any-return]
    return _product(x, copies.of(weight).forward, bias)


def with_low_rank(x: Tensor, weight: Tensor, bias: Tensor | None, dropped: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x W' + bias + (dropped a') b'; dropped: x, or what dropout left of it; a: (rank, in), b: (out, rank), of x's
    precision. Where it is x, the change is added in place, in y and in dx, and the products of rank `rank` are ordered
    for the long side of x to lie in rows."""
    copies = _copies(x, weight) if dropped is x and torch.is_grad_enabled() else None
    if copies is None:
        return linear(x, weight, bias) + F.linear(F.linear(dropped, a), b)
    return _Linear.apply(x, weight, bias, a, b, copies)  # type: ignore[no-any-return]


def _copies(x: Tensor, weight: Tensor) -> _Copies | None:
    """The copies of a weight that x is multiplied with; None where the plain product is used."""
    if torch.compiler.is_compiling():  # or traced, for ONNX say
        return None
    copies: _Copies | None = getattr(weight, "prepacked", None)
    if copies is None or weight.requires_grad or weight.is_inference():
        return None
    if x.device.type != "cpu" or x.dtype != weight.dtype or not _known(x.dtype):
        return None
    return copies


@final
class _Copies:
    """What a weight carries: its copies, for as long as the weight stays as it is."""

    def __init__(self) -> None:
        self.current: _Ordered | None = None

    def of(self, weight: Tensor) -> _Ordered:
        """Return the copies of what is in the weight now. They are replaced as a whole, for threads that use others."""
        state = weight.data_ptr(), weight._version, weight.dtype, weight.shape, weight.stride()
        current = self.current
        if current is None or current.state != state:
            current = self.current = _Ordered(state, weight.detach())
        return current

    def __reduce__(self) -> Any:
        """A file gets none of them."""
        return _Copies, ()


@final
class _Ordered:
    """The copies of one weight in one state, each made at first use; two threads may make the same one twice."""

    def __init__(self, state: tuple[Any, ...], weight: Tensor) -> None:
        self.state, self.weight = state, weight

    @cached_property
    def forward(self) -> Tensor:
        return _reordered(self.weight)

    @cached_property
    def backward(self) -> Tensor:
        return _reordered(self.weight.t().contiguous())


class _Linear(torch.autograd.Function):
    """low = a x'    y = x W' + bias + low' b'    dlow = b' dy'    dx = dy W + dlow' a    da = dlow x    db' = low dy"""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, b: Tensor | None, copies: _Copies
    ) -> Tensor:
        y, low, rows = _product(x, copies.of(weight).forward, bias), None, None
        if a is not None and b is not None:
            rows = x.reshape(-1, x.size(-1))
            low = a @ rows.t()
            y.view(-1, y.size(-1)).addmm_(low.t(), b.t())
        ctx.save_for_backward(weight, a, b, low, rows)  # the weight for torch's check that it is the same still
        ctx.copies = copies
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,), (weight, a, b, low, rows), needed = grads, ctx.saved_tensors, ctx.needs_input_grad
        d_x = _product(grad, ctx.copies.of(weight).backward, None) if needed[0] else None
        d_bias = grad.sum_to_size(grad.shape[-1:]) if needed[2] else None
        if low is None:
            return d_x, None, d_bias, None, None, None
        d_y = grad.reshape(-1, grad.size(-1))
        d_low = b.t() @ d_y.t()
        if d_x is not None:
            d_x.view(-1, d_x.size(-1)).addmm_(d_low.t(), a)
        return d_x, None, d_bias, d_low @ rows, (low @ d_y).t(), None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def _reordered(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight)  # type: ignore[no-any-return]


@cache
def _known(dtype: torch.dtype) -> bool:
    """Whether torch has those operators for this precision, on x86 (measured on one of AMD's; not on others)."""
    names = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
