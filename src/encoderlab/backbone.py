"""A pretrained encoder with a head, its tokenizer, and what is known about its parts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import transformers
from torch import nn

from encoderlab import attention, checkpoint_config, fingerprints, heads
from encoderlab.checkpoint_config import one_line, quiet, read
from encoderlab.checkpoint_config import read_config as read_config
from encoderlab.errors import InputError
from encoderlab.families import FAMILIES as FAMILIES
from encoderlab.families import ROLES, Family
from encoderlab.randomness import Noise, derive, use_noise

# Keys of a config that say where a model is from or what its head answers, not what the encoder computes.
NOT_THE_FUNCTION = {
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "transformers_version",
}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A model with a task head, and what is known about it.

    `fresh`: names of the parameters that the checkpoint did not hold, drawn anew from (seed, "head").
    `noise`: what every dropout inside the model draws from.
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
    fresh: frozenset[str]
    fingerprint: str
    pooler_fingerprint: str = ""
    tokenizer_fingerprint: str = ""
    head_fingerprint: str = ""
    notes: tuple[str, ...] = ()
    noise: Noise = field(default_factory=Noise)
    frozen_head: bool = False

    @property
    def trunk(self) -> nn.Module:
        return self.model.base_model

    @property
    def trunk_prefix(self) -> str:
        return "" if self.trunk is self.model else self.model.base_model_prefix + "."

    def in_pooler(self, parameter: str) -> bool:
        return parameter.startswith(f"{self.trunk_prefix}{self.family.pooler}.")

    def layer_paths(self) -> list[str]:
        """Trunk-relative path of each layer. Layers that share their weights are one."""
        first, *rest = self.family.layers.split(".*.")
        lists = [first]
        for inner in rest:
            lists = [f"{path}.{inner}" for path in self._members(lists)]
        return self._members(lists)

    def _members(self, lists: Sequence[str]) -> list[str]:
        """Trunk-relative paths of everything in some module lists."""
        return [f"{path}.{name}" for path in lists for name, _ in self.trunk.get_submodule(path).named_children()]

    def layers(self) -> list[nn.Module]:
        return [self.trunk.get_submodule(path) for path in self.layer_paths()]

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
        return [] if self.trunk is self.model else [c for c in self.model.children() if c is not self.trunk]

    def output_layer(self) -> str:
        """Path of the linear layer that gives the head's answers, its last one."""
        linear = [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]
        return [name for name in linear if not name.startswith(self.trunk_prefix)][-1]

    @property
    def pad_id(self) -> int:
        """The token that fills a batch. It stands behind the mask, so any would do where the checkpoint names none."""
        known = (self.tokenizer.pad_token_id, getattr(self.model.config, "pad_token_id", None))
        return next((number for number in known if number is not None), 0)

    @property
    def has_types(self) -> bool:
        """Whether a second text can be told from the first by token types: some tokenizers number them for encoders
        that have one type, or none."""
        takes = "token_type_ids" in inspect.signature(self.trunk.forward).parameters
        return takes and getattr(self.model.config, "type_vocab_size", 0) > 1

    def is_head(self, parameter: str) -> bool:
        """True for a parameter of a task head that trains, and for one that the checkpoint lacks, wherever it sits."""
        outside = not parameter.startswith(self.trunk_prefix)
        return parameter in self.fresh or (outside and not self.frozen_head)

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
        known = [name for name, module in self.trunk.named_modules() if isinstance(module, nn.Linear)]
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


