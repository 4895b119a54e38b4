"""Frozen linear layers, y = x W' + b, whose W is laid out once in the order in which oneDNN reads it, on a CPU.

A plain W is brought into that order in every product, which takes a tenth of its time. Here copies in that order are
kept beside the weight: one for y, and one, once a gradient is asked for, for dx = dy W. A copy is made anew when the
weight has changed. The operators that take such weights are not public in torch; where it has none, and elsewhere than
on a CPU, a layer is `F.linear`, as it is in a model that `prepack` has not seen.
"""

from __future__ import annotations

import platform
from collections.abc import Container
from functools import cache, partial
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def prepack(model: nn.Module, but: Container[int] = ()) -> None:
    """From now on the linear layers with a frozen weight go by copies of it. but: ids of parameters that stay out."""
    for path, module in model.named_modules():
        weight = module._parameters.get("weight")
        if not isinstance(module, nn.Linear) or weight is None or weight.requires_grad or id(weight) in but:
            continue
        if path.endswith("base_layer"):  # of the peft library, which changes weights where torch does not count it
            continue
        weight.prepacked = _Copies()  # type: ignore[attr-defined]
        if type(module) is nn.Linear:  # those of our methods call `linear` themselves
            module.forward = partial(_forward, module)


def _forward(module: nn.Linear, input: Tensor) -> Tensor:
    return linear(input, module.weight, module.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: (..., in) -> (..., out); weight: (out, in), of a layer."""
    copies: _Copies | None = getattr(weight, "prepacked", None)
    if copies is None or x.device.type != "cpu" or x.dtype != weight.dtype or not _known(x.dtype) or _traced():
        return F.linear(x, weight, bias)
    copies.follow(weight)
    if torch.is_grad_enabled():
        return _Linear.apply(x, bias, copies.forward, copies)  # type: ignore[no-any-return]
    return _product(x, copies.forward, bias)


@final
class _Copies:
    """Of one weight, made when they are first asked for."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] | None = None

    def follow(self, weight: Tensor) -> None:
        """Forget the copies where something else is in the weight by now."""
        state = weight.data_ptr(), weight._version, weight.dtype
        if state != self.state:
            self.state, self.weight = state, weight.detach()
            self._forward: Tensor | None = None
            self._backward: Tensor | None = None

    @property
    def forward(self) -> Tensor:
        if self._forward is None:
            self._forward = _reordered(self.weight)
        return self._forward

    @property
    def backward(self) -> Tensor:
        if self._backward is None:
            self._backward = _reordered(self.weight.t().contiguous())
        return self._backward


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, weight: Tensor, copies: _Copies) -> Tensor:
        ctx.copies = copies
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,) = grads
        d_x = _product(grad, ctx.copies.backward, None) if ctx.needs_input_grad[0] else None
        d_bias = grad.sum_to_size(grad.shape[-1:]) if ctx.needs_input_grad[1] else None
        return d_x, d_bias, None, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def _reordered(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight)  # type: ignore[no-any-return]


def _traced() -> bool:
    """Whether the model is being written down, for ONNX say, and not run."""
    return torch.compiler.is_compiling()


@cache
def _known(dtype: torch.dtype) -> bool:
    """Whether torch has those operators for this precision, on a kind of processor where they were measured."""
    names = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
