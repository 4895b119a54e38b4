r"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190): learn keys and values in front of those of every layer.

    head_i = softmax(q_i [P_k ; k_i]' / sqrt(d)) [P_v ; v_i]          P_k, P_v: (heads, length, head size), per layer

No token is inserted, so positions do not change and all positions of the model can be used. With `shift_positions` the
positions of the tokens continue from the prefix, which occupies `length` positions. The `peft` library does the same
in the families where it can, and its files require it.

The prefix is trained directly, without the reparametrization network of the paper. It starts as the keys and values
that the frozen encoder computes for `length` random tokens of its vocabulary. These have the right scale, which the
paper found to matter on small data. Step 0 is therefore not the unchanged model.
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

CACHE = "past_key_values"  # the argument of an encoder's call that takes the prefix of PEFT


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

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        family, config = encoder.family, encoder.model.config
        heads = config.num_attention_heads
        numbers = encoder.layer_numbers(self.layers)
        projections = [(i, role) for i in numbers for role in ("key", "value")]
        start = _projected(encoder, projections, self.length, seed)
        for i in numbers:
            attention = encoder.part(i, family.attention)
            for role in ("key", "value"):
                split = start[i, role].view(self.length, heads, -1).transpose(0, 1)  # (heads, length, head size)
                attention.register_parameter(f"prefix_{role}", nn.Parameter(split.contiguous()))
        if self.shift_positions:
            encoder.base_model.register_forward_pre_hook(partial(_shift, length=self.length), with_kwargs=True)

    @property
    def packs(self) -> bool:
        return not self.shift_positions

    def positions_taken(self) -> int:
        return self.length if self.shift_positions else 0

    def problems(self, encoder: EncoderModel) -> list[str]:
        problems = positive("length", self.length, "learned key-value pairs per layer") + some_layers(self.layers)
        if not self.shift_positions:
            return problems
        if CACHE not in inspect.signature(encoder.base_model.forward).parameters:
            problems.append(
                f"shift_positions = true: {encoder.name} takes no {CACHE}, so the peft library has no prefix tuning "
                "for it; remove shift_positions"
            )
        elif self.length >= (limit := positions.usable(encoder.base_model)):
            problems.append(f"length = {self.length}: shift_positions takes as many of the {limit} positions")
        return problems


def _shift(base_model: nn.Module, args: Any, kwargs: dict[str, Any], length: int) -> tuple[tuple[()], dict[str, Any]]:
    """Count the positions of a call on from the prefix, unless the call gives positions itself."""
    given = positions.arguments(base_model, args, kwargs)
    place = positions.counted(base_model, given, before=length)
    positions.fit(base_model, place.size(1), length)
    return (), {"position_ids": place, **given}


def _store_output(outputs: dict[tuple[int, str], Tensor], at: tuple[int, str], encoder: EncoderModel) -> Any:
    """Return a forward hook that stores the first row of the output of a projection, (length, hidden)."""

    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        outputs[at] = output[0, :, encoder.outputs(at[1], output.size(-1))].clone()

    return hook


@torch.no_grad()
def _projected(
    encoder: EncoderModel, projections: list[tuple[int, str]], length: int, seed: int
) -> dict[tuple[int, str], Tensor]:
    """Return the output of each projection, (length, hidden), for a text of `length` random tokens."""
    ids = torch.randint(len(encoder.tokenizer), (1, length), generator=torch_generator(seed, "prefix"))
    ids = ids.clamp(max=encoder.base_model.get_input_embeddings().num_embeddings - 1)  # type: ignore[operator]
    outputs: dict[tuple[int, str], Tensor] = {}
    hooks = []
    for i, role in projections:
        linear = encoder.part(i, getattr(encoder.family, role))
        hooks.append(linear.register_forward_hook(_store_output(outputs, (i, role), encoder)))
    training = encoder.model.training
    encoder.model.eval()
    encoder.base_model(input_ids=ids)
    encoder.model.train(training)
    for hook in hooks:
        hook.remove()
    return outputs