def load(
    name: str, *, head: str, class_names: Sequence[str], seed: int, tokenizer: Any = None, anew: str = ""
) -> Backbone:
    """Read encoder and tokenizer in fp32 from a folder or the hub's cache, with a fresh head for `class_names`.

    `head` names the transformers Auto class ("AutoModelForSequenceClassification"; "AutoModel" is the bare encoder,
    whose pooler is left out where the checkpoint has none: nothing reads it). tokenizer: this model's, where it is
    loaded already. anew: why the last layer of the checkpoint's own head is not used (`head_units`). Raises InputError
    for a folder that is no model, a hub name that can't be had, a family that is not in the
    table.
    """
    config, family, settled, said = read(name)
    files = fingerprints.state(name, config)
    notes = list(settled.notes)
    with torch.random.fork_rng(devices=[]), quiet(), one_line(name, "could not be loaded: "):
        if tokenizer is None:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        if problems := checkpoint_config.tokenizer_form(tokenizer):
            raise InputError(*(f"model {name!r}: {problem}" for problem in problems))
        if not isinstance(tokenizer.model_max_length, int | float):
            tokenizer.model_max_length = transformers.tokenization_utils_base.VERY_LARGE_INTEGER
        padding = checkpoint_config.settle_padding(config, family.counts_from_padding, tokenizer.pad_token_id)
        notes += [] if padding is None else [padding]
        config.id2label = dict(enumerate(class_names))
        config.label2id = {label: i for i, label in enumerate(class_names)}
        torch.manual_seed(derive(seed, "head"))
        model, info = getattr(transformers, head).from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention.NAME,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # a head for other classes is drawn anew; the trunk is checked below
        )
    _trunk_first(model)
    sizes = {key[0]: tuple(key[1]) for key in info["mismatched_keys"]}
    unread = {*info["missing_keys"], *sizes}
    fresh = frozenset(unread) & {n for n, _ in model.named_parameters()}
    noise = Noise()
    use_noise(model, noise)  # before a method inserts its parts: hooks on a dropout module stay where they are put
    backbone = Backbone(
        name=name,
        model=model,
        tokenizer=tokenizer,
        family=family,
        fresh=fresh,
        fingerprint="",
        noise=noise,
        frozen_head=head == "AutoModelForMaskedLM",
    )
    for path, module in zip(backbone.layer_paths(), backbone.attentions(), strict=True):
        if family.stand_in is not None:
            module = family.stand_in(module)
            backbone.trunk.set_submodule(f"{path}.{family.attention}", module)
        module.noise = noise  # type: ignore[assignment]
    if problems := [*_trunk_problems(backbone), *_tokenizer_problems(backbone)]:
        raise InputError(*(f"model {name!r}: {problem}" for problem in problems))
    notes += _left_over(backbone, info["unexpected_keys"])
    taken = None
    if heads.has_labels(head):
        layer = backbone.output_layer()
        if f"{layer}.weight" in sizes or f"{layer}.weight" not in fresh:
            taken = heads.bring(model, layer, head, said, sizes, class_names, seed, anew)
            notes.append(taken.note)
            fresh |= {n for n, _ in model.named_parameters() if taken.anew and n.startswith(f"{layer}.")}
    bare_pooler = {name for name in fresh if backbone.in_pooler(name)} if backbone.trunk is model else set()
    if bare_pooler:
        setattr(backbone.trunk, family.pooler, None)
    function = {**config.to_dict(), **settled.as_read}
    shape = repr(sorted((key, value) for key, value in function.items() if key not in NOT_THE_FUNCTION))
    # A head that answers with a number was once taken for one in units of the labels' spread: those runs are others.
    unit = heads.UNIT if taken is not None and taken.number and not taken.anew else ""

    def find() -> tuple[str, ...]:
        known = {
            n.removeprefix(backbone.trunk_prefix): (backbone.in_pooler(n), n.startswith(backbone.trunk_prefix), p)
            for n, p in model.named_parameters()
            if n not in fresh
        }
        if broken := [n for n, (_, _, p) in known.items() if not p.isfinite().all()]:
            raise InputError(f"model {name!r}: its weights hold numbers that are not finite, e.g. in {min(broken)}")
        return (
            fingerprints.of_tensors({n: p for n, (pooler, inside, p) in known.items() if inside and not pooler}, shape),
            fingerprints.of_tensors({n: p for n, (pooler, _, p) in known.items() if pooler}),
            fingerprints.of_tensors({n: p for n, (_, inside, p) in known.items() if not inside}, unit),
            fingerprints.of_tokens(tokenizer),
        )

    with one_line(name, "its tokenizer cannot make tokens: "):
        ours, pooler, own_head, tokens = fingerprints.once(
            files, (head, fresh, shape, unit, taken and taken.order), find
        )
    return replace(
        backbone,
        fresh=fresh - bare_pooler,
        fingerprint=ours,
        pooler_fingerprint=pooler,
        head_fingerprint=own_head,
        tokenizer_fingerprint=tokens,
        notes=tuple(notes),
    )


def _left_over(backbone: Backbone, unread: Iterable[str]) -> list[str]:
    """Say it where the weights hold parts of layers that the config does not describe."""
    inside = f"{backbone.family.layers.partition('.*')[0]}."
    left = sorted(key for key in unread if inside in key)
    if not left:
        return []
    return [f"{len(left)} tensors of its layers have no place in the model that config.json describes, e.g. {left[0]}"]


def _trunk_first(model: Any) -> None:
    """Give a tensor that trunk and head share the trunk's name: `named_parameters` calls it by the first it meets."""
    for name, child in list(model.named_children()):
        if child is not model.base_model:
            delattr(model, name)
            setattr(model, name, child)


def _packed(module: nn.Module) -> int:
    """The weights of a quantised linear layer, which are no parameter."""
    if not isinstance(module, nn.Linear) or "weight" in dict(module.named_parameters(recurse=False)):
        return 0
    return module.in_features * module.out_features


def _trunk_problems(backbone: Backbone) -> list[str]:
    prefix = backbone.trunk_prefix
    absent = sorted(n for n in backbone.fresh if n.startswith(prefix) and not backbone.in_pooler(n))
    if not absent:
        return []
    return [
        f"{len(absent)} of the encoder's tensors are missing in its weights or have another shape, e.g. {absent[0]}; "
        "config.json and the weights do not belong together"
    ]


def _tokenizer_problems(backbone: Backbone) -> list[str]:
    words, rows = len(backbone.tokenizer), backbone.trunk.get_input_embeddings().num_embeddings  # type: ignore[operator]
    if words <= len(backbone.tokenizer.all_special_tokens):
        return ["its tokenizer knows no words; expected tokenizer.json or a vocabulary file in the folder"]
    if words > rows:
        return [
            f"its tokenizer has {words} tokens, but the encoder has embeddings for {rows}; they do not belong together"
        ]
    return []
