"""The one training loop. What varies comes in as an object; no method, task or family is named here.

AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) on the trainable tensors, linear warm-up and linear decay to zero,
clipping by the global norm. Weight decay spares vectors (biases, norms). After each epoch: validation, checkpoint.
The best epoch's tensors are what a run gives. One process or several (`ranks`): the same steps.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from encoderlab.adapters.folder import adapter_tensors
from encoderlab.adapters.tensor_names import our_name
from encoderlab.core.errors import RunFailed
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import epoch_batches, without_gradients
from encoderlab.engine.distributed import ALONE, Ranks
from encoderlab.engine.logits import logits, scores
from encoderlab.engine.runner import ModelRunner
from encoderlab.engine.state_cache import StateCache
from encoderlab.methods.base import Method
from encoderlab.model import heads
from encoderlab.model.dropout import DropoutRNG
from encoderlab.model.encoder import EncoderModel
from encoderlab.tasks.base import Task
from encoderlab.training import checkpoint
from encoderlab.training.epochs import Epoch, OnEpoch, OnProgress, ignore
from encoderlab.training.metrics_log import Log
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.settings import Train
from encoderlab.training.trackers import Tracking


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a finished training gives.

    `tensors` are the best epoch's, by their names in the adapter file; `seconds` is the time of the training steps.
    """

    tensors: dict[str, Tensor]
    epochs: int
    best_epoch: int
    steps: int
    seconds: float
    history: list[Epoch]
    warnings: list[str]


