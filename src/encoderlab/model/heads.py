"""What a checkpoint's own head is to a study: its classes and their order are data, and so is the unit it answers in.

    the same classes, in any order   the rows of its last layer are put in the order of the study's
    other classes, another problem   its last layer is drawn anew
    names that say nothing           (LABEL_0, ...) it is taken in the order that it has, and a warning says so
    one number                       it answers in the unit of the labels, and training starts from it in that unit;
                                     where some training rows say otherwise (`head_units`), its last layer is drawn anew

Names are the same whatever their capitals; LABEL_1 is the class 1. A masked-lm head answers with the tokenizer's
vocabulary, which belongs to the checkpoint as the encoder does.
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
ANEW = "its last layer is drawn anew"


@final
@dataclass(frozen=True, kw_only=True)
class Taken:
    """What becomes of a checkpoint's head. anew: its last layer is not used. order: for each class of the study, the
    row that is its; None: the rows as they are. number: it answers with a number. note: the same in words, for `check`
    and the report."""

    anew: bool = False
    number: bool = False
    order: tuple[int, ...] | None = None
    note: str


def bring(
    model: Any,
    path: str,
    head: str,
    said: Mapping[str, Any],
    sizes: Mapping[str, tuple[int, ...]],
    class_names: Sequence[str],
    seed: int,
    anew: str = "",
) -> Taken:
    """Bring the head of a checkpoint to the study's classes.

    Args:
        model: of transformers, as it was loaded; its last layer is changed in place.
        path: of the last layer, whose tensors the checkpoint had.
        head: the Auto class.
        said: config.json, as it was before it was given the study's classes.
        sizes: shapes of the checkpoint's tensors that have another one here.
        anew: why the last layer is drawn anew whatever the config says; "" where it is not known to be.
    """
    layer, shape = model.get_submodule(path), sizes.get(f"{path}.weight")
    if shape is not None:
        taken = resized(said, head, shape[0], class_names)
    else:
        taken = Taken(anew=True, note=anew) if anew else decide(said, head, layer.out_features, class_names)
    if taken.anew:
        # Not the draw of a fresh head: a head that a run of this seed trained began as that one, and is still near it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "head anew", *(shape or [_digest(layer)])))
            draw_anew(model, path)
    elif taken.order is not None:
        put_in_order(layer, taken.order)
    return taken


def _digest(layer: nn.Linear) -> int:
    """A number that stands for the weights of a layer."""
    weights = layer.weight.detach().cpu().float().contiguous().numpy()
    return int.from_bytes(hashlib.sha256(weights.tobytes()).digest()[:8], "little")


def has_labels(head: str) -> bool:
    """Whether the heads of a transformers Auto class answer with labels, or with numbers, of their own."""
    return head.removeprefix(AUTO) in (*LABELLED, CHOICES)


def arguments(head: str, class_names: Sequence[str]) -> str:
    """What `from_pretrained` has to be told of the head besides the model's name, as Python: the classes by name and in
    order, because the base's config may have its own, in another order."""
    if head.removeprefix(AUTO) not in LABELLED:
        return f", num_labels={len(class_names)}" if class_names else ""
    names, numbers = dict(enumerate(class_names)), {name: i for i, name in enumerate(class_names)}
    return f", num_labels={len(names)}, id2label={names!r}, label2id={numbers!r}"


def decide(said: Mapping[str, Any], head: str, outputs: int, class_names: Sequence[str]) -> Taken:
    """Say what to do with the head of a checkpoint, whose last layer has as many outputs as the study asks for.

    Args:
        said: config.json of the checkpoint, as it was before it was given the study's classes.
        head: the transformers Auto class of the study's task.
        outputs: of the last layer in the checkpoint's weights.
        class_names: the study's classes, or the label column of a regression.
    """
    kind = head.removeprefix(AUTO)
    written = said.get("architectures")
    wrote = written[0] if isinstance(written, list) and written and isinstance(written[0], str) else ""
    if "For" in wrote and not wrote.endswith(kind):
        return Taken(anew=True, note=f"the checkpoint's head is one of {wrote}; {ANEW}")
    if kind == CHOICES:
        return Taken(note="the checkpoint's own head for choices is used")
    if len(class_names) == 1:
        return _number(said, class_names[0])
    if said.get("problem_type") in ("regression", "multi_label_classification"):
        return Taken(anew=True, note=f"the checkpoint's head is for problem_type = {said['problem_type']!r}; {ANEW}")
    return _classes(labels(said, outputs), class_names)


