r"""The parts that the low-rank methods share: a trained change of chosen frozen linear layers, and its settings.

y = x W' + b   becomes   y = x (W + C)' + b          C: (out, in), of low rank; each method has its own
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

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
    """A linear layer with a trained change. It shares weight and bias with the layer that it replaces."""

    def __init__(self, base: nn.Linear, dropout: nn.Module) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.lora_dropout = dropout
        self.pretrained: Tensor | None = None  # W while merged

    @abstractmethod
    def tuned(self, x: Tensor) -> Tensor:
        """Compute the layer with its change, (..., in) -> (..., out)."""

    @abstractmethod
    def whole(self) -> Tensor:
        """Return the weight, (out, in), of a plain linear layer that computes the same."""

    def forward(self, input: Tensor) -> Tensor:
        return self.tuned(input) if self.pretrained is None else linear(input, self.weight, self.bias)

    @torch.no_grad()
    def merge(self) -> None:
        """Use `whole` as the weight. W itself is kept, so that `unmerge` is exact to the bit."""
        if self.pretrained is None:
            self.pretrained = self.weight.data
            self.weight = nn.Parameter(self.whole(), requires_grad=False)

    def unmerge(self) -> None:
        """Use W as the weight again."""
        if self.pretrained is not None:
            self.weight, self.pretrained = nn.Parameter(self.pretrained, requires_grad=False), None


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
    merges: ClassVar[bool] = True

    @property
    def first_rank(self) -> int:
        """The number of ranks of a layer at the first step."""
        return self.rank

    @abstractmethod
    def wrap(self, base: nn.Linear, dropout: nn.Module, generator: torch.Generator) -> nn.Linear:
        """Return the layer that replaces `base`, initialized from `generator`."""

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        numbers = encoder.layer_numbers(self.layers)
        for path in dict.fromkeys(p for target in self.target for p in encoder.linear_paths(target, numbers)):
            base = encoder.base_model.get_submodule(path)
            assert isinstance(base, nn.Linear)
            if self.first_rank > min(base.in_features, base.out_features):
                raise InputError(
                    f"rank = {self.first_rank}: larger than the layer {path} ({base.in_features} to "
                    f"{base.out_features}); use at most {min(base.in_features, base.out_features)}"
                )
            dropout = Dropout(self.dropout)
            replace_module(encoder.base_model, path, self.wrap(base, dropout, torch_generator(seed, f"lora:{path}")))

    def merge(self, encoder: EncoderModel) -> None:
        for _, layer in low_rank_layers(encoder):
            layer.merge()

    def unmerge(self, encoder: EncoderModel) -> None:
        """Restore the pretrained weights, bit for bit."""
        for _, layer in low_rank_layers(encoder):
            layer.unmerge()

    def problems(self, encoder: EncoderModel) -> list[str]:
        problems = positive("rank", self.rank, "rank-one matrices per layer, not a share of the weights")
        if self.first_rank > (hidden := encoder.model.config.hidden_size):
            problems.append(f"rank = {self.first_rank}: larger than the layers ({hidden} wide); use a smaller rank")
        if not 0 <= self.dropout < 1:
            problems.append(f"dropout = {self.dropout}: expected 0 <= dropout < 1")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            problems.append(f"alpha = {self.alpha}: expected a number above 0, or the change is nothing")
        problems += some_layers(self.layers)
        if not self.target:
            problems.append("target = []: expected at least one role or module path")
        return problems


@dataclass(frozen=True, kw_only=True)
class FixedRank(LowRank):
    """A low-rank method whose ranks stay the same."""

    rslora: Annotated[bool, Doc("whether alpha is divided by sqrt(rank) instead of rank")] = False

    @property
    def scale(self) -> float:
        """The scale s = alpha / rank, or alpha / sqrt(rank) with rslora (Kalajdzievski 2023, arXiv:2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def low_rank_layers(encoder: EncoderModel) -> Iterator[tuple[str, LowRankLinear]]:
    """Iterate over (path relative to the base model, layer) of every layer with a trained change."""
    modules = encoder.base_model.named_modules()
    return ((path, module) for path, module in modules if isinstance(module, LowRankLinear))


def replace_module(root: nn.Module, path: str, module: nn.Module) -> None:
    """Replace the module at `path` below `root` by `module`."""
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)
