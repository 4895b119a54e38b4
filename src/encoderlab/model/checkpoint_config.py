"""What a checkpoint's config.json says, settled once, before anything is built from it.

A config holds more than what an encoder computes: switches of the training script that wrote it, of text generation,
of libraries for other precisions. They are brought here to what encoderlab runs, or refused in one line, so that a
study that `check` passes can start.
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

from encoderlab.core.errors import InputError
from encoderlab.model.families import FAMILIES, Family

ADAPTER = "adapter_config.json"  # of PEFT, and of the adapters library

# Keys that only say what a call returns or how it is computed, with the value that encoderlab runs. The fingerprint
# keeps what the file says of them: a study that was run before finds its runs again.
HARMLESS = {"output_hidden_states": False, "output_attentions": False, "chunk_size_feed_forward": 0}
# Sizes without which there is no encoder, and those of its tables; none can be larger than the weights that fill it.
SIZES = ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
FURTHER = ("intermediate_size", "hidden_dim", "embedding_size", "pooler_hidden_size")
TABLES = ("max_position_embeddings", "type_vocab_size", "position_buckets", "max_relative_positions")
MOST_LAYERS, MOST_CLASSES, MOST = 1000, 1_000_000, 10_000_000
SMALL = 2**28  # numbers of a tensor that any machine can hold, whatever the weights say
EPSILONS = ("layer_norm_eps", "norm_eps")
# Keys with another value under which a model could not be trained, or let a token see only those before it.
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
    """The transformers config of a model folder or hub name, settled, and its family's row. No weights are needed.
    InputError as `load`."""
    config, family, _, _ = read(name)
    return config, family


def read(name: str) -> tuple[Any, Family, Settled, dict[str, Any]]:
    """Config, family, what was settled, and config.json as it is."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        adapter, there = (folder / ADAPTER).is_file(), (folder / "config.json").is_file()
        if adapter:
            raise InputError(
                f"model {name!r}: the folder holds an adapter ({ADAPTER})"
                + (
                    " beside the model, and transformers would put it in; move the adapter's files to a folder of "
                    "their own, or name another copy of the model"
                    if there
                    else " and no config.json; name the model that it is for"
                )
            )
        if not there:
            raise InputError(f"model {name!r}: the folder holds no config.json, so it is no model folder")
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"model {name!r}: there is no such folder")
    where = "is it a model's config.json?" if folder.is_dir() else "not in the local cache, and the hub did not give it"
    with quiet(), one_line(name, f"{where} (", ")"):
        said, _ = transformers.PreTrainedConfig.get_config_dict(name)
        if problems := _number_problems(said):
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
    return config, family, settle(config, name), said


@contextmanager
def one_line(name: str, before: str, after: str = "") -> Iterator[None]:
    """Make one line of what transformers raises at somebody's files, which may be anything."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"model {name!r}: {before}{_first_line(error)}{after}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class quiet:
    """Silence transformers' bars and its loading report: `fresh` says the same, and is acted upon."""

    def __enter__(self) -> None:
        self.level = transformers.logging.get_verbosity()
        self.bar = transformers.utils.logging.is_progress_bar_enabled()
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.simplefilter("ignore", FutureWarning)  # of keys that a config may have by their old names

    def __exit__(self, *_: object) -> None:
        self.warnings.__exit__(None, None, None)
        transformers.logging.set_verbosity(self.level)
        if self.bar:
            transformers.utils.logging.enable_progress_bar()


