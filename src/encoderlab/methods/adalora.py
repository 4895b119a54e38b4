r"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): a change in the form of an SVD, pruned to its most important ranks.

    y = x W' + b + s ((x~ A') * E') B'          A: (r, in)   E: (r, 1), the singular values   B: (out, r)

    s = alpha / (r_0 + 1e-5), with r_0 the rank at the first step, even when fewer are left (as in the paper's code and
    in PEFT)

E starts at zero, so the model is unchanged at step 0. A and B start normal with deviation 0.02. The loss of every step
gets the term

    orthogonality * mean over all A and B of ||A A' - I|| and ||B' B - I||          (Frobenius norms)

The importance of an entry w of A, E or B is I U. Both are updated from the gradients after each step before t_f:

    I <- beta1 I + (1 - beta1) |w dw|          U <- beta2 U + (1 - beta2) | |w dw| - I |

The importance of rank i of a layer is that of E_i plus the means over row i of A and column i of B. The least important
ranks of all layers beyond the budget get E_i = 0. The budget of step t falls from all ranks, R_0, to R = rank x layers:

    b(t) = R + (R_0 - R) (1 - (t - t_i) / (t_f - t_i))^3          t_i = warmup x steps   t_f = (1 - final) x steps

From t_f on, only the surviving ranks train. The schedule depends on the number of steps, so it fits every run. Of two
ranks with equal scores the earlier one stays, so that exactly R ranks are left. The saved file holds only these.

The default learning rate is ten times that of LoRA: the change is a product of three small factors instead of two, so
it grows later. On the sentences of the demo (3 epochs of 900), 1e-3 left the encoder as it was, 1e-2 and 3e-2 came near
LoRA at its best rate, and 1e-1 diverged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from encoderlab.core.types import Doc
from encoderlab.methods.low_rank import LowRank, LowRankLinear, low_rank_layers
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.prepacked_linear import with_low_rank

PARTS = ("lora_A", "lora_E", "lora_B")


class AdaLoraLinear(LowRankLinear):
    """A linear layer with the change s B (A * E). Its buffers hold I and U of A, E and B, and the ranks in use."""

    in_use: Tensor

    def __init__(
        self, base: nn.Linear, rank: int, alpha: float, dropout: nn.Module, generator: torch.Generator
    ) -> None:
        super().__init__(base, dropout)
        self.scale = alpha / (rank + 1e-5)
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features).normal_(std=0.02, generator=generator))
        self.lora_E = nn.Parameter(torch.zeros(rank, 1))
        self.lora_B = nn.Parameter(torch.empty(base.out_features, rank).normal_(std=0.02, generator=generator))
        self._forget()

    def _forget(self) -> None:
        for name in PARTS:
            for kind in ("sensitivity", "uncertainty"):
                self.register_buffer(f"{name}_{kind}", torch.zeros_like(getattr(self, name)), persistent=False)
        self.register_buffer("in_use", torch.ones_like(self.lora_E[:, 0], dtype=torch.bool), persistent=False)

    def tuned(self, x: Tensor) -> Tensor:
        a = self.lora_A * (self.lora_E * self.scale)
        return with_low_rank(x, self.weight, self.bias, self.lora_dropout(x), a, self.lora_B)

    def delta(self) -> Tensor:
        """Return the change s B (A * E), (out, in)."""
        return self.scale * (self.lora_B @ (self.lora_A * self.lora_E))

    def whole(self) -> Tensor:
        return self.weight + self.delta()

    def remember(self, beta1: float, beta2: float) -> None:
        """Update I and U from the current gradients."""
        for name in PARTS:
            parameter = getattr(self, name)
            product = (parameter * parameter.grad).abs()
            sensitivity, uncertainty = getattr(self, f"{name}_sensitivity"), getattr(self, f"{name}_uncertainty")
            sensitivity.mul_(beta1).add_(product, alpha=1 - beta1)
            uncertainty.mul_(beta2).add_((product - sensitivity).abs(), alpha=1 - beta2)

    def scores(self) -> Tensor:
        """Return the importance of each rank, (r,)."""
        a, e, b = (getattr(self, f"{name}_sensitivity") * getattr(self, f"{name}_uncertainty") for name in PARTS)
        return e.view(-1) + (a.mean(dim=1) + b.mean(dim=0))

    def prune(self) -> None:
        """Set E_i = 0 for the ranks that are not in use."""
        self.lora_E.mul_(self.in_use[:, None])

    def resize(self, rank: int) -> None:
        """Make room for the ranks of a trained layer. The scale remains that of the first rank."""
        shapes = ((rank, self.in_features), (rank, 1), (self.out_features, rank))
        for name, shape in zip(PARTS, shapes, strict=True):
            setattr(self, name, nn.Parameter(getattr(self, name).new_zeros(shape)))
        self._forget()


