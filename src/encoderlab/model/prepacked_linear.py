"""Frozen linear layers, y = x W' + b, on a CPU, with W reordered once for oneDNN.

oneDNN otherwise reorders W in every product, which takes a tenth of the time. Reordered copies are kept beside the
weight: one for y, and one for dx = dy W, made when a gradient first needs it. They are made again if the weight has
another address, version counter, precision or shape; an in-place change of `weight.data` is not noticed.

The operators that take such weights are not public in torch. A layer is `F.linear` if torch lacks them, on any other
device, and in a model that `prepack` has not seen.
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
    """A plain linear layer that uses the reordered copies."""

    def forward(self, input: Tensor) -> Tensor:
        """Compute (..., in) -> (..., out)."""
        return linear(input, self.weight, self.bias)


def prepack(model: nn.Module, but: Container[int] = ()) -> None:
    """Let the linear layers with a frozen weight use reordered copies of it, in place.

    Embeddings that a masked-LM head multiplies with are left out, because their copies would be the largest of all.

    Args:
        model: the model.
        but: ids of parameters to leave out.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for path, module in model.named_modules():
        weight = module._parameters.get("weight")
        if not isinstance(module, nn.Linear) or weight is None or weight.requires_grad:
            continue
        if id(weight) in embeddings or id(weight) in but:
            continue
        if path.endswith("base_layer"):  # a layer of the peft library, which changes `weight.data` in place
            continue
        weight.prepacked = _Copies()  # type: ignore[attr-defined]
        if type(module) is nn.Linear:  # the layers of our methods call `linear` themselves
            module.__class__ = PrepackedLinear  # no bound function: that would be a cycle, which keeps the weights


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute `F.linear`, (..., in) -> (..., out), with the copies of the weight (out, in) if there are any."""
    copies = _copies(x, weight)
    if copies is None:
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias, None, None, copies)  # type: ignore[no-any-return]
    return _product(x, copies.of(weight).forward, bias)


def with_low_rank(x: Tensor, weight: Tensor, bias: Tensor | None, dropped: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Compute x W' + bias + (dropped a') b', (..., in) -> (..., out).

    If `dropped` is x, the change is added in place, in y and in dx, and the low-rank products are ordered so that the
    long side of x lies in rows.

    Args:
        x: the input, (..., in).
        weight: W, (out, in).
        bias: (out,).
        dropped: x after dropout, or x itself.
        a: (rank, in), in the precision of x.
        b: (out, rank), in the precision of x.
    """
    copies = _copies(x, weight) if dropped is x and torch.is_grad_enabled() else None
    if copies is None:
        return linear(x, weight, bias) + F.linear(F.linear(dropped, a), b)
    return _Linear.apply(x, weight, bias, a, b, copies)  # type: ignore[no-any-return]


def _copies(x: Tensor, weight: Tensor) -> _Copies | None:
    """Return the reordered copies to multiply x with; None where the plain product is used."""
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
    """The holder of a weight's reordered copies, which are valid as long as the weight does not change."""

    def __init__(self) -> None:
        self.current: _Ordered | None = None

    def of(self, weight: Tensor) -> _Ordered:
        """Return the copies of the weight's present state. A new object replaces old copies that a thread may use."""
        state = weight.data_ptr(), weight._version, weight.dtype, weight.shape, weight.stride()
        current = self.current
        if current is None or current.state != state:
            current = self.current = _Ordered(state, weight.detach())
        return current

    def __reduce__(self) -> Any:
        """Leave the copies out of a pickle."""
        return _Copies, ()


@final
class _Ordered:
    """The copies of one weight in one state. Each is made at first use; two threads may make the same one twice."""

    def __init__(self, state: tuple[Any, ...], weight: Tensor) -> None:
        self.state, self.weight = state, weight

    @cached_property
    def forward(self) -> Tensor:
        return _reordered(self.weight)

    @cached_property
    def backward(self) -> Tensor:
        return _reordered(self.weight.t().contiguous())


class _Linear(torch.autograd.Function):
    """The product with its gradients.

    low = a x'    y = x W' + bias + low' b'    dlow = b' dy'    dx = dy W + dlow' a    da = dlow x    db' = low dy
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor | None, b: Tensor | None, copies: _Copies
    ) -> Tensor:
        y, low, rows = _product(x, copies.of(weight).forward, bias), None, None  # y: (..., out)
        if a is not None and b is not None:
            rows = x.reshape(-1, x.size(-1))  # (tokens, in)
            low = a @ rows.t()  # (rank, tokens)
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
        d_y = grad.reshape(-1, grad.size(-1))  # (tokens, out)
        d_low = b.t() @ d_y.t()  # (rank, tokens)
        if d_x is not None:
            d_x.view(-1, d_x.size(-1)).addmm_(d_low.t(), a)
        return d_x, None, d_bias, d_low @ rows, (low @ d_y).t(), None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def _reordered(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight)  # type: ignore[no-any-return]


@cache
def _known(dtype: torch.dtype) -> bool:
    """Return whether torch has the operators for this precision. Only x86 is used, as measured on an AMD processor."""
    names = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
