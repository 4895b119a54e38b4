"""From files to predictions: a run folder, or a method's tensors, becomes a merged model in its compute precision.

Evaluation starts from what was saved, never from the model in memory: what is measured is what a user would load.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from encoderlab import adapters, files
from encoderlab import backbone as backbones
from encoderlab.backbone import Backbone
from encoderlab.errors import InputError
from encoderlab.formats.names import our_name
from encoderlab.methods import METHODS, Method
from encoderlab.tasks import TASKS, Encoded, Task
from encoderlab.training.batches import without_gradients
from encoderlab.training.forward import Computed
from encoderlab.training.forward import logits as forward_logits
from encoderlab.training.precision import choose_device, choose_precision
from encoderlab.training.ranks import ALONE, Ranks
from encoderlab.training.trunk import TrunkCache, frozen_layers

log = logging.getLogger(__name__)

TIMED_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model ready for inference, with what is needed to read rows and to name its answers. mean: what the head adds
    to each answer, where its own float32 is too short for it."""

    backbone: Backbone
    model: Computed
    task: Task
    class_names: list[str]
    max_length: int
    token_budget: int
    device: torch.device
    mean: float | None = None

    @property
    def tokenizer(self) -> Any:
        return self.backbone.tokenizer


def load_run(
    folder: Path, *, device: str = "auto", precision: str | None = None, force: bool = False, base: str | None = None
) -> Loaded:
    """The model of a finished run, in the precision it was scored in unless `precision` says otherwise. `force`: on
    another base than it was trained on, too. `base`: where the base model lies now, if not where it was.

    InputError where the folder is no run, is not finished, or a file of it is missing or damaged. A run that failed
    may have kept its best epoch: that is loaded, and a warning logged.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not the folder of a run (expected config.json in it); give OUT/runs/ID")
    if not (folder / "result.json").is_file():
        raise InputError(f"{folder}: this run is not finished; run its study again to finish it")
    if not (folder / "adapter" / adapters.OURS).is_file():
        raise InputError(
            f"{folder}: this run has no adapter/ (a trial, a baseline, or it failed early); "
            "if it was lost, run the study again"
        )
    place = choose_device(device)
    try:
        config, result = files.read_json(folder / "config.json"), files.read_json(folder / "result.json")
        if result["status"] != "done":
            log.warning("%s: this run failed (%s); using the best epoch before that", folder, result["reason"])
        stored = {"bfloat16": "bf16", "float32": "fp32"}[config["precision"]]
        return assemble(
            model=_base(folder, config["model"]["name"], base),
            task=files.build(TASKS, "kind", config["task"]),
            method=files.build(METHODS, "name", config["method"]),
            class_names=config["class_names"],
            seed=config["seed"],
            train=config["train"],
            read=lambda b: adapters.read(b, folder / "adapter", force=force)[1],
            origin=str(folder / "adapter"),
            device=place,
            dtype=choose_precision(place, precision or stored)[0],
        )
    except (KeyError, TypeError, ValueError, StopIteration, OSError, SafetensorError) as error:
        raise InputError(f"{folder}: a file of this run is damaged ({type(error).__name__}: {error})") from None


def _base(run: Path, trained_on: str, base: str | None) -> str:
    """The base model to load. InputError where a folder is no longer there, and no other is named."""
    if base is not None:
        return base
    if Path(trained_on).is_absolute() and not Path(trained_on).is_dir():
        raise InputError(f"{run}: its base model is no longer at {trained_on}; say where it is with --base FOLDER")
    return trained_on


def assemble(
    *,
    model: str,
    task: Task,
    method: Method | None,
    class_names: list[str],
    seed: int,
    train: Mapping[str, Any],
    read: Callable[[Backbone], Mapping[str, Tensor]] | None,
    origin: str,
    device: torch.device,
    dtype: torch.dtype,
    tokenizer: Any = None,
    anew: str = "",
) -> Loaded:
    """Load the base in fp32, insert the method, fill in the tensors that `read` gives, merge, then cast. No method:
    the untrained model. `origin` is where the tensors are from, for messages. tokenizer: the base's, where it is
    loaded already. anew: as in `backbone.load`."""
    backbone = backbones.load(model, head=task.head, class_names=class_names, seed=seed, tokenizer=tokenizer, anew=anew)
    frozen = len(backbone.layer_paths())
    mean = None
    if method is not None and read is not None:
        tensors = read(backbone)
        method.inject(backbone, seed)
        frozen = frozen_layers(backbone)
        adapters.fill(backbone, method, tensors, origin)
        method.merge(backbone)
        bias = tensors.get(our_name(backbone, f"{backbone.output_layer()}.bias"))
        mean = float(bias) if bias is not None and bias.dtype == torch.float64 else None
    backbone.model.requires_grad_(False)
    return Loaded(
        backbone=backbone,
        model=Computed(backbone, dtype, device, frozen),
        task=task,
        class_names=class_names,
        max_length=train["max_length"],
        token_budget=train["token_budget"],
        device=device,
        mean=mean,
    )


def logits(
    loaded: Loaded,
    encoded: Encoded,
    tick: Callable[[int], None] | None = None,
    ranks: Ranks = ALONE,
    cache: TrunkCache | None = None,
) -> np.ndarray:
    """float32 (rows, classes), in the rows' order; float64 of a regression whose labels' mean float32 cannot hold.
    cache: where layers that no training changed find what they give."""
    pad_id = loaded.backbone.pad_id
    budget = without_gradients(loaded.token_budget)
    if cache is not None:
        ranks.one_after_another(partial(loaded.model.keep, encoded, cache, pad_id, budget, loaded.device))
    with _without_mean(loaded):
        found = forward_logits(
            loaded.model,
            loaded.task,
            encoded,
            pad_id=pad_id,
            budget=budget,
            device=loaded.device,
            tick=tick,
            ranks=ranks,
        )
    return found if loaded.mean is None else found.astype(np.float64) + loaded.mean


@contextmanager
def _without_mean(loaded: Loaded) -> Iterator[None]:
    """The head does not add the mean that is added in float64 after it."""
    if loaded.mean is None:
        yield
        return
    bias = loaded.backbone.model.get_parameter(f"{loaded.backbone.output_layer()}.bias")
    kept = bias.detach().clone()
    try:
        bias.data.zero_()
        yield
    finally:
        bias.data.copy_(kept)


def seconds_without_cache(loaded: Loaded, encoded: Encoded) -> float | None:
    """A row's share of a pass over the first TIMED_ROWS with every layer run, as a user of the model runs it; None
    where the cache gave nothing, so that the pass that scored the rows has told it."""
    model = loaded.model
    if not model.trunk.kept:
        return None
    rows = np.arange(min(TIMED_ROWS, len(encoded)))
    kept, model.trunk.kept = model.trunk.kept, {}
    try:
        start = time.perf_counter()
        for chosen in model.micro_batches(encoded, rows, without_gradients(loaded.token_budget)):
            with torch.no_grad():
                model.run(encoded, chosen, loaded.backbone.pad_id, loaded.device).cpu()
        return (time.perf_counter() - start) / len(rows)
    finally:
        model.trunk.kept = kept
