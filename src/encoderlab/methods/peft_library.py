"""The bridge to the `peft` library: a method that it has and we do not, under our loop, head rules, saving and report.

    [[method]]
    name = "peft"
    type = "BOFT"                             any layer-wise type of PEFT, as it spells it
    target_modules = ["query", "ffn_out"]     then the fields of that type's config, as PEFT names them
    boft_block_size = 4

What differs from PEFT: the roles of our other methods may stand among `target_modules` and mean exact paths, in every
family (query and value where the key is absent); heads and fresh tensors train and are saved whatever the type; random
starts and dropout come from the run's seed. What a type keeps frozen and random is not in every type's file, so it is
drawn from a seed that is always the same. A type whose start rewrites pretrained weights is refused, as the file does
not hold those. Merging
is PEFT's own, and leaves a plain encoder; a type that cannot merge runs as it is.
"""

from __future__ import annotations

import copy
import difflib
import importlib.util
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, final, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from encoderlab.core.errors import InputError
from encoderlab.core.rng import derive
from encoderlab.core.types import Doc
from encoderlab.methods.base import Method
from encoderlab.model.dropout import DropoutRNG, use_dropout_rng
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import ROLES

# Types that are no change of layers, or need a loop of their own, and which of our methods does it instead.
INSTEAD = {
    "PROMPT_TUNING": "prompt",
    "MULTITASK_PROMPT_TUNING": "prompt",
    "P_TUNING": "prompt",
    "CPT": "prompt",
    "PREFIX_TUNING": "prefix",
    "CARTRIDGE": "prefix",
    "ADAPTION_PROMPT": "prefix",
    "ADALORA": "adalora",
}
FP32_ONLY = ("ADAMSS", "OSF")  # their sums mix precisions
MIXING = {"LILY"}  # its router averages over all tokens of a call, whatever row they are of
NOT_HERE = ("POLY", "XLORA", "SHADOW")  # mixtures of several adapters, or a second model beside the first
MODULES = ("target_modules", "feedforward_modules", "exclude_modules")  # fields that name modules
OURS = {"task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"}
OURS |= {"inference_mode", "modules_to_save"}  # what PEFT's configs have and encoderlab decides


