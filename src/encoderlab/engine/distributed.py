"""One run in several processes, which torchrun or `accelerate launch` starts: who does what, and how they agree.

Each process (rank) takes some of a step's micro-batches. Their losses are already divided by the rows of the whole
batch, and the gradients are summed over ranks once a step. So the gradient is that of the one-process run, however the
micro-batches are dealt out; a rank without one adds zero. A micro-batch has the same number, and with it the same
dropout, in any number of processes.

Only the first process writes files and takes locks. The others get its result, or stop where it failed.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, final

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, reduce
from torch import Tensor, nn

from encoderlab.core.errors import EncoderlabError, InputError, Problem

T = TypeVar("T")

PATIENCE = timedelta(hours=6)  # for a rank that does something alone; one that dies is noticed at once
CHUNK = 2**24  # values of a sum over ranks


class RankLost(EncoderlabError):
    """The error of a process whose partner has ended."""


@final
@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The place of this process among the processes of the run.

    Attributes:
        rank: the number of this process, from 0.
        size: how many processes there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and takes locks."""
        return self.rank == 0

    def deal(self, costs: Sequence[int]) -> list[int]:
        """Divide work items among the ranks, the most expensive first, each to the rank with the least work.

        Args:
            costs: the cost of each item, in any unit.

        Returns:
            The numbers of the items of this rank, in rising order.
        """
        loads, mine = np.zeros(self.size), []
        for item in sorted(range(len(costs)), key=lambda one: (-costs[one], one)):
            taker = int(loads.argmin())
            loads[taker] += costs[item]
            if taker == self.rank:
                mine.append(item)
        return sorted(mine)

    def add_gradients(self, parameters: Sequence[nn.Parameter], loss: float) -> float:
        """Sum the gradients over all ranks, in place. A parameter that has no gradient on any rank stays without one.

        Args:
            parameters: the trained parameters, in the same order on every rank.
            loss: the loss of this rank's rows.

        Returns:
            The sum of `loss` over all ranks.
        """
        if self.size == 1:
            return loss
        device = parameters[0].device
        seen = [float(p.grad is not None) for p in parameters]
        exact = torch.float64 if device.type != "mps" else torch.float32
        *anywhere, loss = self._sum(torch.tensor([*seen, loss], dtype=exact, device=device)).tolist()
        with_one = [p for p, ranks in zip(parameters, anywhere, strict=True) if ranks]
        for group in _chunks(with_one):
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
            total = self._sum(torch.cat([g.reshape(-1) for g in grads]))
            for p, part in zip(group, total.split([p.numel() for p in group]), strict=True):
                p.grad = part.view(p.shape)
        return loss

    def on_first(self, do: Callable[[], T]) -> T:
        """Call `do` on the first rank alone, and return its result on every rank.

        Raises:
            EncoderlabError: on the first rank, where `do` raised it. The other ranks exit without a message.
        """
        if self.size == 1:
            return do()
        error, answer = None, None
        if self.first:
            try:
                answer = do()
            except EncoderlabError as raised:
                error = raised
        code, answer = self._collect(
            lambda: broadcast_object_list([None if error is None else error.exit_code, answer], from_process=0)
        )
        if error is not None:
            raise error
        if code is not None:
            self.leave(code)
        return answer

    def one_after_another(self, do: Callable[[], T]) -> T:
        """Call `do` on the first rank, then on the others, which read what the first has put into the caches.

        Returns:
            The result of this rank's call.

        Raises:
            InputError: on the first rank, with every problem of any rank. The other ranks exit without a message.
        """
        if self.size == 1:
            return do()
        answer: Any = None
        problems: list[Problem] = []
        for turn in (self.first, not self.first):
            if turn:
                try:
                    answer = do()
                except InputError as error:
                    problems = list(error.problems)
            found = self.all(problems)
            if any(found):
                if not self.first:
                    self.leave(InputError.exit_code)
                elsewhere = [
                    problem.at(f"process {rank} of {self.size}")
                    for rank, others in enumerate(found[1:], 1)
                    for problem in others
                ]
                raise InputError(*(found[0] or elsewhere))
        return answer

    def all(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of the ranks, on every rank."""
        return [value] if self.size == 1 else self._collect(lambda: gather_object([value]))

    def leave(self, code: int) -> None:
        """End this process without a message.

        The launcher stops every process when one ends. So this one waits until the first has printed the reason.
        """
        time.sleep(2)
        raise SystemExit(code)

    def _sum(self, tensor: Tensor) -> Tensor:
        return self._collect(lambda: reduce(tensor, "sum"))

    def _collect(self, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise RankLost(
                "another process of this run has ended, so this one stops too; the same command goes on from the last "
                "checkpoint"
            ) from error


ALONE = Ranks()


def started_as_several() -> bool:
    """Return whether torchrun or `accelerate launch` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def alike(do: Callable[[], T]) -> T:
    """Call `do` before the ranks are connected, and return its result.

    `do` returns or raises the same in every process of a machine. So only one of them reports an error, and the others
    exit without a message.

    Raises:
        EncoderlabError: in the first process of a machine, where `do` raised it.
    """
    try:
        return do()
    except EncoderlabError as error:
        if started_as_several() and os.environ.get("LOCAL_RANK", "0") != "0":
            ALONE.leave(error.exit_code)
        raise


def open_ranks(device: torch.device) -> Ranks:
    """Connect this process to the other ranks, wait for them, and return its place.

    On a machine with GPUs, each process takes the GPU of its local number.
    """
    if not started_as_several():
        return ALONE
    state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
    # A gloo thread that still runs while the interpreter ends aborts a process that has done its work.
    atexit.register(state.destroy_process_group)
    return Ranks(rank=state.process_index, size=state.num_processes)


def _chunks(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Cut parameters into groups of about CHUNK values, so that the copy for a sum stays small."""
    groups: list[list[nn.Parameter]] = []
    held = CHUNK
    for parameter in parameters:
        if held >= CHUNK:
            groups.append([])
            held = 0
        groups[-1].append(parameter)
        held += parameter.numel()
    return groups
