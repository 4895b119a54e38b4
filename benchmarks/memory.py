"""Peak memory of training: encoderlab against PEFT and Trainer, each in a process of its own, on the same rows.

IMDB reviews in batches of 32, cut at 256 tokens, LoRA of rank 8 on an encoder of bert-base's size, three steps. The
peak is the process's largest resident size, libraries and weights included; `idle` is the size before the first step.

    python benchmarks/memory.py [--model bert-base] [--precision bf16] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lib import work
from lib.peer import Peer, build

from encoderlab.core import machine
from encoderlab.engine.batches import epoch_batches
from encoderlab.engine.device import choose_precision
from encoderlab.methods.lora import Lora
from encoderlab.training.settings import Train

BATCH, LENGTH, STEPS = 32, 256, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=work.MODELS, default="bert-base")
    parser.add_argument("--precision", choices=("bf16", "fp32"))
    parser.add_argument("--side", choices=("encoderlab", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(arguments, Path(folder))))
        return
    found: dict[str, Any] = {}
    for side in ("encoderlab", "peer"):
        done = subprocess.run([sys.executable, *sys.argv, "--side", side], capture_output=True, text=True, check=True)
        found[side] = json.loads(done.stdout.splitlines()[-1])
    ratio = round(found["peer"]["peak_mb"] / found["encoderlab"]["peak_mb"], 2)
    work.say({"benchmark": "memory", "model": arguments.model, **found, "ratio": ratio}, arguments.json)


def measure(arguments: Any, folder: Path) -> dict[str, Any]:
    cpu = torch.device("cpu")
    dtype, _ = choose_precision(cpu, arguments.precision or "auto")
    rows, method = work.reviews(BATCH * STEPS), Lora(rank=8)
    model = work.model_folder(arguments.model, folder)
    settings = Train(batch_size=BATCH, max_length=LENGTH)
    side = work.ours(model, work.TEXTS, rows, method, folder, settings=settings, dtype=dtype)
    batches = epoch_batches(len(rows), BATCH, 0, 1)
    if arguments.side == "peer":
        peer = Peer(build(model, work.TEXTS, side.class_names, method), side.encoder.tokenizer, side.tokenized, folder)
        del side
        gc.collect()  # a trainer and its model hold each other
    machine.reset_peak_memory()
    idle = machine.peak_memory_mb(cpu)
    if arguments.side == "peer":
        peer.run(batches, bf16=dtype == torch.bfloat16)
    else:
        for step, chosen in enumerate(batches):
            side.trainer.step(step, chosen)
    peak = machine.peak_memory_mb(cpu)
    assert idle is not None and peak is not None, "this system does not say how much memory a process has"
    return {"precision": str(dtype).removeprefix("torch."), "idle_mb": round(idle), "peak_mb": round(peak)}


if __name__ == "__main__":
    main()
