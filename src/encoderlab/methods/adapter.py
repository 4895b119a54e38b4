r"""Bottleneck adapters: insert a small two-layer network after a sublayer, with a residual connection around it.

    A(h) = U act(D h + d) + u          D: (bottleneck, hidden)   U: (hidden, bottleneck)

    houlsby   (Houlsby et al. 2019, arXiv:1902.00751): after attention and after feed-forward,
              out = LN(x + h + A(h))              h: what the sublayer returns, x: its input
    pfeiffer  (Pfeiffer et al. 2020, arXiv:2005.00052): after feed-forward only, reading the layer's normalized sum,
              out = LN(s + A(LN(s)))              s = x + h
              layers that normalize before their sublayers have no such sum: out = x + h + A(h)
    parallel  (He et al. 2022, arXiv:2110.04366): beside the feed-forward sublayer, reading its input,
              out = LN(x + FFN(x) + scale A(x)), without the LN if layers normalize before their sublayers

U and u start at zero, so the model is unchanged at step 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import get_ident
from typing import Annotated, Any, ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoderlab.core.rng import torch_generator
from encoderlab.core.types import Doc
from encoderlab.methods.base import Method, positive, some_layers
from encoderlab.model.encoder import EncoderModel

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "swish": F.silu, "tanh": torch.tanh}


class Bottleneck(nn.Module):
    """The network A(h), (..., hidden) -> (..., hidden)."""

    def __init__(self, hidden: int, bottleneck: int, activation: str, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Linear(hidden, bottleneck)
        self.up = nn.Linear(bottleneck, hidden)
        self.activation = ACTIVATIONS[activation]
        with torch.no_grad():
            self.down.weight.normal_(std=1 / math.sqrt(hidden), generator=generator)
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, h: Tensor) -> Tensor:
        return self.up(self.activation(self.down(h)))


class Parallel(Bottleneck):
    """The term scale A(x) beside a sublayer that may begin and end in two different modules, with a hook on each."""

    def __init__(self, hidden: int, bottleneck: int, activation: str, generator: torch.Generator, scale: float) -> None:
        super().__init__(hidden, bottleneck, activation, generator)
        self.scale = scale
        # The sublayer's input between its start and its end, by thread: several may run the model at the same time.
        self.inputs: dict[int, Tensor] = {}

    def read(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Store the input of the sublayer: a forward pre-hook of its first module."""
        self.inputs[get_ident()] = args[0]

    def add(self, module: nn.Module, args: tuple[Any, ...], h: Tensor) -> Tensor:
        """Add scale A(x) to the output of the sublayer: a forward hook of its last module."""
        return h + self.scale * self(self.inputs.pop(get_ident()))


def _after_sublayer(module: nn.Module, args: tuple[Any, ...], h: Tensor) -> Tensor:
    return h + module.adapter(h)  # type: ignore[operator]


def _around_norm(norm: nn.Module, args: tuple[Tensor, ...], normed: Tensor) -> Tensor:
    s = args[0]
    assert isinstance(norm, nn.LayerNorm)
    return F.layer_norm(s + norm.adapter(normed), norm.normalized_shape, norm.weight, norm.bias, norm.eps)  # type: ignore[operator]


@final
@dataclass(frozen=True, kw_only=True)
class Adapter(Method):
    """A small network with a residual connection, after or beside the sublayers."""

    name: Literal["adapter"] = "adapter"
    bottleneck: Annotated[int, Doc("width of the small network")] = 48
    activation: Annotated[Literal["relu", "gelu", "swish", "tanh"], Doc("activation function of the small network")] = (
        "relu"
    )
    placement: Annotated[
        Literal["pfeiffer", "houlsby", "parallel"],
        Doc(
            "position of the small networks: after the feed-forward sublayer (pfeiffer), after both "
            "sublayers (houlsby) or beside the feed-forward sublayer (parallel)"
        ),
    ] = "pfeiffer"
    scale: Annotated[float, Doc("scale of the output of a parallel adapter; the other placements ignore it")] = 4.0
    layers: Annotated[
        Literal["all", "last"] | tuple[int, ...],
        Doc('layers of the encoder to change: "all", "last" or numbers from 0; negative numbers count from the end'),
    ] = "all"
    default_learning_rate: ClassVar[float] = 1e-3

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        for layer in encoder.layer_numbers(self.layers):
            if self.placement == "parallel":
                self._put_beside(encoder, layer, seed)
            else:
                self._put_after(encoder, layer, seed)

    def _put_after(self, encoder: EncoderModel, layer: int, seed: int) -> None:
        family = encoder.family
        if self.placement == "houlsby":
            places = [(family.after_attention, _after_sublayer), (family.after_ffn, _after_sublayer)]
        elif family.ffn_norm is None:
            places = [(family.after_ffn, _after_sublayer)]
        else:
            places = [(family.ffn_norm, _around_norm)]
        for path, hook in places:
            host = encoder.part(layer, path)
            generator = torch_generator(seed, f"adapter:{layer}:{path}")
            hidden = encoder.model.config.hidden_size
            host.register_module("adapter", Bottleneck(hidden, self.bottleneck, self.activation, generator))
            host.register_forward_hook(hook)

    def _put_beside(self, encoder: EncoderModel, layer: int, seed: int) -> None:
        path, hidden = encoder.family.after_ffn, encoder.model.config.hidden_size
        generator = torch_generator(seed, f"adapter:{layer}:{path}")
        adapter = Parallel(hidden, self.bottleneck, self.activation, generator, self.scale)
        host = encoder.part(layer, path)
        host.register_module("adapter", adapter)
        encoder.part(layer, encoder.family.ffn_in).register_forward_pre_hook(adapter.read)
        host.register_forward_hook(adapter.add)

    def problems(self, encoder: EncoderModel) -> list[str]:
        problems = positive("bottleneck", self.bottleneck, "the width of the small network")
        if not (self.scale > 0 and math.isfinite(self.scale)):
            problems.append(f"scale = {self.scale}: expected a number above 0 (of what a parallel adapter adds)")
        return problems + some_layers(self.layers)