@dataclass(kw_only=True)
class Trainer:
    """The training of one run: an encoder with its method inserted, rows, and where to write.

    `run()` trains, or resumes from the folder's checkpoint. Of several ranks only the first one reads or writes in the
    folder. RunFailed is raised at the first loss or gradient that is not finite.
    """

    encoder: EncoderModel
    method: Method  # what was inserted into the encoder
    task: Task
    train: TokenizedRows
    validation: TokenizedRows
    class_names: list[str]
    settings: Train
    learning_rate: float
    seed: int
    dtype: torch.dtype
    device: torch.device
    folder: Path
    cache: StateCache | None = None
    on_progress: OnProgress = ignore
    on_epoch: OnEpoch = ignore
    ranks: Ranks = ALONE
    tracking: Tracking | None = None

    def __post_init__(self) -> None:
        self.scale, self.labels = self.task.scale(self.train.labels), self.train.labels
        if self.scale is not None:
            centre, spread = self.scale
            self.labels = (self.train.labels - centre) / spread
            layer = self.encoder.output_layer()
            # The checkpoint's own head answers in the labels' unit.
            if f"{layer}.weight" not in self.encoder.newly_initialized:
                heads.standardise(self.encoder.model.get_submodule(layer), centre, spread)
        self.accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision="no")
        self.model = ModelRunner(self.encoder, self.dtype, self.device)
        self.parameters = [p for _, p in self.encoder.trainable()]
        self.optimizer = torch.optim.AdamW(self._groups(), lr=self.learning_rate, fused=True)
        self.lengths, self.sizes, self.tokens = self.train.longest, self.train.sizes, self.train.tokens
        self.pad_id = self.encoder.pad_id

    def _groups(self) -> list[dict[str, list[nn.Parameter] | float]]:
        """Return AdamW's parameter groups: vectors do not decay, and a method may set the rate of some parameters."""
        factors = self.method.rate_factors(self.encoder)
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for decays in (True, False):
            for name, parameter in self.encoder.trainable():
                if (sum(size > 1 for size in parameter.shape) > 1) == decays:
                    groups.setdefault((decays, factors.get(name, 1.0)), []).append(parameter)
        return [
            {"params": group, "weight_decay": self.settings.weight_decay if decays else 0.0, "factor": factor}
            for (decays, factor), group in groups.items()
        ]

    @property
    def total_steps(self) -> int:
        """The optimizer steps of all epochs."""
        return self.settings.epochs * math.ceil(len(self.lengths) / self.settings.batch_size)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step counted from 0: linear up over the warm-up, linear down to zero."""
        warm = round(self.settings.warmup * self.total_steps)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * (self.total_steps - step) / max(1, self.total_steps - warm)

    def step(self, step: int, rows: np.ndarray) -> tuple[float, float]:
        """Do one optimizer step on `rows`. Return the mean loss and the gradient's norm before clipping."""
        self.model.train()
        epoch = step // math.ceil(len(self.lengths) / self.settings.batch_size) + 1
        total = 0.0
        groups = self.model.micro_batches(self.train, rows, self.settings.token_budget)
        for micro in self.ranks.deal([int(self.tokens[chosen].sum()) for chosen in groups]):
            chosen = groups[micro]
            found = scores(
                self.model,
                self.task,
                self.train,
                chosen,
                pad_id=self.pad_id,
                device=self.device,
                draw=(self.seed, epoch),
                rng=DropoutRNG(self.seed, step, micro),
            )
            labels = torch.from_numpy(self.labels[chosen]).to(self.device)
            loss = self.task.losses(found, labels).sum() / len(rows)
            self.accelerator.backward(loss)
            total += loss.item()
        if self.ranks.first and (extra := self.method.regulariser(self.encoder)) is not None:
            self.accelerator.backward(extra)
        total = self.ranks.add_gradients(self.parameters, total)
        norm = float(self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip))  # type: ignore[arg-type]
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise RunFailed(
                f"the loss or its gradient is not finite at step {step + 1} of {self.total_steps} (loss {total}, "
                f"gradient {norm}, learning rate {self.rate(step):.2g}); try a smaller learning rate"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step) * group["factor"]
        self.optimizer.step()
        self.method.after_step(self.encoder, step + 1, self.total_steps)
        self.optimizer.zero_grad()
        return total, norm

    def run(self) -> Trained:
        """Train to the end or to the stopping rule."""
        tensors = adapter_tensors(self.encoder)
        folder = RunFolder(self.folder).checkpoint
        state = self.method.state(self.encoder)
        progress, held = self.ranks.on_first(lambda: checkpoint.read(folder))
        checkpoint.restore(held, tensors, state, self.optimizer)
        del held
        self._keep(progress)
        place = RunFolder(self.folder).metrics_log if self.ranks.first else None
        with Log(place, progress.log_lines, self.tracking, progress.step) as log:
            self._epochs(progress, log, tensors, state)
        return Trained(
            tensors=self._given(self.ranks.on_first(lambda: checkpoint.best(folder, progress))),
            epochs=progress.epoch,
            best_epoch=progress.best_epoch,
            steps=progress.step,
            seconds=progress.seconds,
            history=progress.history,
            warnings=[*progress.warnings, *log.trackers.warnings, *self._idle()],
        )

    def _epochs(
        self, progress: checkpoint.Progress, log: Log, tensors: dict[str, Tensor], state: dict[str, Tensor]
    ) -> None:
        for epoch in range(progress.epoch + 1, self.settings.epochs + 1):
            if self._should_stop(progress):
                break
            self.on_epoch(progress.history)
            losses = []
            for rows in epoch_batches(len(self.lengths), self.settings.batch_size, self.seed, epoch):
                start, tokens = time.perf_counter(), int(self.tokens[rows].sum())
                loss, norm = self.step(progress.step, rows)
                seconds = time.perf_counter() - start
                log.write(
                    event="step",
                    step=progress.step + 1,
                    epoch=epoch,
                    loss=loss,
                    learning_rate=self.rate(progress.step),
                    grad_norm=norm,
                    seconds=seconds,
                    tokens=tokens,
                )
                progress.step += 1
                progress.seconds += seconds
                losses.append(loss * len(rows))
                self.on_progress(tokens, loss)
            entry = Epoch(
                epoch=epoch,
                step=progress.step,
                train_loss=sum(losses) / len(self.lengths),
                validation=self._validate(),
                seconds=progress.seconds,
            )
            if not math.isfinite(entry.validation["loss"]):
                raise RunFailed(f"the validation loss is not finite after epoch {epoch}; try a smaller learning rate")
            progress.history.append(entry)
            progress.epoch = epoch
            settled = float(self.method.can_be_best(progress.step, self.total_steps))
            score = (settled, self.task.value(entry.validation), -entry.validation["loss"])
            if not progress.best_epoch or score > progress.best_score:
                progress.best_epoch, progress.best_score = epoch, score
            log.write(event="epoch", **asdict(entry))
            progress.log_lines = log.lines
            if self.ranks.first:
                checkpoint.save(RunFolder(self.folder).checkpoint, progress, tensors, state, self.optimizer)

    def _idle(self) -> list[str]:
        """Warn if a step has fewer micro-batches than there are processes.

        How a batch is cut must not depend on the number of processes, or dropout would.
        """
        tokens = int(self.settings.batch_size * self.tokens.mean())
        if self.ranks.size == 1 or tokens > self.settings.token_budget * (self.ranks.size - 1):
            return []
        return [
            f"a step has about {tokens} tokens, too few for {self.ranks.size} processes in micro-batches of "
            f"{self.settings.token_budget}: train.token_budget = {max(1, tokens // self.ranks.size)} gives each one"
        ]

    def _keep(self, progress: checkpoint.Progress) -> None:
        """Run the frozen leading layers once for each row, if there is a cache.

        For the training rows this is part of the run's time, whichever run did it.
        """
        if self.cache is None:
            return
        budget = without_gradients(self.settings.token_budget)
        for tokenized in (self.train, self.validation):
            keep = partial(self.model.keep, tokenized, self.cache, self.pad_id, budget, self.device)
            seconds = self.ranks.one_after_another(keep)
            if tokenized is self.train and not progress.epoch:
                progress.seconds += seconds

    def best(self) -> dict[str, Tensor] | None:
        """Return the best epoch's tensors as the checkpoint has them. None before the end of the first epoch."""
        folder = RunFolder(self.folder).checkpoint
        progress, held = self.ranks.on_first(lambda: checkpoint.read(folder))
        checkpoint.restore(held, adapter_tensors(self.encoder), self.method.state(self.encoder), self.optimizer)
        if not held:
            return None
        return self._given(self.ranks.on_first(lambda: checkpoint.best(folder, progress)))

    def _given(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what is saved of the best epoch: a head that learned rescaled labels answers in their own unit."""
        tensors = self.method.trimmed(tensors)
        if self.scale is None:
            return tensors
        (centre, spread), layer = self.scale, self.encoder.output_layer()
        weight, bias = (our_name(self.encoder, f"{layer}.{part}") for part in ("weight", "bias"))
        answer = tensors[bias].double() * spread + centre
        if (answer.float() - answer).abs().max() <= 1e-5 * spread:  # else float32 rounds the mean by too much
            answer = answer.float()
        return {**tensors, weight: tensors[weight] * spread, bias: answer}

    def _should_stop(self, progress: checkpoint.Progress) -> bool:
        """Return whether the best epoch is `patience` epochs ago; never before a method has settled."""
        patience, settled = self.settings.patience, progress.best_score[:1] != (0.0,)
        return patience is not None and settled and progress.epoch - progress.best_epoch >= patience

    def _validate(self) -> dict[str, float]:
        found = logits(
            self.model,
            self.task,
            self.validation,
            pad_id=self.pad_id,
            budget=without_gradients(self.settings.token_budget),
            device=self.device,
            on_progress=lambda tokens: self.on_progress(tokens, None),
            ranks=self.ranks,
        )
        if self.scale is not None:
            centre, spread = self.scale
            found = centre + spread * found.astype(np.float64)
        metrics = self.task.metrics(found, self.validation.labels, self.class_names)
        return {name: value for name, value in metrics.items() if isinstance(value, float)}
