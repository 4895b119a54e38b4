"""The bridge to the `peft` library: train its other methods with our loop, head rules, file format and report.

    [[method]]
    name = "peft"
    type = "BOFT"                             any layer-wise type of PEFT, as it spells it
    target_modules = ["query", "ffn_out"]     then the fields of that type's config, as PEFT names them
    boft_block_size = 4

Differences from PEFT:
- `target_modules` may contain the roles of our other methods, which mean exact paths in every family. The default is
  query and value.
- Heads and newly initialized tensors train and are saved with every type.
- Initial values and dropout depend on the seed of the run. Frozen random tensors, which the file of some types does not
  contain, are drawn from one fixed seed.
- A type that rewrites pretrained weights at the start is refused, because the file does not contain them.
- PEFT merges, which leaves a plain encoder. A type that cannot merge runs as it is.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import RLock, get_ident
from typing import Annotated, Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from encoderlab.core.errors import InputError, first_line
from encoderlab.core.rng import derive
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import Doc, fits
from encoderlab.methods.base import Method
from encoderlab.methods.peft_types import OURS, configs, layers, settable, type_name
from encoderlab.model.dropout import active_rng, replace_dropout
from encoderlab.model.encoder import EncoderModel
from encoderlab.model.families import ROLES

# Types that do not change layers, or need a loop of their own, and our method that replaces them.
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
FP32_ONLY = ("ADAMSS", "OSF")  # they add tensors of different precisions
MIXING = {"LILY"}  # its router averages over all tokens of a call, across rows
NOT_SUPPORTED = ("POLY", "XLORA", "SHADOW")  # mixtures of several adapters, or a second model beside the first
MODULES = ("target_modules", "feedforward_modules", "exclude_modules")  # fields that name modules


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
    # The rate of LoRA. The best rate differs between types: set the candidates in the section.
    default_learning_rate: ClassVar[float] = 1e-3
    merges: ClassVar[bool] = True  # except for the types that PEFT cannot merge, which run as they are

    def insert(self, encoder: EncoderModel, seed: int) -> None:
        if problems := self.problems(encoder):
            raise InputError(*problems)
        options = self._resolved(encoder)
        if next(encoder.base_model.parameters()).is_meta:  # no weights: types that compute on them get zeros
            encoder.base_model.to_empty(device="cpu")
            for parameter in encoder.base_model.parameters():
                parameter.data.zero_()
        pristine = copy.deepcopy(encoder.base_model)
        self._wrap(encoder.base_model, options, derive(0, "peft"))
        _check_intact(encoder, dict(pristine.named_parameters()))
        self._wrap(pristine, options, derive(seed, "peft"))
        drawn = dict(pristine.named_parameters())
        if not any(p.requires_grad and p.numel() for p in encoder.base_model.parameters()):
            raise InputError(
                f"type = {self.type!r}: these fields train nothing in the encoder; check the fields that choose modules"
            )
        for name, parameter in encoder.base_model.named_parameters():
            if parameter.requires_grad:
                parameter.data.copy_(drawn[name].data)
        seen: set[int] = set()
        for layer in layers(encoder.base_model).values():
            _unshare(layer, seen)
            layer.register_forward_pre_hook(_cast_buffers)
        if self.type in FP32_ONLY:
            encoder.base_model.register_forward_pre_hook(_refuse_bf16)
        replace_dropout(encoder.base_model)
        draws = _Draws()
        encoder.base_model.register_forward_pre_hook(draws.begin)
        encoder.base_model.register_forward_hook(draws.end, always_call=True)
        encoder.base_model.train(encoder.base_model.training)  # PEFT's layers begin in training mode

    def _resolved(self, encoder: EncoderModel) -> dict[str, Any]:
        """Return the options for this model, with exact paths in place of roles."""
        options = {key: _paths(encoder, key, value) for key, value in self.options.items()}
        if "target_modules" in settable(self.type):
            options.setdefault("target_modules", self._targets(encoder))
        return options

    @property
    def packs(self) -> bool:
        return self.type not in MIXING

    def config(self, encoder: EncoderModel) -> Any:
        """Return the config of PEFT for this model, with or without the method in it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return configs()[self.type](**copy.deepcopy(self._resolved(encoder)))

    def _wrap(self, base_model: nn.Module, options: Mapping[str, Any], seed: int) -> None:
        """Insert the layers of PEFT into `base_model`, initialized from `seed`."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

        with torch.random.fork_rng(devices=[]), torch.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about CUDA extensions, names of attributes: nothing to do for a user
            torch.manual_seed(seed)
            try:
                config = configs()[self.type](**copy.deepcopy(dict(options)))
                PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](base_model, config, "default")
            except Exception as error:  # each type has its own exceptions
                message = f"type = {self.type!r}: peft does not accept these settings: {first_line(error)}"
                raise InputError(message) from None

    def _targets(self, encoder: EncoderModel) -> list[str]:
        """Return the paths of the default modules, in most types query and value."""
        modules = dict(encoder.base_model.named_modules())
        if self.type == "LN_TUNING":
            return [path for path, module in modules.items() if isinstance(module, nn.LayerNorm)]
        if self.type == "TRAINABLE_TOKENS":
            words = encoder.base_model.get_input_embeddings()  # type: ignore[operator]
            return [path for path, module in modules.items() if module is words]
        return _paths(encoder, "target_modules", ["query", "value"])

    @torch.no_grad()
    def merge(self, encoder: EncoderModel) -> None:
        peft_layers, merged = layers(encoder.base_model), []
        try:
            for layer in peft_layers.values():
                layer.merge()
                merged.append(layer)
        except Exception:  # this type cannot merge; each has its own exception
            for layer in merged:
                layer.unmerge()
            return
        for path, layer in peft_layers.items():
            parent, _, name = path.rpartition(".")
            setattr(encoder.base_model.get_submodule(parent), name, layer.get_base_layer())

    def problems(self, encoder: EncoderModel) -> list[str]:
        if importlib.util.find_spec("peft") is None:
            return ["needs the peft library: pip install 'encoderlab[peft]'"]
        if self.type in INSTEAD:
            return [f"type = {self.type!r}: encoderlab has its own method for this; set name = {INSTEAD[self.type]!r}"]
        supported = [name for name in configs() if name not in INSTEAD and name not in NOT_SUPPORTED]
        if self.type not in supported:
            hint = did_you_mean(self.type, supported, "known: ")
            return [f"type = {self.type!r}: no such type among peft's single-adapter layers; {hint}"]
        problems, kinds = [], settable(self.type)
        for key, value in self.options.items():
            if key in OURS:
                problems.append(f"{key}: encoderlab sets it (the head always trains); remove it")
            elif key not in kinds:
                hint = did_you_mean(key, list(kinds), "known: ")
                problems.append(f"{key}: peft's {self.type} has no such field; {hint}")
            elif not fits(kinds[key], value):
                problems.append(f"{key} = {value!r}: peft's {self.type} expects {type_name(kinds[key])}")
        return problems

    @staticmethod
    def kinds(peft_type: Any) -> dict[str, Any]:
        """Return {field: annotation} of the fields that a section of this type may set; {} for an unknown type."""
        possible = importlib.util.find_spec("peft") is not None and isinstance(peft_type, str)
        return settable(peft_type) if possible and peft_type in configs() else {}


class _Draws:
    """Seeds torch's global generator for the length of a call, because some types draw from it.

    In training the seed comes from the call's `DropoutRNG`, so that a resumed run draws the same. Afterwards the
    generator is as it was. It is one for the whole process, so the calls of several threads take turns.
    """

    turns = RLock()

    def __init__(self) -> None:
        self.kept: dict[int, Tensor] = {}  # by thread, the generator's state before the call

    def begin(self, encoder: nn.Module, args: Any) -> None:
        self.turns.acquire()
        self.kept[get_ident()] = torch.random.get_rng_state()
        rng = active_rng() if encoder.training else None
        bits = [] if rng is None else rng.mask(torch.empty(48), 0.5).ne(0).tolist()
        torch.manual_seed(sum(bit << i for i, bit in enumerate(bits)))

    def end(self, encoder: nn.Module, args: Any, output: Any) -> None:
        if (state := self.kept.pop(get_ident(), None)) is not None:  # None: the call failed before `begin`
            torch.random.set_rng_state(state)
            self.turns.release()


def _paths(encoder: EncoderModel, key: str, value: Any) -> Any:
    """Replace the roles in a list of module names by exact paths. Raise InputError for a name without a module."""
    if key not in MODULES or not isinstance(value, list):
        return value
    modules = [path for path, _ in encoder.base_model.named_modules() if path]
    paths: list[str] = []
    for name in value:
        if name in ROLES:
            paths += encoder.linear_paths(name, encoder.layer_numbers("all"))
        elif any(path == name or path.endswith(f".{name}") for path in modules):  # the rule of PEFT
            paths.append(name)
        else:
            hint = did_you_mean(name, [*ROLES, *modules], "known: ")
            raise InputError(f"{key}: no module {name!r} in {encoder.name}; {hint}")
    return list(dict.fromkeys(paths))


def _check_intact(encoder: EncoderModel, pristine: Mapping[str, Tensor]) -> None:
    """Raise InputError if PEFT wrapped a newly initialized tensor or changed a pretrained one."""
    now = {name.replace("base_layer.", ""): p for name, p in encoder.base_model.named_parameters()}
    names = {name for name, _ in encoder.model.named_parameters()}
    if lost := sorted(encoder.newly_initialized - names):
        raise InputError(
            f"target_modules: {lost[0]} is not in the checkpoint, so all of it trains already; name only layers of the "
            f"encoder (roles: {', '.join(ROLES)})"
        )
    changed = [name for name, p in pristine.items() if name in now and not torch.equal(p, now[name])]
    if changed:
        raise InputError(
            f"these settings rewrite pretrained weights at the start, e.g. {changed[0]}, which the adapter file does "
            "not contain; choose an initialization that leaves them as they are"
        )


def _unshare(module: nn.Module, seen: set[int]) -> None:
    """Give each layer its own containers of the same parameters, because some types share one container.

    bf16 training calls the model with other tensors in place of its parameters. With a shared container it would
    restore the wrong ones.
    """
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
    """Cast the floating-point buffers of a layer to the dtype of its input."""
    x = args[0]
    if not (isinstance(x, Tensor) and x.is_floating_point()):
        return
    for buffer in layer.buffers():
        if buffer.is_floating_point() and buffer.dtype != x.dtype:
            buffer.data = buffer.data.to(x.dtype)


def _refuse_bf16(base_model: nn.Module, args: Any) -> None:
    if any(parameter.dtype == torch.bfloat16 for parameter in base_model.parameters()):
        raise InputError('train.precision: this type of peft computes in fp32 only; set precision = "fp32"')
