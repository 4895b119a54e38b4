"""The state of one forward pass: an object of the call, not attributes of the model.

The models of transformers pass only tensors on, so hooks inside a model look their call up with `active`. It reads a
context variable, which has its own value in each thread. So two threads can run one model at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import final

from torch import Tensor

from encoderlab.model import dropout, packing
from encoderlab.model.dropout import DropoutRNG
from encoderlab.model.packing import Layout

_ACTIVE: ContextVar[ForwardCall | None] = ContextVar("forward_call", default=None)


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class ForwardCall:
    """One forward pass of a `ModelRunner`.

    Attributes:
        owner: the runner's token. A model may be wrapped more than once; each wrapper's hooks act in its own passes.
        layout: the layout of a packed row, (1, tokens); None: the batch is padded.
        places: int64 (n,), in the flattened tokens: the head reads these alone. None: it reads as the model is made.
        states: cached output of the frozen leading layers, (1, tokens, hidden) or (sequences, 1, hidden).
        rng: what dropout draws from; None: no dropout.
        only_states: whether the pass ends in front of the first trained layer, with `Reached`.
    """

    owner: object
    layout: Layout | None = None
    places: Tensor | None = None
    states: Tensor | None = None
    rng: DropoutRNG | None = None
    only_states: bool = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make this the active call inside the block, for hooks, attention and dropout."""
        token = _ACTIVE.set(self)
        try:
            with packing.use(self.layout), dropout.use_rng(self.rng):
                yield
        finally:
            _ACTIVE.reset(token)


def active(owner: object) -> ForwardCall | None:
    """Return the call that is running in this thread, if it belongs to `owner`; else None."""
    call = _ACTIVE.get()
    return call if call is not None and call.owner is owner else None
