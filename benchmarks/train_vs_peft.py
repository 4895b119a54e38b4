"""Examples a second of training: encoderlab against PEFT and transformers' Trainer, in turn, in one process.

Both sides have the same encoder, rows, order, batch size, precision and method. The peer pads each batch to its longest
row and runs bf16 under autocast (benchmarks/lib/peer.py). Absolute times mean little on a shared machine: read the
ratio. `--curves` compares the losses of 50 steps in fp32 without dropout instead: they must be equal.

    python benchmarks/train_vs_peft.py [--model minilm] [--method lora] [--batch-size 32] [--precision bf16]
                                       [--repeats 5] [--steps 4] [--curves] [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lib import work
from lib.peer import Peer, build, same_start

from encoderlab.engine.batches import epoch_batches
from encoderlab.engine.device import choose_precision
from encoderlab.methods.registry import METHODS
from encoderlab.training.settings import Train

MAX_LENGTH, SKIPPED = 256, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=work.MODELS, default="minilm")
    parser.add_argument("--method", choices=("lora", "full", "adapter", "prefix"), default="lora")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=None, help="default: what `auto` chooses")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a repeat that count; two more warm up")
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    dtype, _ = choose_precision(torch.device("cpu"), arguments.precision or "auto")
    with tempfile.TemporaryDirectory() as folder:
        result = (curves if arguments.curves else race)(arguments, dtype, Path(folder))
    work.say(result, arguments.json)


def sides(
    arguments: Any, dtype: torch.dtype, folder: Path, steps: int, dropout: bool
) -> tuple[work.Side, Peer, list[np.ndarray]]:
    rows = work.pairs(steps * arguments.batch_size)
    model = work.model_folder(arguments.model, folder)
    method = next(cls for cls in METHODS if cls.name == arguments.method)()  # type: ignore[attr-defined]
    settings = Train(batch_size=arguments.batch_size, max_length=MAX_LENGTH, warmup=0.0, epochs=1)
    mine = work.ours(model, work.PAIRS, rows, method, folder, settings=settings, dtype=dtype, dropout=dropout)
    theirs = build(model, work.PAIRS, mine.class_names, method)
    if not dropout:
        work.no_dropout(theirs)
    same_start(theirs, mine.encoder.model)
    peer = Peer(theirs, mine.encoder.tokenizer, mine.tokenized, folder / "peer")
    return mine, peer, epoch_batches(len(rows), arguments.batch_size, 0, 1)


def race(arguments: Any, dtype: torch.dtype, folder: Path) -> dict[str, Any]:
    count = SKIPPED + arguments.steps
    mine, peer, batches = sides(arguments, dtype, folder, count * arguments.repeats, dropout=True)
    clocks = work.Clock(), work.Clock()
    real = padded = 0
    for repeat in range(arguments.repeats):
        some = [batches[(repeat * count + i) % len(batches)] for i in range(count)]
        for step, rows in enumerate(some):
            with (clocks[0] if step >= SKIPPED else work.Clock()).running():
                mine.trainer.step(step, rows)
        seconds = peer.run(some, bf16=dtype == torch.bfloat16)[1][SKIPPED:]
        clocks[1].wall += seconds[:, 0].tolist()
        clocks[1].cpu += seconds[:, 1].tolist()
        lengths = [mine.tokenized.lengths[rows] for rows in some]
        real += sum(int(one.sum()) for one in lengths)
        padded += sum(int(one.max()) * len(one) for one in lengths)
    return {
        "benchmark": "train_vs_peft",
        "model": arguments.model,
        "method": arguments.method,
        "batch_size": arguments.batch_size,
        "precision": str(dtype).removeprefix("torch."),
        "steps": len(clocks[0].wall),
        "peer_padding": round(padded / real, 2),
        **work.compared(*clocks),
    }


def curves(arguments: Any, dtype: torch.dtype, folder: Path) -> dict[str, Any]:
    """The losses of 50 steps in fp32 without dropout, from the same weights."""
    steps = 50
    mine, peer, batches = sides(arguments, torch.float32, folder, steps, dropout=False)
    assert mine.trainer.total_steps == len(batches)
    losses = [mine.trainer.step(step, rows)[0] for step, rows in enumerate(batches)]
    theirs, _ = peer.run(batches, bf16=False)
    distance = float(np.abs(np.array(losses) - np.array(theirs)).max())
    return {
        "benchmark": "loss curves",
        "model": arguments.model,
        "method": arguments.method,
        "steps": steps,
        "largest_distance": distance,
        "first": [losses[0], theirs[0]],
        "last": [losses[-1], theirs[-1]],
    }


if __name__ == "__main__":
    main()
