"""Seconds of an optimizer step: encoderlab's LoRA against PEFT's on the same rows, in turn, in one process.

The peer is PEFT as its documentation uses it: AutoModelForSequenceClassification, dynamic padding to the longest row
of the batch, torch's AdamW. Same encoder, rows, batch size, rank, precision (fp32) and dropout on both sides. Rows and
encoder are the demo's. Absolute times mean little on a shared machine: read the ratio.

    python benchmarks/train_vs_peft.py [--steps 12] [--batch-size 32]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from encoderlab import backbone as backbones
from encoderlab import demo
from encoderlab.config import Train
from encoderlab.data import Source, prepare, read
from encoderlab.methods import Lora
from encoderlab.tasks import Classification
from encoderlab.training import Trainer
from encoderlab.training.batches import collate, epoch_batches

RANK, RATE, MAX_LENGTH = 8, 1e-3, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    files = demo.prepare()
    task = Classification()
    rows = prepare(read(Source(path=str(files.train)), Path()), text=("text",), label="label")
    classes = sorted(set(rows.columns["label"]))
    ours = backbones.load(str(files.model), head=task.head, class_names=classes, seed=0)
    encoded = task.encode(rows, ours.tokenizer, MAX_LENGTH, classes)
    method = Lora(rank=RANK)
    method.inject(ours, 0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            backbone=ours,
            method=method,
            task=task,
            train=encoded,
            validation=encoded,
            class_names=classes,
            settings=Train(batch_size=arguments.batch_size, max_length=MAX_LENGTH),
            learning_rate=RATE,
            seed=0,
            dtype=torch.float32,
            device=torch.device("cpu"),
            folder=Path(folder),
        )
    theirs, optimizer = peer(str(files.model), len(classes))
    times: dict[str, list[float]] = {"encoderlab": [], "peft": []}
    batches = epoch_batches(len(encoded), arguments.batch_size, 0, 1)
    padding = []
    for step in range(arguments.steps + 2):  # two to warm up
        chosen = batches[step % len(batches)]
        start = time.perf_counter()
        trainer.step(step, chosen)
        times["encoderlab"].append(time.perf_counter() - start)
        start = time.perf_counter()
        batch = collate(encoded, chosen, trainer.pad_id, torch.device("cpu"))
        theirs(**batch, labels=torch.from_numpy(encoded.labels[chosen])).loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times["peft"].append(time.perf_counter() - start)
        padding.append(batch["input_ids"].numel() / encoded.lengths[chosen].sum())
    medians = {name: statistics.median(values[2:]) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{name:12} {1000 * seconds:7.0f} ms a step, {arguments.batch_size / seconds:6.1f} examples/s")
    ratio = medians["peft"] / medians["encoderlab"]
    print(f"ratio {ratio:.2f}; the peer carries {statistics.mean(padding):.2f} times the real tokens")


def peer(model: str, classes: int) -> tuple[Any, torch.optim.Optimizer]:
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, at peft's use of it
        base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=classes, dtype=torch.float32)
        config = LoraConfig(task_type=TaskType.SEQ_CLS, r=RANK, lora_alpha=16, target_modules=["query", "value"])
        wrapped: Any = get_peft_model(base, config)
    wrapped.train()
    return wrapped, torch.optim.AdamW((p for p in wrapped.parameters() if p.requires_grad), lr=RATE)


if __name__ == "__main__":
    main()