@final
@dataclass(frozen=True, kw_only=True)
class Peft(Method):
    """A method of the `peft` library; `options` holds the fields of PEFT's config."""

    name: Literal["peft"] = "peft"
    type: Annotated[
        str,
        Doc('the method as PEFT spells it, such as "BOFT"; the fields of its config follow as further keys'),
    ]
    options: dict[str, Any] = field(default_factory=dict, hash=False, metadata={"rest": True})
    # Each type has a rate of its own; this is LoRA's. Name the candidates in the section.
    default_learning_rate: ClassVar[float] = 1e-3

    def insert(self, backbone: EncoderModel, seed: int) -> None:
        if problems := self.problems(backbone):
            raise InputError(*problems)
        options = self._resolved(backbone)
        if next(backbone.trunk.parameters()).is_meta:  # a model without weights: types that compute on them get zeros
            backbone.trunk.to_empty(device="cpu")
            for parameter in backbone.trunk.parameters():
                parameter.data.zero_()
        pristine = copy.deepcopy(backbone.trunk)
        self._wrap(backbone.trunk, options, derive(0, "peft"))
        _check_intact(backbone, dict(pristine.named_parameters()))
        self._wrap(pristine, options, derive(seed, "peft"))
        drawn = dict(pristine.named_parameters())
        if not any(p.requires_grad and p.numel() for p in backbone.trunk.parameters()):
            raise InputError(f"type {self.type!r} with these fields trains nothing in the encoder; set what it needs")
        for name, parameter in backbone.trunk.named_parameters():
            if parameter.requires_grad:
                parameter.data.copy_(drawn[name].data)
        seen: set[int] = set()
        for layer in layers(backbone.trunk).values():
            _unshare(layer, seen)
            layer.register_forward_pre_hook(_cast_buffers)
        if self.type in FP32_ONLY:
            backbone.trunk.register_forward_pre_hook(_refuse_bf16)
        backbone.trunk.mixes_tokens = self.type in MIXING  # type: ignore[assignment]
        use_dropout_rng(backbone.trunk, backbone.noise)
        draws = _Draws(backbone.noise)
        backbone.trunk.register_forward_pre_hook(draws.begin)
        backbone.trunk.register_forward_hook(draws.end, always_call=True)
        backbone.trunk.train(backbone.trunk.training)  # PEFT's layers begin in training mode

    def _resolved(self, backbone: EncoderModel) -> dict[str, Any]:
        """The options as PEFT takes them for this model: exact paths for roles."""
        options = {key: _paths(backbone, key, value) for key, value in self.options.items()}
        if "target_modules" in settable(self.type):
            options.setdefault("target_modules", self._targets(backbone))
        return options

    def config(self, backbone: EncoderModel) -> Any:
        """PEFT's config, for this model with the method in it or without."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return configs()[self.type](**copy.deepcopy(self._resolved(backbone)))

    def _wrap(self, trunk: nn.Module, options: Mapping[str, Any], seed: int) -> None:
        """Put PEFT's layers into `trunk`, with draws from `seed`."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

        with torch.random.fork_rng(devices=[]), torch.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about CUDA extensions, names of attributes: nothing to do for a user
            torch.manual_seed(seed)
            try:
                config = configs()[self.type](**copy.deepcopy(dict(options)))
                PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](trunk, config, "default")
            except Exception as error:  # whatever a type objects to, in its own words
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise InputError(f"type = {self.type!r}: peft does not take these settings here: {said}") from None

    def _targets(self, backbone: EncoderModel) -> list[str]:
        """Exact paths where the section names no modules: query and value, as for LoRA."""
        modules = dict(backbone.trunk.named_modules())
        if self.type == "LN_TUNING":
            return [path for path, module in modules.items() if isinstance(module, nn.LayerNorm)]
        if self.type == "TRAINABLE_TOKENS":
            words = backbone.trunk.get_input_embeddings()  # type: ignore[operator]
            return [path for path, module in modules.items() if module is words]
        return _paths(backbone, "target_modules", ["query", "value"])

    @torch.no_grad()
    def merge(self, backbone: EncoderModel) -> None:
        found, merged = layers(backbone.trunk), []
        try:
            for layer in found.values():
                layer.merge()
                merged.append(layer)
        except Exception:  # a type without a merged form says so in its own way
            for layer in merged:
                layer.unmerge()
            return
        for path, layer in found.items():
            parent, _, name = path.rpartition(".")
            setattr(backbone.trunk.get_submodule(parent), name, layer.get_base_layer())

    def problems(self, backbone: EncoderModel) -> list[str]:
        if importlib.util.find_spec("peft") is None:
            return ["needs the peft library: pip install 'encoderlab[peft]'"]
        if self.type in INSTEAD:
            return [f"type = {self.type!r}: use our own method, name = {INSTEAD[self.type]!r}, for this"]
        known = [name for name in configs() if name not in INSTEAD and name not in NOT_HERE]
        if self.type not in known:
            return [f"type = {self.type!r}: no such type among peft's single-adapter layers{_near(self.type, known)}"]
        found, kinds = [], settable(self.type)
        for key, value in self.options.items():
            if key in OURS:
                found.append(f"{key}: is set by encoderlab (heads and fresh tensors always train); leave it out")
            elif key not in kinds:
                found.append(f"{key}: peft's {self.type} has no such field{_near(key, list(kinds))}")
            elif not _fits(kinds[key], value):
                found.append(f"{key} = {value!r}: peft's {self.type} expects {_words(kinds[key])}")
        return found

    @staticmethod
    def kinds(type_name: Any) -> dict[str, Any]:
        """{field: annotation} of what a section of this type may set; {} for a type that is not there."""
        there = importlib.util.find_spec("peft") is not None and isinstance(type_name, str)
        return settable(type_name) if there and type_name in configs() else {}


@cache
def configs() -> dict[str, type]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


@cache
def settable(type_name: str) -> dict[str, Any]:
    config = configs()[type_name]
    hints = get_type_hints(config, include_extras=True)
    return {f.name: hints[f.name] for f in fields(config) if f.init and f.name not in OURS}


