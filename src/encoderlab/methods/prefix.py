r"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190): learned keys and values in front of every layer's own.

    head_i = softmax(q_i [P_k ; k_i]' / sqrt(d)) [P_v ; v_i]          P_k, P_v: (heads, length, head size), per layer

Nothing is put among the tokens: positions are unshifted, and all positions of the model stay usable. (With
`shift_positions` the tokens are numbered on from the prefix, as the `peft` library does where it can: its files mean
that. It costs `length` of the model's positions.) The prefix is
trained directly, without the paper's reparametrisation network. It starts as the keys and values that the frozen
encoder itself computes for `length` random tokens of its vocabulary: values of the right size, which the paper found
to matter in small data. Step 0 is therefore not the unchanged model.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from encoderlab.core.rng import torch_generator
from encoderlab.core.types import Doc
from encoderlab.methods.base import Method, positive, some_layers
from encoderlab.model import positions
from encoderlab.model.encoder import EncoderModel

CACHE = "past_key_values"  # the argument of a trunk through which PEFT hands its prefix


@final
@dataclass(frozen=True, kw_only=True)
class Prefix(Method):
    """Trained keys and values in front of those of each layer."""

    name: Literal["prefix"] = "prefix"
    length: Annotated[int, Doc("number of trained key-value pairs per layer and head")] = 16
    layers: Annotated[
        Literal["all", "last"] | tuple[int, ...],
        Doc('layers of the encoder to change: "all", "last" or numbers from 0; negative numbers count from the end'),
    ] = "all"
    shift_positions: Annotated[
        bool, Doc("whether the positions of the tokens start after the prefix, as in the peft library")
    ] = False
    default_learning_rate: ClassVar[float] = 3e-2

    def insert(self, backbone: EncoderModel, seed: int) -> None:
        family, config = backbone.family, backbone.model.config
        heads = config.num_attention_heads
        numbers = backbone.layer_numbers(self.layers)
        projections = [(i, role) for i in numbers for role in ("key", "value")]
        start = _projected(backbone, projections, self.length, seed)
        for i in numbers:
            attention = backbone.part(i, family.attention)
            for role in ("key", "value"):
                split = start[i, role].view(self.length, heads, -1).transpose(0, 1)  # (heads, length, head size)
                attention.register_parameter(f"prefix_{role}", nn.Parameter(split.contiguous()))
        if self.shift_positions:
            backbone.trunk.register_forward_pre_hook(partial(_shift, length=self.length), with_kwargs=True)

    def positions_taken(self) -> int:
        return self.length if self.shift_positions else 0

    def problems(self, backbone: EncoderModel) -> list[str]:
        found = positive("length", self.length, "learned key-value pairs per layer") + some_layers(self.layers)
        if not self.shift_positions:
            return found
        if CACHE not in inspect.signature(backbone.trunk.forward).parameters:
            found.append(
                f"shift_positions = true: {backbone.name} takes no {CACHE}, so the peft library has no prefix tuning "
                "for it; leave the positions unshifted"
            )
        elif self.length >= (limit := positions.usable(backbone.trunk)):
            found.append(f"length = {self.length}: shift_positions takes as many of the {limit} positions")
        return found


def _shift(trunk: nn.Module, args: Any, kwargs: dict[str, Any], length: int) -> tuple[tuple[()], dict[str, Any]]:
    """The call with positions that count on from the prefix, unless it gives positions itself."""
    given = positions.arguments(trunk, args, kwargs)
    place = positions.counted(trunk, given, before=length)
    positions.fit(trunk, place.size(1), length)
    return (), {"position_ids": place, **given}


def _keep(seen: dict[tuple[int, str], Tensor], at: tuple[int, str], backbone: EncoderModel) -> Any:
    """A forward hook that stores the first row of what a module returns for the role."""

    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        seen[at] = output[0, :, backbone.outputs(at[1], output.size(-1))].clone()

    return hook


@torch.no_grad()
def _projected(
    backbone: EncoderModel, projections: list[tuple[int, str]], length: int, seed: int
) -> dict[tuple[int, str], Tensor]:
    """What each projection gives, (length, hidden), for `length` random tokens run through the encoder as one text."""
    ids = torch.randint(len(backbone.tokenizer), (1, length), generator=torch_generator(seed, "prefix"))
    ids = ids.clamp(max=backbone.trunk.get_input_embeddings().num_embeddings - 1)  # type: ignore[operator]
    seen: dict[tuple[int, str], Tensor] = {}
    hooks = []
    for i, role in projections:
        linear = backbone.part(i, getattr(backbone.family, role))
        hooks.append(linear.register_forward_hook(_keep(seen, (i, role), backbone)))
    training = backbone.model.training
    backbone.model.eval()
    backbone.trunk(input_ids=ids)
    backbone.model.train(training)
    for hook in hooks:
        hook.remove()
    return seen
