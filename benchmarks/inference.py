"""Milliseconds of inference with LoRA beside the weights and with LoRA merged into them, in turn, in one process.

Both are the same model with the same tensors; their logits are compared first. Rows are the demo's, in batches of
similar length. Absolute times mean little on a shared machine: read the ratio.

    python benchmarks/inference.py [--rounds 15] [--rows 64] [--rank 8] [--every] [--random]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from encoderlab import backbone as backbones
from encoderlab import demo
from encoderlab.data import Source, prepare, read
from encoderlab.families import ROLES
from encoderlab.jobs import take
from encoderlab.methods import Lora
from encoderlab.tasks import Classification
from encoderlab.training.forward import Computed, logits

BUDGET = 4 * 2048  # tokens of a batch, as when a run is evaluated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--every", action="store_true", help="LoRA on all six linear layers, not on query and value")
    parser.add_argument("--random", action="store_true", help="bert-base's size with random weights, not the demo's")
    arguments = parser.parse_args()
    files, task, cpu = demo.prepare(), Classification(), torch.device("cpu")
    rows = prepare(read(Source(path=str(files.train)), Path()), text=("text",), label="label")
    classes = sorted(set(rows.columns["label"]))
    method = Lora(rank=arguments.rank, target=ROLES if arguments.every else ("query", "value"))
    models = {}
    with tempfile.TemporaryDirectory() as folder:
        model = random_bert(Path(folder), files.model) if arguments.random else str(files.model)
        for name in ("unmerged", "merged"):
            backbone = backbones.load(model, head=task.head, class_names=classes, seed=0)
            method.inject(backbone, 0)
            generator = torch.Generator().manual_seed(0)
            for parameter, tensor in backbone.trainable():
                if "lora_B" in parameter:
                    tensor.data.normal_(std=0.02, generator=generator)
            if name == "merged":
                method.merge(backbone)
            models[name] = Computed(backbone, torch.float32, cpu)
    encoded = take(task.encode(rows, backbone.tokenizer, 128, classes), np.arange(arguments.rows))
    times: dict[str, list[float]] = {name: [] for name in models}
    scores = {}
    for number in range(arguments.rounds + 2):  # two to warm up
        order = list(models) if number % 2 else list(models)[::-1]
        for name in order:
            start = time.perf_counter()
            pad_id = backbone.tokenizer.pad_token_id
            scores[name] = logits(models[name], task, encoded, pad_id=pad_id, budget=BUDGET, device=cpu)
            times[name].append((time.perf_counter() - start) / arguments.rows)
    print(f"largest difference of a logit {np.abs(scores['merged'] - scores['unmerged']).max():.1e}")
    medians = {name: statistics.median(values[2:]) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{name:10} {1000 * seconds:7.2f} ms an example, {1 / seconds:6.1f} examples/s")
    print(f"ratio {medians['unmerged'] / medians['merged']:.2f}")


def random_bert(folder: Path, tokenizer: Path) -> str:
    """A folder with an encoder of bert-base's size and another's tokenizer."""
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model("bert")).save_pretrained(folder)
    return str(folder)


if __name__ == "__main__":
    main()
