"""Read a checkpoint's config.json, and adapt or refuse it before anything is built from it.

A config also contains switches of the training script that wrote it, of text generation, and of libraries for other
precisions. This module sets them to what encoderlab supports, or refuses them in one line, so that a study that passes
`check` can start.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import transformers

from encoderlab.core.errors import InputError, first_line
from encoderlab.model.families import FAMILIES, Family

ADAPTER = "adapter_config.json"  # a file of PEFT, and of the adapters library

# Keys that only determine what a call returns or how it is computed, with the value that encoderlab uses. The
# fingerprint covers the value of the file, so that an earlier study finds its runs again.
HARMLESS = {"output_hidden_states": False, "output_attentions": False, "chunk_size_feed_forward": 0}
# Sizes that every encoder has, optional ones, and those of its tables. None can be larger than the weights.
SIZES = ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
OPTIONAL_SIZES = ("intermediate_size", "hidden_dim", "embedding_size", "pooler_hidden_size")
TABLES = ("max_position_embeddings", "type_vocab_size", "position_buckets", "max_relative_positions")
MOST_LAYERS, MOST_CLASSES, MOST = 1000, 1_000_000, 10_000_000
SMALL = 2**28  # numbers of a tensor that fits on any machine
EPSILONS = ("layer_norm_eps", "norm_eps")
# Keys that every encoder needs with this value: with another, it cannot be trained or attends to earlier tokens only.
ENCODER = {"return_dict": True, "is_decoder": False, "add_cross_attention": False}


@final
@dataclass(frozen=True, kw_only=True)
class Settled:
    """The outcome of `settle`.

    as_read: the values of the `HARMLESS` keys that were changed, as the file has them.
    notes: what was changed and matters, one line each.
    """

    as_read: Mapping[str, Any]
    notes: tuple[str, ...]


def read_config(name: str) -> tuple[Any, Family]:
    """Return the adapted transformers config of a model folder or hub name, and its family.

    No weights are needed. Raises the same InputErrors as `load`.
    """
    config, family, _, _ = read(name)
    return config, family


def read(name: str) -> tuple[Any, Family, Settled, dict[str, Any]]:
    """Return the adapted config, the family, the changes, and config.json as a dictionary."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        has_config = (folder / "config.json").is_file()
        if (folder / ADAPTER).is_file():
            raise InputError(
                f"model {name!r}: the folder holds an adapter ({ADAPTER})"
                + (
                    " next to the model, and transformers would load it; move the adapter to its own folder"
                    if has_config
                    else " and no config.json; name the model that the adapter was trained on"
                )
            )
        if not has_config:
            raise InputError(
                f"model {name!r}: the folder has no config.json; expected a folder written by save_pretrained"
            )
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"model {name!r}: there is no such folder")
    where = "is it a model's config.json?" if folder.is_dir() else "not in the local cache, and the hub did not give it"
    with quiet(), one_line(name, f"{where} (", ")"):
        config_json, _ = transformers.PreTrainedConfig.get_config_dict(name)
        if problems := _number_problems(config_json):
            raise InputError(*(f"model {name!r}: config.json: {line}" for line in problems))
        config = transformers.AutoConfig.from_pretrained(name)
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise InputError(
            f"model {name!r}: family {config.model_type!r} is not supported; known: {', '.join(FAMILIES)}. "
            "To add one, add its row of part names to FAMILIES in encoderlab/model/families.py"
        )
    if problems := _size_problems(config, _bytes(folder)):
        raise InputError(*(f"model {name!r}: config.json: {line}" for line in problems))
    return config, family, settle(config, name), config_json


@contextmanager
def one_line(name: str, before: str, after: str = "") -> Iterator[None]:
    """Turn any exception of transformers into an InputError of one line."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"model {name!r}: {before}{first_line(error)}{after}") from None


class quiet:
    """Silence the progress bars and the loading report of transformers; `newly_initialized` has the same facts."""

    def __enter__(self) -> None:
        self.level = transformers.logging.get_verbosity()
        self.bar = transformers.utils.logging.is_progress_bar_enabled()
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.simplefilter("ignore", FutureWarning)  # about the old names of keys in a config

    def __exit__(self, *_: object) -> None:
        self.warnings.__exit__(None, None, None)
        transformers.logging.set_verbosity(self.level)
        if self.bar:
            transformers.utils.logging.enable_progress_bar()


def tokenizer_form(tokenizer: Any) -> list[str]:
    """Return the problem with a tokenizer that encoderlab cannot use."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return [
            f"its tokenizer, {type(tokenizer).__name__}, is not a fast tokenizer, so token offsets are unavailable; "
            "use a checkpoint with tokenizer.json"
        ]
    return []