def tokenizer_form(tokenizer: Any) -> list[str]:
    """What is wrong with a tokenizer before it is asked for tokens."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return [
            f"its tokenizer, {type(tokenizer).__name__}, has no fast form (tokenizer.json, of the tokenizers library), "
            "which says what text each token is of; name a checkpoint whose tokenizer has one"
        ]
    return []


def settle(config: Any, name: str) -> Settled:
    """Bring a transformers config to what encoderlab runs.

    Args:
        config: the config as transformers read it; changed in place.
        name: the model's name, for messages.

    Raises:
        InputError: for a config under which the encoder would be another one than its weights are for.
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
    """Give a config a usable `pad_token_id`, and say what is odd about the one that it has.

    Args:
        config: a settled config; changed in place.
        family_pads: whether the family counts positions from the padding row of its table, as RoBERTa does.
        pad_id: the tokenizer's.

    Returns:
        A note, or None.
    """
    said = getattr(config, "pad_token_id", None)
    usable = isinstance(said, int) and (0 if family_pads else -config.vocab_size) <= said < config.vocab_size
    if usable:
        if family_pads and pad_id is not None and pad_id != said:
            return (
                f"config.json says pad_token_id = {said}, its tokenizer {pad_id}; positions are counted by the config, "
                "as transformers does"
            )
        return None
    if not family_pads:
        if said is not None:
            config.pad_token_id = pad_id
        return None
    usual = inspect.signature(type(config)).parameters["pad_token_id"].default
    config.pad_token_id = usual if pad_id is None else pad_id
    return (
        f"config.json says pad_token_id = {'null' if said is None else said}, from which this family counts positions; "
        f"taken: {config.pad_token_id}, that of {'this family' if pad_id is None else 'its tokenizer'}"
    )


def _bytes(folder: Path) -> int | None:
    """How many bytes of weights a folder has; None for a name of the hub."""
    if not folder.is_dir():
        return None
    return sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".safetensors", ".bin") and p.is_file())


def _number_problems(said: Mapping[str, Any]) -> list[str]:
    """What is wrong with the numbers of a config before transformers makes anything of them."""
    odd = [key for key, value in said.items() if isinstance(value, float) and not math.isfinite(value)]
    found = [f"{key} = {said[key]}: expected a finite number" for key in odd]
    classes = said.get("num_labels")
    if isinstance(classes, int) and classes > MOST_CLASSES:
        found.append(f"num_labels = {classes}: expected at most {MOST_CLASSES:,}")
    return found


def _size_problems(config: Any, there: int | None) -> list[str]:
    """What is wrong with the sizes of an encoder, told before room is made for it.

    Args:
        there: bytes of its weights, None where they are not known.
    """
    sizes: dict[str, Any] = {key: getattr(config, key, None) for key in (*SIZES, *FURTHER, *TABLES)}
    known = {key: value for key, value in sizes.items() if key in SIZES or value is not None}
    if wrong := [key for key, n in known.items() if not _is_whole(n) or (key not in TABLES and n < 1)]:
        kind = {key: "1 or more" if _is_whole(known[key]) else "a whole number" for key in wrong}
        return [f"{key} = {known[key]!r}: expected {kind[key]}" for key in wrong]
    most = dict.fromkeys(known, MOST) | {"num_hidden_layers": MOST_LAYERS}
    found = [f"{key} = {n}: expected at most {most[key]:,}" for key, n in known.items() if n > most[key]]
    width = known["hidden_size"]
    if not found and there is not None:
        room = max(there, SMALL)
        found += [
            f"{key} = {n}: its weights ({there // 2**20} MB) hold no such tensor; they do not belong together"
            for key, n in known.items()
            if n * width > room
        ]
    if known.get("pooler_hidden_size", width) != width:
        found.append(f"pooler_hidden_size = {known['pooler_hidden_size']}: expected hidden_size ({width})")
    for key in EPSILONS:
        value = getattr(config, key, 0.0)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            found.append(f"{key} = {value!r}: expected a small number above 0")
    return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _problems(config: Any) -> list[str]:
    found = []
    if getattr(config, "quantization_config", None):
        found.append(
            "quantization_config: the weights are quantised, and encoderlab reads whole ones; name the checkpoint "
            'that they were made from (a method with name = "qlora" rounds it to four bits itself)'
        )
    kind = getattr(config, "position_embedding_type", None)
    if kind not in (None, "absolute"):
        found.append(
            f"position_embedding_type = {kind!r}: transformers 5 computes absolute positions only, so this encoder "
            "would be another one than its weights are for; name one with absolute positions"
        )
    if getattr(config, "pruned_heads", None):
        found.append("pruned_heads: transformers 5 cannot build an encoder without some of its heads; name a whole one")
    return found
