r"""What the low-rank methods share: a small trained change of chosen frozen linear layers, and its settings.

y = x W' + b   becomes   y = x (W + C)' + b          C: (out, in), of low rank; each method has its own
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from encoderlab.core.errors import InputError
from encoderlab.core.rng import torch_generator
from encoderlab.core.types import Doc
from encoderlab.methods.base import Method, positive, some_layers
from encoderlab.model.dropout import Dropout
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.prepacked_linear import linear


class LowRankLinear(nn.Linear, ABC):
    """A linear layer with its change. Shares weight and bias with the layer it replaces, under the same names."""

    def __init__(self, base: nn.Linear, dropout: nn.Module) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.lora_dropout = dropout
        self.kept: Tensor | None = None  # W while merged

    @abstractmethod
    def tuned(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), the change included."""

    @abstractmethod
    def whole(self) -> Tensor:
        """(out, in): the weight of a plain linear layer that computes the same."""

    def forward(self, input: Tensor) -> Tensor:
        return self.tuned(input) if self.kept is None else linear(input, self.weight, self.bias)

    @torch.no_grad()
    def merge(self) -> None:
        """Use `whole` as the weight; W is kept aside, untouched, so that `unmerge` is exact to the bit."""
        if self.kept is None:
            self.kept = self.weight.data
            self.weight = nn.Parameter(self.whole(), requires_grad=False)

    def unmerge(self) -> None:
        if self.kept is not None:
            self.weight, self.kept = nn.Parameter(self.kept, requires_grad=False), None


@dataclass(frozen=True, kw_only=True)
class LowRank(Method):
    """The settings of every low-rank method."""

    rank: Annotated[int, Doc("number of rows of A and columns of B, not a fraction of the weights")] = 8
    alpha: Annotated[float, Doc("scale of the change")] = 16.0
    dropout: Annotated[float, Doc("dropout probability at the input of the change")] = 0.0
    target: Annotated[
        tuple[str, ...],
        Doc("layers to change: roles (query, key, value, attention_out, ffn_in, ffn_out) or exact module paths"),
    ] = ("query", "value")
    layers: Annotated[
        Literal["all", "last"] | tuple[int, ...],
        Doc('layers of the encoder to change: "all", "last" or numbers from 0; negative numbers count from the end'),
    ] = "all"

    @property
    def first_rank(self) -> int:
        """The rank at the first step."""
        return self.rank

    @abstractmethod
    def wrap(self, base: nn.Linear, dropout: nn.Module, generator: torch.Generator) -> nn.Linear:
        """The layer that takes the place of `base`; its draws come from `generator`."""

    def insert(self, backbone: EncoderModel, seed: int) -> None:
        numbers = backbone.layer_numbers(self.layers)
        for path in dict.fromkeys(p for target in self.target for p in backbone.linear_paths(target, numbers)):
            base = backbone.trunk.get_submodule(path)
            assert isinstance(base, nn.Linear)
            if self.first_rank > min(base.in_features, base.out_features):
                raise InputError(
                    f"rank = {self.first_rank}: larger than the layer {path} ({base.in_features} to "
                    f"{base.out_features}); use at most {min(base.in_features, base.out_features)}"
                )
            dropout = Dropout(self.dropout, backbone.noise)
            replace_module(backbone.trunk, path, self.wrap(base, dropout, torch_generator(seed, f"lora:{path}")))

    def merge(self, backbone: EncoderModel) -> None:
        for _, layer in low_rank_layers(backbone):
            layer.merge()

    def unmerge(self, backbone: EncoderModel) -> None:
        """Undo `merge`: the weights are the pretrained ones again, bit for bit."""
        for _, layer in low_rank_layers(backbone):
            layer.unmerge()

    def problems(self, backbone: EncoderModel) -> list[str]:
        found = positive("rank", self.rank, "rank-one matrices per layer, not a share of the weights")
        if self.first_rank > (hidden := backbone.model.config.hidden_size):
            found.append(f"rank = {self.first_rank}: larger than the layers ({hidden} wide); use a smaller rank")
        if not 0 <= self.dropout < 1:
            found.append(f"dropout = {self.dropout}: expected 0 <= dropout < 1")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            found.append(f"alpha = {self.alpha}: expected a number above 0, or the change is nothing")
        found += some_layers(self.layers)
        if not self.target:
            found.append("target = []: expected at least one role or module path")
        return found


@dataclass(frozen=True, kw_only=True)
class FixedRank(LowRank):
    """A low-rank method whose ranks stay the same."""

    rslora: Annotated[bool, Doc("whether alpha is divided by sqrt(rank) instead of rank")] = False

    @property
    def scale(self) -> float:
        """s = alpha / rank, or alpha / sqrt(rank) with rslora (Kalajdzievski 2023, arXiv:2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def low_rank_layers(backbone: EncoderModel) -> Iterator[tuple[str, LowRankLinear]]:
    """(trunk-relative path, layer) of every layer that carries a change."""
    return ((n, m) for n, m in backbone.trunk.named_modules() if isinstance(m, LowRankLinear))


def replace_module(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` in the place that `path` names below `root`."""
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)
