"""The peer: the same rows and the same method under transformers' Trainer, as its documentation does it.

PEFT for LoRA; full fine-tuning as it comes; adapters and prefixes are our modules inside the plain model, since PEFT
has no bottleneck adapters and no prefixes for encoders. The model has torch's own dropout and transformers' default
attention; batches are padded to their longest row; bf16 is autocast.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import (
    AttentionInterface,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)
from transformers import Trainer as HfTrainer
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import collate
from encoderlab.methods.base import Method
from encoderlab.methods.lora import Lora
from encoderlab.model import load
from encoderlab.model.attention import with_prefix
from encoderlab.model.dropout import Dropout
from encoderlab.tasks.classification import Classification

PREFIXED = "benchmark_prefix"


def build(model: str, task: Classification, class_names: Sequence[str], method: Method) -> nn.Module:
    """The peer's model in fp32, what it trains marked."""
    if isinstance(method, Lora):
        return _peft(model, task, class_names, method)
    encoder = load.load(model, head=task.head, class_names=class_names, seed=0)
    for module in list(encoder.model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.p))
    method.inject(encoder, 0)
    encoder.model.set_attn_implementation(PREFIXED if method.name == "prefix" else "sdpa")
    return encoder.model


def _peft(model: str, task: Classification, class_names: Sequence[str], method: Lora) -> nn.Module:
    """Return PEFT's model. It trains the same newly initialized modules as encoderlab.

    PEFT alone trains the classifier only. A pooler that the checkpoint lacks would keep its random weights.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    encoder = load.load(model, head=task.head, class_names=class_names, seed=0)
    places = [getattr(encoder.family, role) for role in method.target]
    anew = {name.rpartition(".")[0] for name in encoder.newly_initialized if name.startswith(encoder.base_prefix)}
    settings: dict[str, Any] = {"r": method.rank, "lora_alpha": method.alpha, "target_modules": places}
    settings["modules_to_save"] = sorted(anew) or None
    if method.layers == "last":
        settings["layers_to_transform"] = [
            AutoModelForSequenceClassification.from_pretrained(model).config.num_hidden_layers - 1
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers, at peft's use of it
        base = AutoModelForSequenceClassification.from_pretrained(
            model, num_labels=len(class_names), dtype=torch.float32
        )
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS, use_rslora=method.rslora, lora_dropout=method.dropout, **settings
        )
        return get_peft_model(base, config)


def same_start(theirs: nn.Module, mine: nn.Module) -> None:
    """Give the peer the other model's trained tensors: same first step. Both must train the same."""
    known = {name: parameter for name, parameter in mine.named_parameters() if parameter.requires_grad}
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            plain = name.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")
            if parameter.requires_grad:
                parameter.copy_(known.pop(plain).float())
    assert not known, f"the peer does not train {', '.join(known)}"


class _Ends(TrainerCallback):
    def __init__(self) -> None:
        self.ends = [(time.perf_counter(), time.process_time())]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))


class _InOrder(HfTrainer):
    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # pyright: ignore[reportArgumentType]


class Peer:
    """Batches of rows in a given order, through `Trainer.train()`."""

    def __init__(
        self, model: nn.Module, tokenizer: Any, tokenized: TokenizedRows, folder: Path, *, pad_to: int | None = None
    ):
        self.model, self.tokenized, self.folder = model, tokenized, folder
        padding: dict[str, Any] = {"padding": "max_length", "max_length": pad_to} if pad_to else {"padding": True}
        self.pad_id = tokenizer.pad_token_id
        self.collator = DataCollatorWithPadding(tokenizer, **padding)

    def run(
        self,
        batches: Sequence[np.ndarray],
        *,
        bf16: bool,
        rate: float = 1e-3,
        seed: int = 0,
        warmup: int = 0,
        weight_decay: float = 0.01,
    ) -> tuple[list[float], np.ndarray]:
        """Train on these batches, all of one size: the loss of each step, and (steps, 2) its seconds on the wall and of
        the processor. The first step holds what is set up once."""
        rows = np.concatenate(batches)
        size = len(batches[0])
        assert all(len(batch) == size for batch in batches), "Trainer cuts the rows into batches of one size"
        examples = [self._example(int(row)) for row in rows]
        arguments = TrainingArguments(
            output_dir=str(self.folder),
            max_steps=len(batches),
            per_device_train_batch_size=size,
            learning_rate=rate,
            seed=seed,
            weight_decay=weight_decay,
            warmup_steps=warmup,
            bf16=bf16,
            use_cpu=True,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            max_grad_norm=1.0,
            dataloader_pin_memory=False,
        )
        trainer = _InOrder(model=self.model, args=arguments, train_dataset=examples, data_collator=self.collator)
        trainer.remove_callback(PrinterCallback)
        clock = _Ends()
        trainer.add_callback(clock)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return losses, np.diff(clock.ends, axis=0)

    def answers(self, held: TokenizedRows) -> np.ndarray:
        """The class numbers that the model gives now."""
        return self.logits(held).argmax(1)

    @torch.no_grad()
    def logits(self, held: TokenizedRows) -> np.ndarray:
        """float32 (rows, classes), rows in their order, 32 at a time, padded to the longest of these."""
        self.model.eval()
        found = []
        for start in range(0, len(held), 32):
            batch = collate(held, range(start, min(start + 32, len(held))), self.pad_id, torch.device("cpu"))
            found.append(self.model(**batch).logits.numpy())
        return np.concatenate(found)

    def _example(self, row: int) -> dict[str, Any]:
        span = slice(self.tokenized.offsets[row], self.tokenized.offsets[row + 1])
        found = {"input_ids": self.tokenized.ids[span].tolist(), "labels": int(self.tokenized.labels[row])}
        if self.tokenized.type_ids is not None:
            found["token_type_ids"] = self.tokenized.type_ids[span].tolist()
        return found


def _prefixed(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: Any = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Any, None]:
    mask, length = attention_mask, module.prefix_key.size(1)
    key, value, _ = with_prefix(module, key, value, None)
    if mask is not None:  # bool, True where a token is seen
        mask = F.pad(mask, (length, 0), value=True)
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return context.transpose(1, 2).contiguous(), None


AttentionInterface.register(PREFIXED, _prefixed)
AttentionMaskInterface.register(PREFIXED, sdpa_mask)
