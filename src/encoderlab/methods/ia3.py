r"""(IA)^3 (Liu et al. 2022, arXiv:2205.05638, section 3.3): rescale activations by three learned vectors per layer.

    softmax(q (l_k * k)' / sqrt(d)) (l_v * v)          l_k, l_v: (hidden,)     on the keys and the values
    W2 (l_ff * act(W1 x + b1)) + b2                    l_ff: (intermediate,)   on the feed-forward activation

The vectors start at one, so the model is unchanged at step 0. Merging is exact: l_k and l_v scale rows of a weight and
its bias, l_ff scales columns. BERT-base has 12 (768 + 768 + 3072) = 55,296 of these parameters, as in the paper. By
default PEFT finds the layers of BERT by suffix and also scales the input of attention_out; set `target` to do the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoderlab.core.types import Doc
from encoderlab.methods.base import Method, some_layers
from encoderlab.model.encoder import EncoderModel

OUTPUTS, INPUTS = ("key", "value"), ("ffn_out", "attention_out")  # which side of a role's linear layer is scaled


def _scaled_outputs(module: nn.Module, args: Any, y: Tensor, start: int) -> Tensor:
    """Scale the outputs from `start` on, which are those of key and value in a fused query-key-value layer."""
    return y if module.ia3_l is None else y * _rows(module.ia3_l, start)  # type: ignore[arg-type]


def _scaled_inputs(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    return None if module.ia3_l is None else (args[0] * module.ia3_l.flatten(),)  # type: ignore[operator]


def _rows(vector: Tensor, start: int) -> Tensor:
    """Return the (n, 1) vector as (start + n,), padded in front with ones."""
    return F.pad(vector.flatten(), (start, 0), value=1.0)


@final
@dataclass(frozen=True, kw_only=True)
class Ia3(Method):
    """Trained factors of keys, values and feed-forward activations."""

    name: Literal["ia3"] = "ia3"
    target: Annotated[
        tuple[str, ...],
        Doc("what is rescaled: key and value (their outputs), ffn_out and attention_out (their inputs)"),
    ] = ("key", "value", "ffn_out")
    layers: Annotated[
        Literal["all", "last"] | tuple[int, ...],
        Doc('layers of the encoder to change: "all", "last" or numbers from 0; negative numbers count from the end'),
    ] = "all"
    # That of the paper's recipe. A rescaling near one needs larger steps than a weight: 30 to 60 times full's.
    default_learning_rate: ClassVar[float] = 3e-3
    merges: ClassVar[bool] = True

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        numbers = encoder.layer_numbers(self.layers)
        on_outputs, on_inputs = (
            dict.fromkeys(p for role in self.target if role in side for p in encoder.linear_paths(role, numbers))
            for side in (OUTPUTS, INPUTS)
        )
        for path in on_outputs:
            linear = encoder.base_model.get_submodule(path)
            assert isinstance(linear, nn.Linear)
            start = encoder.outputs("key", linear.out_features).start  # 0, or where the query's outputs end
            linear.register_parameter("ia3_l", nn.Parameter(torch.ones(linear.out_features - start, 1)))
            linear.register_forward_hook(partial(_scaled_outputs, start=start))
        for path in on_inputs:
            linear = encoder.base_model.get_submodule(path)
            assert isinstance(linear, nn.Linear)
            linear.register_parameter("ia3_l", nn.Parameter(torch.ones(1, linear.in_features)))
            linear.register_forward_pre_hook(_scaled_inputs)

    @torch.no_grad()
    def merge(self, encoder: EncoderModel) -> None:
        for linear in encoder.base_model.modules():
            vector = getattr(linear, "ia3_l", None)
            if not isinstance(linear, nn.Linear) or vector is None:
                continue
            if vector.size(0) == 1:
                weight = linear.weight * vector
            else:
                rows = _rows(vector, linear.out_features - vector.numel())
                weight = linear.weight * rows[:, None]
                if linear.bias is not None:
                    linear.bias = nn.Parameter(linear.bias * rows, requires_grad=False)
            linear.weight = nn.Parameter(weight, requires_grad=False)
            linear.register_parameter("ia3_l", None)  # the hooks let everything through

    def problems(self, encoder: EncoderModel) -> list[str]:
        problems, roles = some_layers(self.layers), (*OUTPUTS, *INPUTS)
        wrong = [role for role in self.target if role not in roles]
        if wrong or not self.target:
            problems.append(f"target = {list(self.target)}: expected at least one of {', '.join(roles)}")
        elif encoder.family.fused and ("key" in self.target) != ("value" in self.target):
            problems.append("target: key and value are one linear layer here; name both or neither")
        return problems
