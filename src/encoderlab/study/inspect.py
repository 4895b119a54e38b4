"""What a model is made of, and what each method would train of it: `encoderlab inspect`.

Only config.json is needed. The model is built with weights that are one zero each, seen in their shape: it takes no
memory, and every method is inserted into it as it is for training, so the counts are those of a run. Where the weights
are on this machine their names are looked up as well: a part of the encoder that they lack trains with the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from torch import nn
from transformers.initialization import no_init_weights

from encoderlab.config.reader import Reader
from encoderlab.config.settings import Search, Variant
from encoderlab.config.toml_file import toml_value
from encoderlab.config.variants import read_variants
from encoderlab.core.errors import InputError, Problem, first_line
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import only
from encoderlab.methods.registry import METHODS
from encoderlab.model import attention, checkpoint_config
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.registry import TASKS

COMPONENTS = ("embeddings", "attention", "feed-forward", "norms", "pooler", "head", "other")
BYTES = 4  # of an fp32 value
HEAD = TASKS[0].head  # classification: the head that `--task-classes` sizes


@dataclass(frozen=True, kw_only=True)
class Share:
    """The parameters that one variant of a method would train.

    Attributes:
        method: the name of the method.
        variant: the label of the variant.
        adapter: trained parameters outside the head.
        head: trained parameters of the head.
        total: all parameters of the model, inserted ones included.
        problems: why the variant does not fit this model; the counts are then 0.
    """

    method: str
    variant: str
    adapter: int = 0
    head: int = 0
    total: int = 0
    problems: tuple[str, ...] = ()

    @property
    def trained(self) -> int:
        """All trained parameters."""
        return self.adapter + self.head

    @property
    def bytes(self) -> int:
        """The size of the trained tensors in the adapter's file, in fp32."""
        return BYTES * self.trained

    def as_dict(self) -> dict[str, str | int | float | list[str] | None]:
        """Return the counts as `--json` prints them."""
        counts = {**asdict(self), "problems": list(self.problems), "trained": self.trained}
        if self.problems:
            return counts | {"share": None, "reduction": None, "bytes": None}
        share, reduction = self.trained / self.total, self.total / self.trained
        return counts | {"share": share, "reduction": reduction, "bytes": self.bytes}


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The parts of a model, and what each variant would train of it.

    Attributes:
        model: the model, a name or a folder.
        family: the family of the model.
        layers: how many layers it has.
        hidden: the width of its states.
        classes: the classes of the head.
        components: parameters of each part of the model, with a newly initialized head.
        newly_initialized: parameters of the encoder that its weights lack; None: this machine has no weights.
        shares: what each variant would train.
    """

    model: str
    family: str
    layers: int
    hidden: int
    classes: int
    components: dict[str, int]
    newly_initialized: tuple[str, ...] | None
    shares: tuple[Share, ...]

    @property
    def parameters(self) -> int:
        """All parameters of the model."""
        return sum(self.components.values())

    def as_dict(self) -> dict[str, object]:
        """Return the parts and shares as `--json` prints them."""
        return {
            "model": self.model,
            "family": self.family,
            "layers": self.layers,
            "hidden_size": self.hidden,
            "classes": self.classes,
            "parameters": self.parameters,
            "components": self.components,
            "attention_share": self.components["attention"] / self.parameters,
            "fresh_in_encoder": None if self.newly_initialized is None else list(self.newly_initialized),
            "methods": [share.as_dict() for share in self.shares],
        }


def inspect(name: str, methods: Sequence[str] = (), settings: Sequence[str] = (), *, classes: int = 2) -> Inspection:
    """Count the parameters of a model, and those that methods would train.

    Args:
        name: the model, a name or a folder.
        methods: names of methods; none: every method that needs no settings.
        settings: `key=value` for the named methods; a list is a grid.
        classes: the classes of the head.

    Raises:
        InputError: the model or a setting is wrong, or a named method does not fit the model.
    """
    if classes < 2:
        raise InputError(f"--task-classes {classes}: expected at least 2")
    variants = variants_of(methods, settings)
    blank = blueprint(name, classes)
    newly_initialized = fresh_in_encoder(name, classes)
    shares = tuple(share(name, variant, classes, newly_initialized or ()) for variant in variants)
    if methods and (problems := [Problem(f"method.{one.variant}", line) for one in shares for line in one.problems]):
        raise InputError(*problems)
    return Inspection(
        model=name,
        family=blank.model.config.model_type,
        layers=len(blank.layers()),
        hidden=blank.model.config.hidden_size,
        classes=classes,
        components=components(blank),
        newly_initialized=newly_initialized,
        shares=shares,
    )


def variants_of(methods: Sequence[str], settings: Sequence[str]) -> tuple[Variant, ...]:
    """Read the variants that the command line names, as the [[method]] sections of a study file are read."""
    classes = {only(cls, "name"): cls for cls in METHODS}
    reader = Reader(Path("encoderlab inspect"))
    for name in methods:
        if name not in classes:
            hint = did_you_mean(name, list(classes), "known methods: ")
            reader.problems.append(Problem(f"--method {name}", "unknown method", hint))
    if settings and not methods:
        reader.problem_of_override(settings[0], "name the method it belongs to, with --method")
    ready = [
        name for name, cls in classes.items() if not any(f.default is f.default_factory is MISSING for f in fields(cls))
    ]
    sections: list[dict[str, object]] = [{"name": name} for name in methods or ready]
    for text in settings:
        key, equals, written = (part.strip() for part in text.partition("="))
        if not equals or key == "name":
            reader.problem_of_override(text, "expected key=value, e.g. rank=16", "--method names the method")
        for section in sections:
            section[key] = toml_value(written)
            reader.overrides[f"method.{section['name']}.{key}"] = text
    found = () if reader.problems else read_variants(reader, sections, Search(candidates=1))
    if reader.problems:
        raise InputError(*reader.problems)
    return tuple(variant for variant in found if variant.method.name in {one["name"] for one in sections})


def blueprint(name: str, classes: int, newly_initialized: Sequence[str] = ()) -> EncoderModel:
    """Build the model that a config.json describes, with a head for `classes` classes; every weight is zero."""
    config, family = checkpoint_config.read_config(name)
    config.num_labels = classes
    with no_init_weights():  # memory that nothing writes to is not used
        model = getattr(transformers, HEAD).from_config(config, attn_implementation=attention.NAME)
    for parameter in model.parameters():
        parameter.data = torch.zeros(()).expand(parameter.shape)
    words: Any = range(config.vocab_size)  # a tokenizer as far as a method asks: how many words it knows
    return EncoderModel(
        name=name,
        model=model,
        tokenizer=words,
        family=family,
        newly_initialized=frozenset(newly_initialized),
        fingerprint="",
    )


def fresh_in_encoder(name: str, classes: int) -> tuple[str, ...] | None:
    """Return the parameters of the encoder that its weights lack; None where this machine has no weights.

    The names in the files are enough: no tensor is read.
    """
    config, _ = checkpoint_config.read_config(name)
    config.num_labels = classes
    folder = Path(name).expanduser()
    if not folder.is_dir():
        cached = try_to_load_from_cache(name, "config.json")
        if not isinstance(cached, str):
            return None
        folder = Path(cached).parent
    with checkpoint_config.quiet():
        try:
            model, info = getattr(transformers, HEAD).from_pretrained(
                folder,
                config=config,
                device_map="meta",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
            )
        except OSError:
            return None
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(f"model {name!r}: its weights cannot be read: {first_line(error)}") from None
    return tuple(sorted(n for n in info["missing_keys"] if n.startswith(model.base_model_prefix + ".")))


def share(name: str, variant: Variant, classes: int, newly_initialized: Sequence[str]) -> Share:
    """Count what a variant would train of the model."""
    about: Any = {"method": variant.method.name, "variant": variant.label}
    encoder = blueprint(name, classes, newly_initialized)
    if problems := variant.method.problems(encoder):
        return Share(**about, problems=tuple(problems))
    try:
        variant.method.inject(encoder, 0)
    except InputError as error:
        return Share(**about, problems=error.lines)
    counts = encoder.counts()
    return Share(**about, adapter=counts["adapter"], head=counts["head"], total=counts["total"])


def components(encoder: EncoderModel) -> dict[str, int]:
    """Count the parameters of each component; together they are all of the model's. A norm counts as one anywhere."""
    counts: dict[str, int] = {name: 0 for name in COMPONENTS}
    for name, parameter in encoder.model.named_parameters():
        counts[_component(encoder, name)] += parameter.numel()
    return counts


def _component(encoder: EncoderModel, parameter: str) -> str:
    family, prefix = encoder.family, encoder.base_prefix
    if not parameter.startswith(prefix):
        return "head"
    path = parameter.removeprefix(prefix)
    if path.startswith(family.pooler + "."):
        return "pooler"
    module = encoder.base_model.get_submodule(path.rpartition(".")[0])
    if "Norm" in type(module).__name__:
        return "norms"
    for layer in encoder.layer_paths():
        if path.startswith(layer + "."):
            inside = path.removeprefix(layer + ".")
            attention = (family.query, family.key, family.value, family.attention_out, family.attention)
            if inside.startswith(tuple(f"{part}." for part in attention)):
                return "attention"
            return "feed-forward" if inside.startswith((f"{family.ffn_in}.", f"{family.ffn_out}.")) else "other"
    return "embeddings" if isinstance(module, nn.Embedding | nn.Linear) else "other"
