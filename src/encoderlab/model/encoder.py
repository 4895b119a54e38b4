"""A pretrained encoder with a head, its tokenizer, and the names of its parts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from encoderlab.core.errors import InputError, Problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.model.families import ROLES, Family


@dataclass(frozen=True, kw_only=True)
class EncoderModel:
    """A model with a task head, its tokenizer, and the names of its parts.

    `newly_initialized`: names of the parameters that the checkpoint does not contain, drawn from (seed, "head").
    `frozen_head`: the head is a pretrained one that stays as it is (masked LM), so that only the adapter moves.
    `fingerprint`: sha256 over the pretrained tensors of the base model, and over its config as far as it determines the
    function. It is the same under every head, so it excludes the pooler, which some heads do not use.
    `pooler_fingerprint`, `head_fingerprint`: sha256 over the pretrained tensors of the pooler and of the head; empty
    if the model or its checkpoint has none. `tokenizer_fingerprint`: sha256 over the tokens that the tokenizer makes.
    `notes`: decisions made while loading, one line each: how the checkpoint's own head is used, and which keys of its
    config were changed.
    """

    name: str
    model: Any  # a transformers PreTrainedModel; its generated signatures defeat the type checker
    tokenizer: Any
    family: Family
    newly_initialized: frozenset[str]
    fingerprint: str
    pooler_fingerprint: str = ""
    tokenizer_fingerprint: str = ""
    head_fingerprint: str = ""
    notes: tuple[str, ...] = ()
    frozen_head: bool = False

    @property
    def base_model(self) -> nn.Module:
        """The encoder without its head, as transformers calls it."""
        return self.model.base_model

    @property
    def base_prefix(self) -> str:
        """The prefix of the names of the base model's parameters, such as "bert."; empty for a bare encoder."""
        return "" if self.base_model is self.model else self.model.base_model_prefix + "."

    def in_pooler(self, parameter: str) -> bool:
        """Return whether a parameter belongs to the pooler."""
        return parameter.startswith(f"{self.base_prefix}{self.family.pooler}.")

    def layer_paths(self) -> list[str]:
        """Return the path of each layer, relative to the base model. Layers that share their weights count as one."""
        first, *rest = self.family.layers.split(".*.")
        lists = [first]
        for inner in rest:
            lists = [f"{path}.{inner}" for path in self._members(lists)]
        return self._members(lists)

    def _members(self, lists: Sequence[str]) -> list[str]:
        """Return the paths of all modules in some module lists, relative to the base model."""
        return [f"{path}.{name}" for path in lists for name, _ in self.base_model.get_submodule(path).named_children()]

    def layers(self) -> list[nn.Module]:
        """Return the layers of the encoder."""
        return [self.base_model.get_submodule(path) for path in self.layer_paths()]

    def part(self, layer: int, path: str) -> nn.Module:
        """Return a part of a layer by its path in the `Family` row, such as `family.ffn_norm`."""
        return self.layers()[layer].get_submodule(path)

    def outputs(self, role: str, width: int) -> slice:
        """Return which of the `width` outputs of the layer for query, key or value belong to this role.

        These are all, or a third if the family has one layer for the three.
        """
        if not self.family.fused:
            return slice(0, width)
        third, place = width // 3, ("query", "key", "value").index(role)
        return slice(place * third, (place + 1) * third)

    def attentions(self) -> list[nn.Module]:
        """Return the modules that call the attention function, one per layer."""
        return [layer.get_submodule(self.family.attention) for layer in self.layers()]

    def heads(self) -> list[nn.Module]:
        """Return the modules outside the base model: the prediction head of the task; empty for a bare encoder."""
        return [] if self.base_model is self.model else [c for c in self.model.children() if c is not self.base_model]

    def output_layer(self) -> str:
        """Return the path of the last linear layer of the head, which gives the logits."""
        linear = [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]
        return [name for name in linear if not name.startswith(self.base_prefix)][-1]

    @property
    def pad_id(self) -> int:
        """The id of the padding token. Padding is masked, so 0 serves if the checkpoint defines none."""
        defined = (self.tokenizer.pad_token_id, getattr(self.model.config, "pad_token_id", None))
        return next((number for number in defined if number is not None), 0)

    @property
    def has_types(self) -> bool:
        """Whether the encoder has token types for two texts. Some tokenizers number them for encoders that have not."""
        takes = "token_type_ids" in inspect.signature(self.base_model.forward).parameters
        return takes and getattr(self.model.config, "type_vocab_size", 0) > 1

    def is_head(self, parameter: str) -> bool:
        """Return whether a parameter belongs to a head that trains, or is newly initialized in any module."""
        outside = not parameter.startswith(self.base_prefix)
        return parameter in self.newly_initialized or (outside and not self.frozen_head)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Iterate over (name, parameter) of the parameters that train."""
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def counts(self) -> dict[str, int]:
        """Return the numbers of trained parameters and of all parameters: {"adapter", "head", "total"}."""
        adapter = head = 0
        for name, parameter in self.trainable():
            if self.is_head(name):
                head += parameter.numel()
            else:
                adapter += parameter.numel()
        total = sum(p.numel() for p in self.model.parameters()) + sum(map(_quantized_weights, self.model.modules()))
        return {"adapter": adapter, "head": head, "total": total}

    def linear_paths(self, target: str, layers: Sequence[int]) -> list[str]:
        """Return the paths of the linear layers that `target` means, relative to the base model.

        Args:
            target: a role, which means one layer in each of `layers`, or the exact path of one layer.
            layers: numbers of the encoder's layers.

        Raises:
            InputError: no linear layer has this path.
        """
        if target in ROLES:
            paths = self.layer_paths()
            return [f"{paths[i]}.{getattr(self.family, target)}" for i in layers]
        linear = [name for name, module in self.base_model.named_modules() if isinstance(module, nn.Linear)]
        if target in linear:
            return [target]
        hint = f"expected a role ({', '.join(ROLES)}) or the exact path of a module"
        message = f"no linear layer of that name in {self.name}; {hint}"
        raise InputError(Problem(f"target {target!r}", message, did_you_mean(target, [*ROLES, *linear])))

    def layer_numbers(self, layers: str | Sequence[int]) -> list[int]:
        """Return the numbers of the chosen layers in ascending order.

        Args:
            layers: "all", "last", or numbers from 0; negative numbers count from the end.

        Raises:
            InputError: the encoder has no such layer.
        """
        count = len(self.layers())
        if layers == "all":
            return list(range(count))
        if layers == "last":
            return [count - 1]
        wrong = [i for i in layers if not isinstance(i, int) or not -count <= i < count]
        if wrong:
            raise InputError(f"layers {wrong}: {self.name} has layers 0 to {count - 1} (or 'all', 'last')")
        return sorted({i % count for i in layers})  # type: ignore[operator]


def _quantized_weights(module: nn.Module) -> int:
    """Count the weights of a quantized linear layer, which are not a parameter."""
    if not isinstance(module, nn.Linear) or "weight" in dict(module.named_parameters(recurse=False)):
        return 0
    return module.in_features * module.out_features
