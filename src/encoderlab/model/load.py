"""Load an encoder with its tokenizer and a head, from a folder or the hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
import transformers

from encoderlab.core.errors import InputError
from encoderlab.core.rng import derive
from encoderlab.model import attention, checkpoint_config, fingerprints, heads
from encoderlab.model.checkpoint_config import one_line, quiet, read
from encoderlab.model.dropout import replace_dropout
from encoderlab.model.encoder import EncoderModel

# Keys of a config that describe the origin of a model or its head, not the function of the encoder.
NOT_THE_FUNCTION = {
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "transformers_version",
}


def load(
    name: str, *, head: str, class_names: Sequence[str], seed: int, tokenizer: Any = None, anew: str = ""
) -> EncoderModel:
    """Load an encoder in fp32 with its tokenizer and a head for `class_names`.

    Args:
        name: a model folder, or a hub name.
        head: the transformers Auto class, such as "AutoModelForSequenceClassification". "AutoModel" is the bare
            encoder; it has no pooler if the checkpoint has none, because nothing would read it.
        class_names: the classes of the study, or the label column of a regression; empty for a bare encoder.
        seed: the seed of newly initialized parameters.
        tokenizer: the tokenizer of this model, if it is loaded already.
        anew: why the last layer of the checkpoint's own head is not used (`head_units`); "" to use it.

    Raises:
        InputError: the folder does not contain a model, the hub does not provide the name, or the family is unknown.
    """
    config, family, settled, config_json = read(name)
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
            ignore_mismatched_sizes=True,  # a head for other classes is newly initialized; the encoder is checked below
        )
    _base_model_first(model)
    sizes = {key[0]: tuple(key[1]) for key in info["mismatched_keys"]}
    unread = {*info["missing_keys"], *sizes}
    newly_initialized = frozenset(unread) & {n for n, _ in model.named_parameters()}
    replace_dropout(model)  # before a method inserts its parts: hooks on a dropout module stay where they are put
    encoder = EncoderModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        family=family,
        newly_initialized=newly_initialized,
        fingerprint="",
        frozen_head=head == "AutoModelForMaskedLM",
    )
    for path, module in zip(encoder.layer_paths(), encoder.attentions(), strict=True):
        if family.stand_in is not None:
            module = family.stand_in(module)
            encoder.base_model.set_submodule(f"{path}.{family.attention}", module)
    if problems := [*_weight_problems(encoder), *_tokenizer_problems(encoder)]:
        raise InputError(*(f"model {name!r}: {problem}" for problem in problems))
    notes += _left_over(encoder, info["unexpected_keys"])
    taken = None
    if heads.has_labels(head):
        layer = encoder.output_layer()
        if f"{layer}.weight" in sizes or f"{layer}.weight" not in newly_initialized:
            taken = heads.bring(model, layer, head, config_json, sizes, class_names, seed=seed, anew=anew)
            notes.append(taken.note)
            newly_initialized |= {n for n, _ in model.named_parameters() if taken.anew and n.startswith(f"{layer}.")}
    bare_pooler = (
        {name for name in newly_initialized if encoder.in_pooler(name)} if encoder.base_model is model else set()
    )
    if bare_pooler:
        setattr(encoder.base_model, family.pooler, None)
    function = {**config.to_dict(), **settled.as_read}
    shape = repr(sorted((key, value) for key, value in function.items() if key not in NOT_THE_FUNCTION))
    # Earlier versions took a number for one in units of the labels' spread; runs of this version get other ids.
    unit = heads.UNIT if taken is not None and taken.number and not taken.anew else ""

    def compute() -> tuple[str, ...]:
        pretrained = {
            n.removeprefix(encoder.base_prefix): (encoder.in_pooler(n), n.startswith(encoder.base_prefix), p)
            for n, p in model.named_parameters()
            if n not in newly_initialized
        }
        if broken := [n for n, (_, _, p) in pretrained.items() if not p.isfinite().all()]:
            raise InputError(f"model {name!r}: its weights contain numbers that are not finite, e.g. in {min(broken)}")
        return (
            fingerprints.of_tensors(
                {n: p for n, (pooler, inside, p) in pretrained.items() if inside and not pooler}, shape
            ),
            fingerprints.of_tensors({n: p for n, (pooler, _, p) in pretrained.items() if pooler}),
            fingerprints.of_tensors({n: p for n, (_, inside, p) in pretrained.items() if not inside}, unit),
            fingerprints.of_tokens(tokenizer),
        )

    with one_line(name, "its tokenizer cannot make tokens: "):
        ours, pooler, own_head, tokens = fingerprints.once(
            files, (head, newly_initialized, shape, unit, taken and taken.order), compute
        )
    return replace(
        encoder,
        newly_initialized=newly_initialized - bare_pooler,
        fingerprint=ours,
        pooler_fingerprint=pooler,
        head_fingerprint=own_head,
        tokenizer_fingerprint=tokens,
        notes=tuple(notes),
    )


def _left_over(encoder: EncoderModel, unread: Iterable[str]) -> list[str]:
    """Return a note if the weights contain layers that the config does not describe."""
    prefix = f"{encoder.family.layers.partition('.*')[0]}."
    unused = sorted(key for key in unread if prefix in key)
    if not unused:
        return []
    return [
        f"{len(unused)} tensors of its layers have no place in the model that config.json describes, e.g. {unused[0]}"
    ]


def _base_model_first(model: Any) -> None:
    """Move the head behind the base model, so that `named_parameters` names shared tensors after the base model."""
    for name, child in list(model.named_children()):
        if child is not model.base_model:
            delattr(model, name)
            setattr(model, name, child)


def _weight_problems(encoder: EncoderModel) -> list[str]:
    prefix = encoder.base_prefix
    absent = sorted(n for n in encoder.newly_initialized if n.startswith(prefix) and not encoder.in_pooler(n))
    if not absent:
        return []
    return [
        f"{len(absent)} of the encoder's tensors are missing in its weights or have another shape, e.g. {absent[0]}; "
        "config.json and the weights do not belong together"
    ]


def _tokenizer_problems(encoder: EncoderModel) -> list[str]:
    words, rows = len(encoder.tokenizer), encoder.base_model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    if words <= len(encoder.tokenizer.all_special_tokens):
        return ["its tokenizer knows no words; expected tokenizer.json or a vocabulary file in the folder"]
    if words > rows:
        return [
            f"its tokenizer has {words} tokens, but the encoder has embeddings for {rows}; they do not belong together"
        ]
    return []