def settle(config: Any, name: str) -> Settled:
    """Adapt a transformers config to what encoderlab supports.

    Args:
        config: the config as transformers read it; changed in place.
        name: the name of the model, for messages.

    Raises:
        InputError: the config describes another encoder than the weights were trained for.
    """
    if problems := _problems(config):
        raise InputError(*(f"model {name!r}: config.json: {line}" for line in problems))
    notes = []
    if getattr(config, "is_decoder", False):
        notes.append("config.json says is_decoder = true; it is run as an encoder, where a token sees those after it")
    if hasattr(config, "gradient_checkpointing"):
        del config.gradient_checkpointing
    for key, value in ENCODER.items():
        if getattr(config, key, value) != value:
            setattr(config, key, value)
    as_read = {}
    for key, value in HARMLESS.items():
        if (read := getattr(config, key, value)) != value:
            as_read[key] = read
            setattr(config, key, value)
    return Settled(as_read=as_read, notes=tuple(notes))


def settle_padding(config: Any, family_pads: bool, pad_id: int | None) -> str | None:
    """Give a config a usable `pad_token_id`.

    Args:
        config: an adapted config; changed in place.
        family_pads: whether the family counts positions from the padding row of its table, as RoBERTa does.
        pad_id: the `pad_token_id` of the tokenizer.

    Returns:
        A note about an unusual or unusable value, or None.
    """
    config_pad = getattr(config, "pad_token_id", None)
    lowest = 0 if family_pads else -config.vocab_size
    usable = isinstance(config_pad, int) and lowest <= config_pad < config.vocab_size
    if usable:
        if family_pads and pad_id is not None and pad_id != config_pad:
            return (
                f"config.json says pad_token_id = {config_pad}, its tokenizer {pad_id}; positions are counted by the "
                "config, as transformers does"
            )
        return None
    if not family_pads:
        if config_pad is not None:
            config.pad_token_id = pad_id
        return None
    usual = inspect.signature(type(config)).parameters["pad_token_id"].default
    config.pad_token_id = usual if pad_id is None else pad_id
    return (
        f"config.json says pad_token_id = {'null' if config_pad is None else config_pad}, from which this family "
        f"counts positions; taken: {config.pad_token_id}, that of "
        f"{'this family' if pad_id is None else 'its tokenizer'}"
    )


def _bytes(folder: Path) -> int | None:
    """Return the number of bytes of the weights in a folder; None for a hub name."""
    if not folder.is_dir():
        return None
    return sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".safetensors", ".bin") and p.is_file())


def _number_problems(config_json: Mapping[str, Any]) -> list[str]:
    """Return the problems with the numbers of a config, before transformers reads them."""
    odd = [key for key, value in config_json.items() if isinstance(value, float) and not math.isfinite(value)]
    problems = [f"{key} = {config_json[key]}: expected a finite number" for key in odd]
    classes = config_json.get("num_labels")
    if isinstance(classes, int) and classes > MOST_CLASSES:
        problems.append(f"num_labels = {classes}: expected at most {MOST_CLASSES:,}")
    return problems


def _size_problems(config: Any, weight_bytes: int | None) -> list[str]:
    """Return the problems with the sizes of an encoder, before memory is allocated for it.

    Args:
        config: a transformers config.
        weight_bytes: the number of bytes of its weights, None if it is not known.
    """
    sizes: dict[str, Any] = {key: getattr(config, key, None) for key in (*SIZES, *OPTIONAL_SIZES, *TABLES)}
    defined = {key: value for key, value in sizes.items() if key in SIZES or value is not None}
    if wrong := [key for key, n in defined.items() if not _is_whole(n) or (key not in TABLES and n < 1)]:
        kind = {key: "1 or more" if _is_whole(defined[key]) else "a whole number" for key in wrong}
        return [f"{key} = {defined[key]!r}: expected {kind[key]}" for key in wrong]
    most = dict.fromkeys(defined, MOST) | {"num_hidden_layers": MOST_LAYERS}
    problems = [f"{key} = {n}: expected at most {most[key]:,}" for key, n in defined.items() if n > most[key]]
    width = defined["hidden_size"]
    if not problems and weight_bytes is not None:
        room = max(weight_bytes, SMALL)
        problems += [
            f"{key} = {n}: its weights ({weight_bytes // 2**20} MB) have no tensor of that size; "
            "use the config.json that belongs to these weights"
            for key, n in defined.items()
            if n * width > room
        ]
    if defined.get("pooler_hidden_size", width) != width:
        problems.append(f"pooler_hidden_size = {defined['pooler_hidden_size']}: expected hidden_size ({width})")
    for key in EPSILONS:
        value = getattr(config, key, 0.0)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            problems.append(f"{key} = {value!r}: expected a small number above 0")
    return problems


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _problems(config: Any) -> list[str]:
    problems = []
    if getattr(config, "quantization_config", None):
        problems.append(
            "quantization_config: the weights are quantized, and encoderlab needs unquantized weights; "
            'use the original checkpoint (a method with name = "qlora" quantizes it to four bits itself)'
        )
    kind = getattr(config, "position_embedding_type", None)
    if kind not in (None, "absolute"):
        problems.append(
            f"position_embedding_type = {kind!r}: transformers 5 computes absolute positions only, so the model would "
            "not match its weights; choose a checkpoint with absolute positions"
        )
    if getattr(config, "pruned_heads", None):
        problems.append(
            "pruned_heads: transformers 5 cannot build an encoder with pruned heads; choose a checkpoint with all heads"
        )
    return problems