@final
@dataclass(frozen=True, kw_only=True)
class AdaLora(LowRank):
    """W + s B diag(E) A beside chosen linear layers; the ranks of the layers change in training."""

    name: Literal["adalora"] = "adalora"
    rank: Annotated[int, Doc("average rank of the layers at the end of training")] = 8
    initial_rank: Annotated[int | None, Doc("rank of every layer at the start; default: 1.5 times rank")] = None
    warmup: Annotated[float, Doc("share of the steps before the first rank is removed")] = 0.1
    final: Annotated[float, Doc("share of the steps after the last rank is removed")] = 0.3
    interval: Annotated[int, Doc("number of steps from one choice of ranks to the next")] = 10
    beta1: Annotated[float, Doc("decay of the running mean of the importance")] = 0.85
    beta2: Annotated[float, Doc("decay of the running deviation of the importance")] = 0.85
    orthogonality: Annotated[float, Doc("weight of the loss term that keeps A and B orthogonal")] = 0.5
    default_learning_rate: ClassVar[float] = 1e-2

    @property
    def first_rank(self) -> int:
        return math.ceil(1.5 * self.rank) if self.initial_rank is None else self.initial_rank

    def wrap(self, base: nn.Linear, dropout: nn.Module, generator: torch.Generator) -> nn.Linear:
        return AdaLoraLinear(base, self.first_rank, self.alpha, dropout, generator)

    def phase(self, steps: int) -> tuple[int, int]:
        """Return t_i and t_f of a run, with 0 <= t_i < t_f <= steps for all shares."""
        start = min(math.floor(self.warmup * steps), steps - 1)
        return start, max(start + 1, steps - math.floor(self.final * steps))

    def budget(self, step: int, steps: int, layers: int) -> int:
        """Return b(t), the number of ranks of all layers together."""
        start, end = self.phase(steps)
        first, last = layers * self.first_rank, layers * self.rank
        left = 1 - (min(max(step, start), end) - start) / (end - start)
        return last + int((first - last) * left**3)

    def regulariser(self, encoder: EncoderModel) -> Tensor | None:
        if self.orthogonality == 0:
            return None
        norms = []
        for _, layer in _layers(encoder):
            for rows in (layer.lora_A, layer.lora_B.T):
                norms.append(torch.linalg.matrix_norm(rows @ rows.T - torch.eye(len(rows), device=rows.device)))
        return self.orthogonality * torch.stack(norms).mean()

    @torch.no_grad()
    def after_step(self, encoder: EncoderModel, step: int, steps: int) -> None:
        layers = [layer for _, layer in _layers(encoder)]
        start, end = self.phase(steps)
        if step < end:
            for layer in layers:
                layer.remember(self.beta1, self.beta2)
        prunes = step == end or (start < step < end and step % self.interval == 0)
        if prunes:
            scores = torch.cat([layer.scores() for layer in layers])
            best = scores.argsort(descending=True, stable=True)[: self.budget(step, steps, len(layers))]
            in_use = torch.zeros_like(scores, dtype=torch.bool)
            in_use[best] = True
            for layer, part in zip(layers, in_use.split([len(layer.in_use) for layer in layers]), strict=True):
                layer.in_use.copy_(part)
        if prunes or step > end:
            for layer in layers:
                layer.prune()

    def state(self, encoder: EncoderModel) -> dict[str, Tensor]:
        return {f"{path}.{name}": t for path, layer in _layers(encoder) for name, t in layer.named_buffers()}

    def can_be_best(self, step: int, steps: int) -> bool:
        return step >= self.phase(steps)[1]

    def trimmed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        trimmed = dict(tensors)
        for path in [name.removesuffix(".lora_E") for name in tensors if name.endswith(".lora_E")]:
            a, e, b = (f"{path}.{part}" for part in PARTS)
            used = tensors[e].view(-1) != 0
            trimmed |= {a: tensors[a][used], e: tensors[e][used], b: tensors[b][:, used].contiguous()}
        return trimmed

    def resize(self, encoder: EncoderModel, tensors: Mapping[str, Tensor]) -> None:
        for path, layer in _layers(encoder):
            if (values := tensors.get(f"{path}.lora_E")) is not None and len(values) <= self.first_rank:
                layer.resize(len(values))

    def problems(self, encoder: EncoderModel) -> list[str]:
        problems = super().problems(encoder)
        if self.rank >= 1 and self.first_rank <= self.rank:
            problems.append(
                f"initial_rank = {self.first_rank}: expected more than rank = {self.rank}, or no rank can be pruned; "
                f"remove it for {math.ceil(1.5 * self.rank)}"
            )
        if not (self.warmup >= 0 and self.final >= 0 and self.warmup + self.final < 1):
            problems.append(
                f"warmup = {self.warmup}, final = {self.final}: expected two shares of the run's steps that leave "
                "some between them, such as 0.1 and 0.3"
            )
        if self.interval < 1:
            problems.append(f"interval = {self.interval}: expected at least 1 step")
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 < beta < 1:
                problems.append(f"{name} = {beta}: expected a number between 0 and 1")
        if not (self.orthogonality >= 0 and math.isfinite(self.orthogonality)):
            problems.append(f"orthogonality = {self.orthogonality}: expected a number from 0 up")
        return problems


def _layers(encoder: EncoderModel) -> Iterator[tuple[str, AdaLoraLinear]]:
    return ((path, layer) for path, layer in low_rank_layers(encoder) if isinstance(layer, AdaLoraLinear))
