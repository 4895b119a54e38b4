"""A pretrained encoder with a head, its tokenizer, and what is known about its parts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from encoderlab.core.errors import InputError
from encoderlab.model.families import ROLES, Family


@dataclass(frozen=True, kw_only=True)
class EncoderModel:
    """A model with a task head, and what is known about it.

    `fresh`: names of the parameters that the checkpoint did not hold, drawn anew from (seed, "head").
    `frozen_head`: the head is a pretrained one that stays as it is (masked LM), so that only the adapter moves.
    `fingerprint`: sha256 over the trunk: its pretrained tensors, and its config as far as it shapes the function. The
    same under every head, so without the pooler, which some heads have no use for.
    `pooler_fingerprint`, `head_fingerprint`: the same over the pretrained tensors of the pooler and of the head; empty
    where the model or its checkpoint has none. `tokenizer_fingerprint`: of what makes the tokens.
    `notes`: what was settled when it was read and is worth saying, one line each: what became of the checkpoint's own
    head, keys of its config that another model would be run by.
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
        return self.model.base_model

    @property
    def base_prefix(self) -> str:
        return "" if self.base_model is self.model else self.model.base_model_prefix + "."

    def in_pooler(self, parameter: str) -> bool:
        return parameter.startswith(f"{self.base_prefix}{self.family.pooler}.")

    def layer_paths(self) -> list[str]:
        """Trunk-relative path of each layer. Layers that share their weights are one."""
        first, *rest = self.family.layers.split(".*.")
        lists = [first]
        for inner in rest:
            lists = [f"{path}.{inner}" for path in self._members(lists)]
        return self._members(lists)

    def _members(self, lists: Sequence[str]) -> list[str]:
        """Trunk-relative paths of everything in some module lists."""
        return [f"{path}.{name}" for path in lists for name, _ in self.base_model.get_submodule(path).named_children()]

    def layers(self) -> list[nn.Module]:
        return [self.base_model.get_submodule(path) for path in self.layer_paths()]

    def part(self, layer: int, path: str) -> nn.Module:
        """`path` is a value of the `Family` row, e.g. `family.ffn_norm`."""
        return self.layers()[layer].get_submodule(path)

    def outputs(self, role: str, width: int) -> slice:
        """Which of the `width` outputs of the linear layer of query, key or value are that role's: all, or where the
        family's three are fused, a third."""
        if not self.family.fused:
            return slice(0, width)
        third, place = width // 3, ("query", "key", "value").index(role)
        return slice(place * third, (place + 1) * third)

    def attentions(self) -> list[nn.Module]:
        """The modules that call the attention function, one a layer."""
        return [layer.get_submodule(self.family.attention) for layer in self.layers()]

    def heads(self) -> list[nn.Module]:
        """The modules outside the trunk: the task's prediction head. None of a bare encoder."""
        return [] if self.base_model is self.model else [c for c in self.model.children() if c is not self.base_model]

    def output_layer(self) -> str:
        """Path of the linear layer that gives the head's answers, its last one."""
        linear = [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]
        return [name for name in linear if not name.startswith(self.base_prefix)][-1]

    @property
    def pad_id(self) -> int:
        """The token that fills a batch. It stands behind the mask, so any would do where the checkpoint names none."""
        known = (self.tokenizer.pad_token_id, getattr(self.model.config, "pad_token_id", None))
        return next((number for number in known if number is not None), 0)

    @property
    def has_types(self) -> bool:
        """Whether a second text can be told from the first by token types: some tokenizers number them for encoders
        that have one type, or none."""
        takes = "token_type_ids" in inspect.signature(self.base_model.forward).parameters
        return takes and getattr(self.model.config, "type_vocab_size", 0) > 1

    def is_head(self, parameter: str) -> bool:
        """True for a parameter of a task head that trains, and for one that the checkpoint lacks, wherever it sits."""
        outside = not parameter.startswith(self.base_prefix)
        return parameter in self.newly_initialized or (outside and not self.frozen_head)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def counts(self) -> dict[str, int]:
        """Trained parameters of the adapter and of the head, and all parameters, as {"adapter", "head", "total"}."""
        adapter = head = 0
        for name, parameter in self.trainable():
            if self.is_head(name):
                head += parameter.numel()
            else:
                adapter += parameter.numel()
        total = sum(p.numel() for p in self.model.parameters()) + sum(map(_packed, self.model.modules()))
        return {"adapter": adapter, "head": head, "total": total}

    def linear_paths(self, target: str, layers: Sequence[int]) -> list[str]:
        """Trunk-relative paths of the linear layers that `target` names: a role in each of `layers`, or one exact
        path."""
        if target in ROLES:
            paths = self.layer_paths()
            return [f"{paths[i]}.{getattr(self.family, target)}" for i in layers]
        known = [name for name, module in self.base_model.named_modules() if isinstance(module, nn.Linear)]
        if target in known:
            return [target]
        close = difflib.get_close_matches(target, [*ROLES, *known], n=3, cutoff=0.5) or list(ROLES)
        raise InputError(
            f"target {target!r}: no linear layer of that name in {self.name}; "
            f"closest: {', '.join(close)} (a role of {'/'.join(ROLES)}, or an exact module path)"
        )

    def layer_numbers(self, layers: str | Sequence[int]) -> list[int]:
        """`"all"`, `"last"` or numbers from 0; negative numbers count from the end. InputError where there is no
        such layer."""
        count = len(self.layers())
        if layers == "all":
            return list(range(count))
        if layers == "last":
            return [count - 1]
        wrong = [i for i in layers if not isinstance(i, int) or not -count <= i < count]
        if wrong:
            raise InputError(f"layers {wrong}: {self.name} has layers 0 to {count - 1} (or 'all', 'last')")
        return sorted({i % count for i in layers})  # type: ignore[operator]


def _packed(module: nn.Module) -> int:
    """The weights of a quantised linear layer, which are no parameter."""
    if not isinstance(module, nn.Linear) or "weight" in dict(module.named_parameters(recurse=False)):
        return 0
    return module.in_features * module.out_features
