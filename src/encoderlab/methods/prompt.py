r"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691): learn vectors among the word embeddings, freeze the rest.

    after_cls   [CLS] p_1 ... p_n w_1 w_2 ... [SEP]      the default
    front       p_1 ... p_n [CLS] w_1 w_2 ... [SEP]      as in the `peft` library

With `after_cls` the virtual tokens share the position of [CLS]. Every real token keeps its position, and all positions
of the model can be used. (Relative and rotary positions depend on the place of a token: there the text moves away from
[CLS] by n, and the distances between its tokens do not change.) The virtual tokens are removed from the output of the
encoder: a pooler, a mean over tokens, and a head that classifies each token read only the real tokens.

`front` reproduces PEFT, so that its files mean the same here. Every position is shifted by n, n positions of the model
are occupied, nothing is removed, and a classifier reads the first virtual token in place of [CLS].

The vectors start as the embeddings of random tokens of the vocabulary, which the paper found better than random
numbers. Step 0 is therefore not the unchanged model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from encoderlab.core.rng import torch_generator
from encoderlab.core.types import Doc
from encoderlab.methods.base import Method, positive
from encoderlab.model import positions
from encoderlab.model.encoder import EncoderModel

TOKEN_WISE = ("ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering")


@final
@dataclass(frozen=True, kw_only=True)
class Prompt(Method):
    """Trained vectors among the word embeddings."""

    name: Literal["prompt"] = "prompt"
    length: Annotated[int, Doc("number of virtual tokens")] = 16
    placement: Annotated[
        Literal["after_cls", "front"],
        Doc("position of the virtual tokens: after the [CLS] token, or in front of it as in the peft library"),
    ] = "after_cls"
    # Short runs (88 steps, a small sentence encoder) had their lowest loss at 1e-3 to 3e-3 and lost from 1e-2 on. Two
    # steps at 3e-2 make another word of a vector: a value of a word embedding is about 0.05 in BERT-base.
    default_learning_rate: ClassVar[float] = 3e-3

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        words = encoder.base_model.get_input_embeddings().weight  # type: ignore[operator]
        vocabulary = min(len(encoder.tokenizer), words.size(0))
        chosen = torch.randint(vocabulary, (self.length,), generator=torch_generator(seed, "prompt"))
        encoder.base_model.register_parameter("prompt_embeddings", nn.Parameter(words.detach()[chosen].clone()))
        put = partial(_put_in, at=1 if self.placement == "after_cls" else 0)
        encoder.base_model.register_forward_pre_hook(put, with_kwargs=True)
        if self.placement == "after_cls":
            encoder.base_model.register_forward_hook(_take_out)

    @property
    def packs(self) -> bool:
        return False

    def positions_taken(self) -> int:
        return self.length if self.placement == "front" else 0

    def problems(self, encoder: EncoderModel) -> list[str]:
        problems = positive("length", self.length, "virtual tokens")
        if self.placement == "after_cls":
            return problems
        limit = positions.usable(encoder.base_model)
        if self.length >= limit:
            problems.append(f'length = {self.length}: placement "front" takes as many of the {limit} positions')
        if type(encoder.model).__name__.endswith(TOKEN_WISE):
            problems.append(
                'placement = "front": the encoder also returns the virtual tokens, and this head predicts one label '
                'per token; use placement = "after_cls"'
            )
        if getattr(encoder.model.config, "classifier_pooling", "cls") == "mean":
            problems.append(
                'placement = "front": this head averages over all tokens, which would include the virtual ones; '
                'use placement = "after_cls"'
            )
        return problems


def _put_in(base_model: nn.Module, args: Any, kwargs: dict[str, Any], at: int) -> tuple[tuple[()], dict[str, Any]]:
    """Insert the virtual tokens into a call, in front of token `at`: a forward pre-hook of the base model."""
    given = positions.arguments(base_model, args, kwargs)
    tokens = given["input_ids"] if "input_ids" in given else given["inputs_embeds"]
    prompt: Tensor = base_model.prompt_embeddings  # type: ignore[assignment]
    batch, length = tokens.size(0), prompt.size(0)

    def longer(values: Tensor, new: Tensor) -> Tensor:  # (batch, seq, ...) and (batch, length, ...)
        return torch.cat([values[:, :at], new, values[:, at:]], dim=1)

    if at == 0:
        positions.fit(base_model, tokens.size(1), length)
    elif positions.table(base_model) is not None:
        place = given.get("position_ids", positions.counted(base_model, given)).expand(batch, -1)
        given["position_ids"] = longer(place, place[:, :1].expand(-1, length))
    if (words := given.pop("inputs_embeds", None)) is None:
        words = base_model.get_input_embeddings()(tokens)  # type: ignore[operator]
    given.pop("input_ids", None)
    given["inputs_embeds"] = longer(words, prompt.to(words.dtype).expand(batch, -1, -1))
    if (mask := given.get("attention_mask")) is not None:
        given["attention_mask"] = longer(mask, mask.new_ones(batch, length))
    types = given.get("token_type_ids")
    # If the encoder has no types, a head for multiple choice passes (rows, choices, tokens), which nothing reads.
    if types is not None and types.ndim == 2:
        given["token_type_ids"] = longer(types, types.new_zeros(batch, length))
    return (), given


def _take_out(base_model: nn.Module, args: Any, output: Any) -> Any:
    """Remove the virtual tokens from the output: a forward hook of the base model."""
    length: int = base_model.prompt_embeddings.size(0)  # type: ignore[operator, union-attr, assignment]

    def shorter(states: Tensor) -> Tensor:
        return torch.cat([states[:, :1], states[:, 1 + length :]], dim=1)

    if isinstance(output, tuple):
        return (shorter(output[0]), *output[1:])
    output.last_hidden_state = shorter(output.last_hidden_state)
    if output.get("hidden_states") is not None:
        output.hidden_states = tuple(map(shorter, output.hidden_states))
    return output
