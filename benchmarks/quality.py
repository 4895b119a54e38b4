"""Whether the faster training is as good: IMDB accuracy of LoRA, three seeds of ours against three of PEFT and Trainer.

Same rows, batches, steps, learning rate and schedule; each side starts a seed from the same weights. The peer draws
other dropout masks, so its numbers differ as those of another seed do. Ours answers the test rows in its own precision,
the peer in fp32.

    python benchmarks/quality.py [--rows 5000] [--test-rows 2000] [--epochs 1] [--seeds 3] [--max-length 128]
                                 [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from lib import work
from lib.peer import Peer, build, same_start

from encoderlab.engine.batches import epoch_batches
from encoderlab.engine.device import choose_precision
from encoderlab.methods.lora import Lora
from encoderlab.training.settings import Train

BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--test-rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {"encoderlab": [], "peer": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            for side, accuracy in one(arguments, seed, Path(folder)).items():
                found[side].append(accuracy)
    about = {name: getattr(arguments, name) for name in ("rows", "test_rows", "epochs", "max_length")}
    work.say({"benchmark": "quality", **about, **found, "mean_and_sd": work.mean_and_sd(found)}, arguments.json)


def one(arguments: Any, seed: int, folder: Path) -> dict[str, float]:
    rows, test = work.reviews(arguments.rows), work.reviews(arguments.test_rows, "test_5k")
    model, method = work.model_folder("minilm", folder), Lora(rank=8)
    dtype, _ = choose_precision(torch.device("cpu"), "auto")
    settings = Train(batch_size=BATCH, max_length=arguments.max_length, epochs=arguments.epochs)
    side = work.ours(model, work.TEXTS, rows, method, folder, settings=settings, dtype=dtype, seed=seed)
    theirs = build(model, work.TEXTS, side.class_names, method)
    same_start(theirs, side.encoder.model)
    held = work.TEXTS.tokenize(test, side.encoder.tokenizer, arguments.max_length, side.class_names)
    epochs = range(1, arguments.epochs + 1)
    batches = [b for epoch in epochs for b in epoch_batches(len(rows), BATCH, seed, epoch) if len(b) == BATCH]
    for step, chosen in enumerate(batches):
        side.trainer.step(step, chosen)
    peer = Peer(theirs, side.encoder.tokenizer, side.tokenized, folder / "peer")
    warmup = round(settings.warmup * len(batches))
    peer.run(batches, bf16=dtype == torch.bfloat16, warmup=warmup, seed=seed)
    answers = {"encoderlab": side.answers(held), "peer": peer.answers(held)}
    return {name: round(float((found == held.labels).mean()), 4) for name, found in answers.items()}


if __name__ == "__main__":
    main()
