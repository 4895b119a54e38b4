"""A tuned model that is ready for inference, and its answers to rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoderlab.adapters import folder as adapters
from encoderlab.adapters.tensor_names import our_name
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import without_gradients
from encoderlab.engine.distributed import ALONE, Ranks
from encoderlab.engine.frozen_layers import frozen_layers
from encoderlab.engine.logits import logits as forward_logits
from encoderlab.engine.runner import ModelRunner
from encoderlab.engine.state_cache import StateCache
from encoderlab.methods.base import Method
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.base import Task

TIMED_ROWS = 256
# Whether the pass that runs leaves out the head's bias, in this thread.
_WITHOUT_BIAS: ContextVar[bool] = ContextVar("without_bias", default=False)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model that is ready for inference, with what it needs to read rows and to name its answers.

    Attributes:
        encoder: the encoder, with its method merged or inserted.
        model: the runner of the encoder.
        task: the task of the run.
        class_names: the names of the answers; the columns of the logits.
        max_length: tokens of a row, special ones included.
        token_budget: tokens of a micro-batch in training.
        device: where the model runs.
        mean: a float64 number to add to each answer instead of the head's bias; None: the head adds its own.
    """

    encoder: EncoderModel
    model: ModelRunner
    task: Task
    class_names: list[str]
    max_length: int
    token_budget: int
    device: torch.device
    mean: float | None = None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the base model."""
        return self.encoder.tokenizer


def assemble(
    *,
    model: str,
    task: Task,
    method: Method | None,
    class_names: list[str],
    seed: int,
    train: Mapping[str, Any],
    read: Callable[[EncoderModel], Mapping[str, Tensor]] | None,
    origin: str,
    device: torch.device,
    dtype: torch.dtype,
    tokenizer: Any = None,
    anew: str = "",
) -> Loaded:
    """Load the base in fp32, insert the method, fill in its tensors, merge, then cast.

    Args:
        model: the base model, a name or a folder.
        task: the task of the run.
        method: the method of the run; None: the untrained model.
        class_names: the names of the answers.
        seed: the seed of the run, from which new tensors are initialized.
        train: the train section of the run; `max_length` and `token_budget` are read.
        read: returns the trained tensors by name; None: the untrained model.
        origin: where the tensors are from, for messages.
        device: where the model runs.
        dtype: the compute precision.
        tokenizer: the tokenizer of the base, where it is loaded already.
        anew: as in `model.load.load`.
    """
    encoder = load.load(model, head=task.head, class_names=class_names, seed=seed, tokenizer=tokenizer, anew=anew)
    frozen = len(encoder.layer_paths())
    mean = None
    if method is not None and read is not None:
        tensors = read(encoder)
        method.inject(encoder, seed)
        frozen = frozen_layers(encoder)
        adapters.fill(encoder, method, tensors, origin)
        method.merge(encoder)
        bias = tensors.get(our_name(encoder, f"{encoder.output_layer()}.bias"))
        if bias is not None and bias.dtype == torch.float64:
            mean = float(bias)
            encoder.model.get_submodule(encoder.output_layer()).register_forward_hook(_leave_out_bias)
    encoder.model.requires_grad_(False)
    return Loaded(
        encoder=encoder,
        model=ModelRunner(encoder, dtype, device, frozen),
        task=task,
        class_names=class_names,
        max_length=train["max_length"],
        token_budget=train["token_budget"],
        device=device,
        mean=mean,
    )


def logits(
    loaded: Loaded,
    tokenized: TokenizedRows,
    on_progress: Callable[[int], None] | None = None,
    ranks: Ranks = ALONE,
    cache: StateCache | None = None,
) -> np.ndarray:
    """Compute the logits of a split, without dropout.

    Args:
        loaded: the tuned model.
        tokenized: the split.
        on_progress: gets the tokens of each batch after it.
        ranks: the processes that share the work.
        cache: where the states of frozen layers are kept; None: every layer runs.

    Returns:
        float32 (rows, classes), in the order of the rows. float64 for a regression whose labels have a mean that
        float32 cannot hold.
    """
    pad_id = loaded.encoder.pad_id
    budget = without_gradients(loaded.token_budget)
    if cache is not None:
        ranks.one_after_another(partial(loaded.model.keep, tokenized, cache, pad_id, budget, loaded.device))
    with _without_bias(loaded.mean is not None):
        found = forward_logits(
            loaded.model,
            loaded.task,
            tokenized,
            pad_id=pad_id,
            budget=budget,
            device=loaded.device,
            on_progress=on_progress,
            ranks=ranks,
        )
    return found if loaded.mean is None else found.astype(np.float64) + loaded.mean


def seconds_without_cache(loaded: Loaded, tokenized: TokenizedRows) -> float | None:
    """Measure the seconds per row of a pass in which every layer runs, over the first TIMED_ROWS rows.

    A user of the model has no cache of frozen layers, so this is the time that the user sees. It is None where no
    states were cached: then the pass that scored the rows has already measured it.
    """
    model = loaded.model
    if not model.frozen.kept:
        return None
    rows = np.arange(min(TIMED_ROWS, len(tokenized)))
    start = time.perf_counter()
    for chosen in model.micro_batches(tokenized, rows, without_gradients(loaded.token_budget)):
        with torch.no_grad():
            model.run(tokenized, chosen, loaded.encoder.pad_id, loaded.device, cached=False).cpu()
    return (time.perf_counter() - start) / len(rows)


@contextmanager
def _without_bias(leave_out: bool) -> Iterator[None]:
    """Leave out the head's bias inside the block, if `leave_out`: `logits` then adds the mean in float64."""
    token = _WITHOUT_BIAS.set(leave_out)
    try:
        yield
    finally:
        _WITHOUT_BIAS.reset(token)


def _leave_out_bias(layer: nn.Linear, args: tuple[Tensor], output: Tensor) -> Tensor:
    """Replace the output of the head's last layer by one without bias, (rows, 1), inside `_without_bias`."""
    return F.linear(args[0], layer.weight, torch.zeros_like(layer.bias)) if _WITHOUT_BIAS.get() else output
