"""Milliseconds of inference: LoRA merged into the weights and beside them, ours and PEFT's, in turn, in one process.

The peer takes rows in batches of 32 as they come, padded to their longest. All have the same tensors, and their logits
must agree. Rows are the demo's, fp32. Absolute times mean little on a shared machine: read the
ratio to the merged model.

    python benchmarks/inference.py [--model minilm] [--rounds 15] [--rows 64] [--rank 8] [--every] [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lib import work
from lib.peer import Peer, build, same_start

from encoderlab.data.prepare import prepare
from encoderlab.data.readers import read
from encoderlab.data.source import Source
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import without_gradients
from encoderlab.engine.logits import logits
from encoderlab.engine.runner import ModelRunner
from encoderlab.methods.lora import Lora
from encoderlab.model import load
from encoderlab.model.families import ROLES
from encoderlab.study import demo
from encoderlab.training.settings import Train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=work.MODELS, default="minilm")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--every", action="store_true", help="LoRA on all six linear layers, not on query and value")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = prepare(read(Source(path=str(demo.prepare().train)), Path()), text=("text",), label="label")
    method = Lora(rank=arguments.rank, target=ROLES if arguments.every else ("query", "value"))
    with tempfile.TemporaryDirectory() as folder:
        ways, tokenized = sides(
            work.model_folder(arguments.model, Path(folder)), method, rows.take(range(arguments.rows))
        )
    clocks = {way: work.Clock() for way in ways}
    scores = {}
    for number in range(arguments.rounds + 2):  # two to warm up
        for way in list(ways)[:: 1 if number % 2 else -1]:
            with (clocks[way] if number >= 2 else work.Clock()).running():
                scores[way] = ways[way](tokenized)
    apart = {way: float(np.abs(found - scores["merged"]).max()) for way, found in scores.items()}
    assert max(apart.values()) < 1e-4, apart
    merged = clocks["merged"]
    compared = {way: work.compared(merged, clock) for way, clock in clocks.items() if clock is not merged}
    result = {
        "benchmark": "inference",
        "model": arguments.model,
        "lora_on": list(method.target),
        "cpu_ms_a_row": {way: round(1000 * np.median(clock.cpu) / len(tokenized), 2) for way, clock in clocks.items()},
        "cpu_ratio": {way: found["cpu_ratio"] for way, found in compared.items()},
        "wall_ratio": {way: found["wall_ratio"] for way, found in compared.items()},
        "largest_difference": apart,
    }
    work.say(result, arguments.json)


def sides(
    model: str, method: Lora, rows: work.Rows
) -> tuple[dict[str, Callable[[TokenizedRows], np.ndarray]], TokenizedRows]:
    """From rows to logits in each of the ways; and the rows."""
    task, cpu, classes = work.TEXTS, torch.device("cpu"), work.classes(rows)
    peers = {way: build(model, task, classes, method) for way in ("peer, merged", "peer")}
    ways: dict[str, Callable[[TokenizedRows], np.ndarray]] = {}
    for way in ("merged", "unmerged"):
        encoder = load.load(model, head=task.head, class_names=classes, seed=0)
        method.inject(encoder, 0)
        generator = torch.Generator().manual_seed(0)
        for parameter, tensor in encoder.trainable():
            if "lora_B" in parameter:
                tensor.data.normal_(std=0.02, generator=generator)
        if way == "merged":
            method.merge(encoder)
        else:
            for theirs in peers.values():
                same_start(theirs, encoder.model)
        ways[way] = _ours(ModelRunner(encoder, torch.float32, cpu), encoder.tokenizer.pad_token_id)
    tokenized = task.tokenize(rows, encoder.tokenizer, 128, classes)
    peers["peer, merged"] = cast(Any, peers["peer, merged"]).merge_and_unload()
    ways |= {way: Peer(theirs, encoder.tokenizer, tokenized, Path()).logits for way, theirs in peers.items()}
    return ways, tokenized


def _ours(model: ModelRunner, pad_id: int) -> Callable[[TokenizedRows], np.ndarray]:
    return lambda held: logits(
        model,
        work.TEXTS,
        held,
        pad_id=pad_id,
        budget=without_gradients(Train().token_budget),
        device=torch.device("cpu"),
    )


if __name__ == "__main__":
    main()
