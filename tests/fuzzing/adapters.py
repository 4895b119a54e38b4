"""Folders of adapters, PEFT's, the adapters library's and ours: a small valid one, with one of its files changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from encoderlab.adapters import adapterhub, peft
from encoderlab.adapters import folder as adapters
from encoderlab.methods.adalora import AdaLora
from encoderlab.methods.adapter import Adapter
from encoderlab.methods.base import Method
from encoderlab.methods.dora import Dora
from encoderlab.methods.ia3 import Ia3
from encoderlab.methods.lora import Lora
from encoderlab.methods.prefix import Prefix
from encoderlab.methods.prompt import Prompt
from encoderlab.model.encoder import EncoderModel

from .damage import change
from .models import CLASSES, FAMILIES, Models, models
from .mutate import chance, pick
from .run import Target

PEFT: tuple[Method, ...] = (
    Lora(rank=2),
    AdaLora(rank=2),
    Dora(rank=2),
    Ia3(),
    Prefix(length=3, shift_positions=True),
    Prompt(length=3, placement="front"),
)
HUB: tuple[Method, ...] = (Adapter(bottleneck=4), Adapter(bottleneck=3, placement="houlsby"), Lora(rank=2))


def _adapters(methods: Sequence[Method], write: Callable[..., Any]) -> Callable[[Path], Models]:
    def prepare(folder: Path) -> Models:
        made = models(folder)
        for family in FAMILIES[:2]:
            for number, method in enumerate(methods):
                tuned = made.fresh(family)
                method.inject(tuned, 0)
                place = folder / f"{family}-{number}"
                place.mkdir()
                write(tuned, method, adapters.adapter_tensors(tuned), place)
                made.adapters.append((family, place))
        return made

    return prepare


def _write_adapter(draw: Generator, folder: Path, made: Models) -> tuple[str, Path]:
    family, original = pick(draw, made.adapters)
    place = folder / "adapter"
    shutil.copytree(original, place)
    files = sorted(p for p in place.iterdir() if p.suffix in (".json", ".safetensors", ".bin"))
    for path in [pick(draw, files)] if chance(draw, 0.9) else files:
        change(path, draw)
    if chance(draw, 0.05):  # its own weights again, as the other format
        bins = [path for path in files if path.suffix == ".bin" and path.is_file()]
        for path in bins:
            (place / "adapter.safetensors").write_bytes(path.read_bytes())
    return family, place


def check_adapter(case: tuple[str, Path], made: Models) -> list[str]:
    """Put the adapter into the encoder and ask it once: everything it put there is finite, and so is the answer."""
    family, folder = case
    model = made.fresh(family)
    adapters.load_adapter(model, folder)
    for name, tensor in model.model.named_parameters():
        assert tensor.isfinite().all(), f"{name} is not finite"
    with torch.no_grad():
        logits = model.model(**model.tokenizer(["a good film"], return_tensors="pt")).logits
    assert logits.shape == (1, len(CLASSES)), f"logits of shape {tuple(logits.shape)}"
    return []


def _ours(encoder: EncoderModel, method: Method, tensors: dict[str, Tensor], folder: Path) -> None:
    adapters.save(encoder, method, tensors, folder)


def _target(methods: Sequence[Method], write: Callable[..., Any]) -> Target:
    return Target(write=_write_adapter, read=check_adapter, named="adapter", prepare=_adapters(methods, write))


TARGETS = {
    "peft": _target(PEFT, peft.write),
    "ours": _target(PEFT[:2] + HUB[:1], _ours),
    "adapterhub": _target(HUB, adapterhub.write),
}
