"""Decide how a study uses the head of a checkpoint, from the classes that its config.json names.

    the same classes, in any order   the rows of its last layer are put in the order of the study
    other classes, another problem   its last layer is newly initialized
    names without a meaning          (LABEL_0, ...) the order of the checkpoint is used, with a warning
    one number                       the head answers in the unit of the labels, and training starts from it; its last
                                     layer is newly initialized if some training rows contradict this (`head_units`)

Names are compared without case; LABEL_1 is the class 1. The classes of a masked-lm head are the tokenizer's vocabulary,
which belongs to the checkpoint as the encoder does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from encoderlab.core.rng import derive

AUTO = "AutoModel"
UNIT = "in the unit of the labels"
LABELLED = ("ForSequenceClassification", "ForTokenClassification")
CHOICES = "ForMultipleChoice"
ANEW = "its last layer is newly initialized"


@final
@dataclass(frozen=True, kw_only=True)
class Taken:
    """The decision about the head of a checkpoint.

    anew: its last layer is not used. order: the row of each class of the study; None: the rows as they are. number: the
    head predicts a number. note: the decision in words, for `check` and the report.
    """

    anew: bool = False
    number: bool = False
    order: tuple[int, ...] | None = None
    note: str


def bring(
    model: Any,
    path: str,
    head: str,
    config_json: Mapping[str, Any],
    sizes: Mapping[str, tuple[int, ...]],
    class_names: Sequence[str],
    *,
    seed: int,
    anew: str = "",
) -> Taken:
    """Adapt the head of a checkpoint to the classes of the study, in place.

    Args:
        model: a model of transformers, as it was loaded.
        path: the last layer of the head, whose tensors the checkpoint contains.
        head: the transformers Auto class.
        config_json: the checkpoint's config.json, before it is given the classes of the study.
        sizes: the shapes of the checkpoint's tensors that differ from those of the model.
        class_names: the classes of the study, or the label column of a regression.
        seed: the seed of a newly initialized layer.
        anew: a reason to initialize the last layer regardless of the config; "" if there is none.
    """
    layer, shape = model.get_submodule(path), sizes.get(f"{path}.weight")
    if shape is not None:
        taken = resized(config_json, head, shape[0], class_names)
    else:
        taken = Taken(anew=True, note=anew) if anew else decide(config_json, head, layer.out_features, class_names)
    if taken.anew:
        # Not the draw of a head that the checkpoint lacks: a head that a run of this seed trained is still near that.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "head anew", *(shape or [_digest(layer)])))
            draw_anew(model, path)
    elif taken.order is not None:
        put_in_order(layer, taken.order)
    return taken


def _digest(layer: nn.Linear) -> int:
    """Return a number that identifies the weights of a layer."""
    weights = layer.weight.detach().cpu().float().contiguous().numpy()
    return int.from_bytes(hashlib.sha256(weights.tobytes()).digest()[:8], "little")


def has_labels(head: str) -> bool:
    """Return whether the heads of a transformers Auto class predict labels or numbers of their own."""
    return head.removeprefix(AUTO) in (*LABELLED, CHOICES)


def arguments(head: str, class_names: Sequence[str]) -> str:
    """Return the arguments of `from_pretrained` that describe the head, as Python.

    They name the classes in order, because the config of the base model may have its own classes in another order.
    """
    if head.removeprefix(AUTO) not in LABELLED:
        return f", num_labels={len(class_names)}" if class_names else ""
    names, numbers = dict(enumerate(class_names)), {name: i for i, name in enumerate(class_names)}
    return f", num_labels={len(names)}, id2label={names!r}, label2id={numbers!r}"


def decide(config_json: Mapping[str, Any], head: str, outputs: int, class_names: Sequence[str]) -> Taken:
    """Decide about the head of a checkpoint whose last layer has as many outputs as the study needs.

    Args:
        config_json: the checkpoint's config.json, before it is given the classes of the study.
        head: the transformers Auto class of the task.
        outputs: the number of outputs of the last layer in the checkpoint's weights.
        class_names: the classes of the study, or the label column of a regression.
    """
    kind = head.removeprefix(AUTO)
    written = config_json.get("architectures")
    wrote = written[0] if isinstance(written, list) and written and isinstance(written[0], str) else ""
    if "For" in wrote and not wrote.endswith(kind):
        return Taken(anew=True, note=f"the checkpoint's head is one of {wrote}; {ANEW}")
    if kind == CHOICES:
        return Taken(note="the checkpoint's own head for choices is used")
    if len(class_names) == 1:
        return _number(config_json, class_names[0])
    if config_json.get("problem_type") in ("regression", "multi_label_classification"):
        return Taken(
            anew=True, note=f"the checkpoint's head is for problem_type = {config_json['problem_type']!r}; {ANEW}"
        )
    return _classes(labels(config_json, outputs), class_names)


def resized(config_json: Mapping[str, Any], head: str, outputs: int, class_names: Sequence[str]) -> Taken:
    """Decide about a head whose last layer has another size than the study needs: it is newly initialized."""
    names, needed = labels(config_json, outputs), 1 if head.endswith(CHOICES) else len(class_names)
    of = f" ({_listed(names)})" if names and not _unnamed(names) else ""
    return Taken(anew=True, note=f"the checkpoint's head has {outputs} outputs{of}, the study needs {needed}; {ANEW}")


def labels(config_json: Mapping[str, Any], outputs: int) -> list[str] | None:
    """Return the names of a head's outputs in order, or None if the config contradicts itself or the weights.

    The names are LABEL_0, ... if the config has none.
    """
    forward, backward = config_json.get("id2label"), config_json.get("label2id")
    default = [f"LABEL_{i}" for i in range(outputs)]
    names, inverse = default, None
    if isinstance(backward, Mapping) and backward:
        pairs = sorted(((number, str(label)) for label, number in backward.items()), key=lambda pair: str(pair[0]))
        inverse = _in_order(dict((number, label) for number, label in pairs), outputs)
    if isinstance(forward, Mapping) and forward:
        names = _in_order(forward, outputs)
        if names is None or (inverse is not None and not _unnamed(inverse) and inverse != names):
            return inverse if names is not None and _unnamed(names) else None
    elif inverse is not None:
        names = inverse
    return names


def _in_order(names: Mapping[Any, Any], outputs: int) -> list[str] | None:
    try:
        numbered = {int(number): str(name) for number, name in names.items()}
    except (TypeError, ValueError):
        return None
    if sorted(numbered) != list(range(outputs)) or len(set(numbered.values())) < outputs:
        return None
    return [numbered[i] for i in range(outputs)]


def _classes(theirs: list[str] | None, ours: Sequence[str]) -> Taken:
    if theirs is None:
        return Taken(
            anew=True,
            note=f"id2label and label2id of the checkpoint do not name its head's {len(ours)} outputs; {ANEW}",
        )
    if theirs == list(ours):
        return Taken(note="the checkpoint's own head is used: its classes are the study's, in this order")
    for same in (str, _plain):
        there = [same(name) for name in theirs]
        if len(set(there)) == len(there) and set(there) == {same(name) for name in ours}:
            order = tuple(there.index(same(name)) for name in ours)
            if order == tuple(range(len(order))):
                return Taken(note=f"the checkpoint's own head is used: it names the study's classes {_listed(theirs)}")
            return Taken(
                order=order,
                note=f"the checkpoint's own head is used: its classes ({_listed(theirs)}) are put in the study's order "
                f"({_listed(ours)})",
            )
    if _unnamed(theirs):
        return Taken(
            note=f"the checkpoint's own head is used, but its classes have no names ({_listed(theirs)}): they are "
            f"assumed to be {_listed(ours)} in this order; if that is wrong, correct id2label in its config.json"
        )
    return Taken(
        anew=True,
        note=f"the checkpoint's head has other classes ({_listed(theirs)}) than the study's ({_listed(ours)}); {ANEW}",
    )


def _number(config_json: Mapping[str, Any], label: str) -> Taken:
    problem = config_json.get("problem_type")
    if problem not in (None, "regression"):
        return Taken(anew=True, note=f"the checkpoint's head is for problem_type = {problem!r}; {ANEW}")
    names = labels(config_json, 1)
    if names is None:
        names = ["LABEL_0"]  # transformers' own configs name two classes for a head of one output
    if activation := _activation(config_json):
        return Taken(
            anew=True,
            note=f"the checkpoint's head applies {activation}, so its output is not in the unit of the labels; {ANEW}",
        )
    if _plain(names[0]) == _plain(label):
        return Taken(
            number=True, note=f"the checkpoint's own head is used: it predicts {label!r}, in the unit of the labels"
        )
    if _unnamed(names):
        return Taken(
            number=True,
            note=f"the checkpoint's own head is used; its config.json names no label, so it is assumed to predict "
            f"{label!r} in the unit of the labels; the row `untrained` shows its scores",
        )
    return Taken(anew=True, note=f"the checkpoint's head predicts {names[0]!r}, the study {label!r}; {ANEW}")


def _activation(config_json: Mapping[str, Any]) -> str | None:
    """Return the activation that a cross-encoder of sentence-transformers applies after its head, if any."""
    inner = config_json.get("sentence_transformers")
    activation = config_json.get("sbert_ce_default_activation_function") or (
        inner.get("activation_fn") if isinstance(inner, Mapping) else None
    )
    if not isinstance(activation, str) or activation.endswith("Identity"):
        return None
    return activation.rpartition(".")[2]


def _plain(name: str) -> str:
    return name.strip().casefold().removeprefix("label_")


def _unnamed(names: Sequence[str]) -> bool:
    return [name.casefold() for name in names] == [f"label_{i}" for i in range(len(names))]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


@torch.no_grad()
def draw_anew(model: Any, path: str) -> None:
    """Initialize one layer of a loaded transformers model, as transformers initializes what a checkpoint lacks."""
    layer = model.get_submodule(path)
    for parameter in model.parameters():
        parameter._is_hf_initialized = True  # transformers does not initialize these
    for parameter in layer.parameters():
        parameter._is_hf_initialized = False
    parts = path.split(".")
    for length in range(len(parts), -1, -1):  # the layer, then its parents: some classes initialize their children
        model._init_weights(model.get_submodule(".".join(parts[:length])))


@torch.no_grad()
def put_in_order(layer: nn.Linear, order: Sequence[int]) -> None:
    """Sort the rows of a layer: row i becomes the row order[i]."""
    layer.weight.copy_(layer.weight[list(order)])
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[list(order)])


@torch.no_grad()
def standardise(layer: nn.Linear, centre: float, spread: float) -> None:
    """Change a head that predicts labels into one that predicts (label - centre) / spread, in place."""
    layer.weight.div_(spread)
    layer.bias.copy_((layer.bias.double() - centre) / spread)