def resized(said: Mapping[str, Any], head: str, outputs: int, class_names: Sequence[str]) -> Taken:
    """Say that a head of another size than the study's is drawn anew."""
    names, needed = labels(said, outputs), 1 if head.endswith(CHOICES) else len(class_names)
    of = f" ({_listed(names)})" if names and not _unnamed(names) else ""
    return Taken(anew=True, note=f"the checkpoint's head has {outputs} outputs{of}, the study needs {needed}; {ANEW}")


def labels(said: Mapping[str, Any], outputs: int) -> list[str] | None:
    """The names of a head's outputs in their order, LABEL_0, ... where the config has none; None where it contradicts
    itself or the weights."""
    forward, backward = said.get("id2label"), said.get("label2id")
    default = [f"LABEL_{i}" for i in range(outputs)]
    found, inverse = default, None
    if isinstance(backward, Mapping) and backward:
        pairs = sorted(((number, str(label)) for label, number in backward.items()), key=lambda pair: str(pair[0]))
        inverse = _in_order(dict((number, label) for number, label in pairs), outputs)
    if isinstance(forward, Mapping) and forward:
        found = _in_order(forward, outputs)
        if found is None or (inverse is not None and not _unnamed(inverse) and inverse != found):
            return inverse if found is not None and _unnamed(found) else None
    elif inverse is not None:
        found = inverse
    return found


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
            f"taken for {_listed(ours)} in this order; if that is wrong, correct id2label in its config.json"
        )
    return Taken(
        anew=True,
        note=f"the checkpoint's head has other classes ({_listed(theirs)}) than the study's ({_listed(ours)}); {ANEW}",
    )


def _number(said: Mapping[str, Any], label: str) -> Taken:
    problem = said.get("problem_type")
    if problem not in (None, "regression"):
        return Taken(anew=True, note=f"the checkpoint's head is for problem_type = {problem!r}; {ANEW}")
    names = labels(said, 1)
    if names is None:
        names = ["LABEL_0"]  # transformers' own configs name two classes for a head of one output
    if activation := _activation(said):
        return Taken(anew=True, note=f"the checkpoint's head answers before {activation}, no number of labels; {ANEW}")
    if _plain(names[0]) == _plain(label):
        return Taken(
            number=True, note=f"the checkpoint's own head is used: it answers with {label!r}, in the unit of the labels"
        )
    if _unnamed(names):
        return Taken(
            number=True,
            note=f"the checkpoint's own head is used, taken to answer with {label!r} in the unit of the labels, which "
            "its config.json does not say; the row `untrained` shows how it answers",
        )
    return Taken(anew=True, note=f"the checkpoint's head answers with {names[0]!r}, the study with {label!r}; {ANEW}")


def _activation(said: Mapping[str, Any]) -> str | None:
    """What a cross-encoder of sentence-transformers puts behind its head, if it does."""
    inner = said.get("sentence_transformers")
    found = said.get("sbert_ce_default_activation_function") or (
        inner.get("activation_fn") if isinstance(inner, Mapping) else None
    )
    return None if not isinstance(found, str) or found.endswith("Identity") else found.rpartition(".")[2]


def _plain(name: str) -> str:
    return name.strip().casefold().removeprefix("label_")


def _unnamed(names: Sequence[str]) -> bool:
    return [name.casefold() for name in names] == [f"label_{i}" for i in range(len(names))]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


@torch.no_grad()
def draw_anew(model: Any, path: str) -> None:
    """Draw one layer of a loaded transformers model again, as transformers draws what a checkpoint lacks."""
    layer = model.get_submodule(path)
    for parameter in model.parameters():
        parameter._is_hf_initialized = True  # transformers leaves such a one alone
    for parameter in layer.parameters():
        parameter._is_hf_initialized = False
    parts = path.split(".")
    for length in range(len(parts), -1, -1):  # the layer, then what holds it: some classes draw their children
        model._init_weights(model.get_submodule(".".join(parts[:length])))


@torch.no_grad()
def put_in_order(layer: nn.Linear, order: Sequence[int]) -> None:
    """Give each class of the study the row that is its."""
    layer.weight.copy_(layer.weight[list(order)])
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[list(order)])


@torch.no_grad()
def standardise(layer: nn.Linear, centre: float, spread: float) -> None:
    """Turn a head that answers in the unit of the labels into one that answers with (label - centre) / spread."""
    layer.weight.div_(spread)
    layer.bias.copy_((layer.bias.double() - centre) / spread)
