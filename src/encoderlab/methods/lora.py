r"""LoRA (Hu et al. 2021, arXiv:2106.09685): a low-rank change beside a frozen linear layer.

    y = x W' + b + s (x A') B'          A: (rank, in)   B: (out, rank)

    s = alpha / rank, or alpha / sqrt(rank) with rslora (Kalajdzievski 2023, arXiv:2312.03732)

A starts random (Kaiming-uniform with a = sqrt(5), as the paper's code), B at zero: at step 0 the model is unchanged.
Merging is exact: W + s B A is the same function, and costs nothing at inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoderlab.backbone import Backbone
from encoderlab.errors import InputError
from encoderlab.methods.base import Method, positive, some_layers
from encoderlab.randomness import Dropout, torch_generator


class LoraLinear(nn.Linear):
    """A linear layer with its low-rank change. Shares weight and bias with the layer it replaces, under the same
    names."""

    def __init__(
        self, base: nn.Linear, rank: int, scale: float, dropout: nn.Module, generator: torch.Generator
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.scale = scale
        self.kept: Tensor | None = None  # W while merged
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.lora_dropout = dropout
        with torch.no_grad():
            bound = 1 / math.sqrt(base.in_features)
            self.lora_A.weight.uniform_(-bound, bound, generator=generator)
            self.lora_B.weight.zero_()

    def forward(self, input: Tensor) -> Tensor:
        y = F.linear(input, self.weight, self.bias)
        if self.kept is not None:
            return y
        low = F.linear(self.lora_dropout(input), self.lora_A.weight)
        return y + F.linear(low, self.lora_B.weight * self.scale)

    def delta(self) -> Tensor:
        """s B A, (out, in)."""
        return self.scale * (self.lora_B.weight @ self.lora_A.weight)

    @torch.no_grad()
    def merge(self) -> None:
        """Use W + s B A as the weight; W is kept aside, untouched, so that `unmerge` is exact to the bit."""
        if self.kept is None:
            self.kept = self.weight.data
            self.weight = nn.Parameter(self.kept + self.delta(), requires_grad=False)

    def unmerge(self) -> None:
        if self.kept is not None:
            self.weight, self.kept = nn.Parameter(self.kept, requires_grad=False), None


@final
@dataclass(frozen=True, kw_only=True)
class Lora(Method):
    """rank: the number of rows of A, not a fraction of the weights; alpha: scale of the change; dropout: on its input;
    rslora: scale by sqrt(rank);
    target: roles (query, key, value, attention_out, ffn_in, ffn_out) or exact module paths;
    layers: "all", "last" or numbers."""

    name: Literal["lora"] = "lora"
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    rslora: bool = False
    target: tuple[str, ...] = ("query", "value")
    layers: Literal["all", "last"] | tuple[int, ...] = "all"
    default_learning_rate: ClassVar[float] = 1e-3

    def insert(self, backbone: Backbone, seed: int) -> None:
        numbers = backbone.layer_numbers(self.layers)
        for path in dict.fromkeys(p for target in self.target for p in backbone.linear_paths(target, numbers)):
            base = backbone.trunk.get_submodule(path)
            assert isinstance(base, nn.Linear)
            if self.rank > min(base.in_features, base.out_features):
                raise InputError(
                    f"rank = {self.rank}: larger than the layer {path} ({base.in_features} to {base.out_features}); "
                    f"use at most {min(base.in_features, base.out_features)}"
                )
            scale = self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)
            dropout = Dropout(self.dropout, backbone.noise)
            generator = torch_generator(seed, f"lora:{path}")
            _replace(backbone.trunk, path, LoraLinear(base, self.rank, scale, dropout, generator))

    def merge(self, backbone: Backbone) -> None:
        for layer in _layers(backbone):
            layer.merge()

    def unmerge(self, backbone: Backbone) -> None:
        """Undo `merge`: the weights are the pretrained ones again, bit for bit."""
        for layer in _layers(backbone):
            layer.unmerge()

    def problems(self, backbone: Backbone) -> list[str]:
        found = positive("rank", self.rank, "the number of rows of A, not a share of the weights")
        if self.rank > (hidden := backbone.model.config.hidden_size):
            found.append(f"rank = {self.rank}: larger than the layers ({hidden} wide); use a smaller rank")
        if not 0 <= self.dropout < 1:
            found.append(f"dropout = {self.dropout}: expected 0 <= dropout < 1")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            found.append(f"alpha = {self.alpha}: expected a number above 0, or the change is nothing")
        found += some_layers(self.layers)
        if not self.target:
            found.append("target = []: expected at least one role or module path")
        return found


def _layers(backbone: Backbone) -> list[LoraLinear]:
    return [module for module in backbone.trunk.modules() if isinstance(module, LoraLinear)]


def _replace(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)