class _Draws:
    """Some types draw from torch's global generator when they are called. For the length of a call it is set, in
    training from our noise, so that a resumed run draws the same, and then put back."""

    def __init__(self, noise: DropoutRNG) -> None:
        self.noise = noise
        self.kept: Tensor | None = None

    def begin(self, trunk: nn.Module, args: Any) -> None:
        self.kept = torch.random.get_rng_state()
        bits = self.noise.mask(torch.empty(48), 0.5).ne(0).tolist() if trunk.training else []
        torch.manual_seed(sum(bit << i for i, bit in enumerate(bits)))

    def end(self, trunk: nn.Module, args: Any, output: Any) -> None:
        if self.kept is not None:
            torch.random.set_rng_state(self.kept)
            self.kept = None


def layers(trunk: nn.Module) -> dict[str, Any]:
    """PEFT's layers by their trunk-relative paths."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {path: module for path, module in trunk.named_modules() if isinstance(module, BaseTunerLayer)}


def _paths(backbone: EncoderModel, key: str, value: Any) -> Any:
    """A list of module names with its roles as exact paths; a name that means no module is an InputError."""
    if key not in MODULES or not isinstance(value, list):
        return value
    known = [path for path, _ in backbone.trunk.named_modules() if path]
    found: list[str] = []
    for name in value:
        if name in ROLES:
            found += backbone.linear_paths(name, backbone.layer_numbers("all"))
        elif any(path == name or path.endswith(f".{name}") for path in known):  # PEFT's own rule
            found.append(name)
        else:
            raise InputError(f"{key}: no module {name!r} in {backbone.name}{_near(name, [*ROLES, *known])}")
    return list(dict.fromkeys(found))


def _check_intact(backbone: EncoderModel, pristine: Mapping[str, Tensor]) -> None:
    """InputError where wrapping took a fresh tensor from the head's rules, or changed a pretrained one."""
    now = {name.replace("base_layer.", ""): p for name, p in backbone.trunk.named_parameters()}
    names = {name for name, _ in backbone.model.named_parameters()}
    if lost := sorted(backbone.fresh - names):
        raise InputError(
            f"target_modules: {lost[0]} is not in the checkpoint, so it trains as a whole already; name the encoder's "
            f"layers only (roles: {', '.join(ROLES)})"
        )
    changed = [name for name, p in pristine.items() if name in now and not torch.equal(p, now[name])]
    if changed:
        raise InputError(
            f"these settings rewrite pretrained weights at the start, e.g. {changed[0]}, which the adapter file does "
            "not hold; choose a start that leaves them as they are"
        )


def _unshare(module: nn.Module, seen: set[int]) -> None:
    """Give each layer containers of its own, with the same parameters in them, where a type hangs one container into
    all: a call with other tensors in their places (bf16 training) would put back the wrong ones."""
    for name, child in list(module.named_children()):
        if name == "base_layer":
            continue
        if id(child) in seen:
            child = copy.copy(child)
            child._parameters, child._modules = dict(child._parameters), dict(child._modules)
            module._modules[name] = child
        seen.add(id(child))
        _unshare(child, seen)


def _cast_buffers(layer: nn.Module, args: tuple[Any, ...]) -> None:
    """A type's frozen numbers follow the compute precision, as its parameters do."""
    x = args[0]
    if not (isinstance(x, Tensor) and x.is_floating_point()):
        return
    for buffer in layer.buffers():
        if buffer.is_floating_point() and buffer.dtype != x.dtype:
            buffer.data = buffer.data.to(x.dtype)


def _refuse_bf16(trunk: nn.Module, args: Any) -> None:
    if any(parameter.dtype == torch.bfloat16 for parameter in trunk.parameters()):
        raise InputError('train.precision: this type of peft computes in fp32 only; set precision = "fp32"')


def _fits(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):  # TypeError: a date, which no field takes
        return False
    return True


def _words(kind: Any) -> str:
    return getattr(kind, "__name__", None) if isinstance(kind, type) else str(kind).replace("typing.", "")  # type: ignore[return-value]


def _near(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3) or difflib.get_close_matches(word.upper(), known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(known[:40])}"
