"""The published recipe against ours: LoRA of rank 64 (rsLoRA) on the last layer, MultiNLI, 12 epochs of 2,000 rows.

The published way pads every row to 512 tokens, in batches of 8, runs the frozen layers in every epoch, and in fp32.
Ours is the same training: the same rows, batches and steps, the frozen layers once, without padding; in fp32 too, and
with `--precision bf16` in what `auto` would choose. The peer's whole run takes hours, so it is timed for a few steps in
turn with ours and multiplied by the number of steps (`--whole` runs it all).

`--scores 3` trains both sides, in the same precision, with that many seeds and prints the macro F1 on 1,000 matched
rows; the peer then pads to the longest row of a batch, which changes no number, only its time.

    python benchmarks/last_layer.py [--rows 2000] [--epochs 12] [--repeats 3] [--precision fp32] [--whole]
                                    [--scores 0] [--json FILE]
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
from sklearn.metrics import f1_score

from encoderlab.data.tokenized import take
from encoderlab.engine.batches import epoch_batches
from encoderlab.engine.device import choose_precision
from encoderlab.engine.state_cache import StateCache
from encoderlab.methods.lora import Lora
from encoderlab.training.settings import Train

METHOD = Lora(rank=64, rslora=True, target=("query", "key", "value"), layers="last")
BATCH, LENGTH, STEPS = 8, 512, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--scores", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = (scores if arguments.scores else times)(arguments, Path(folder))
    work.say(result, arguments.json)


def ours(arguments: Any, rows: Any, folder: Path, seed: int = 0) -> work.Side:
    """Validation on 8 rows, since the peer has none."""
    settings = Train(batch_size=BATCH, max_length=LENGTH, warmup=0.0, epochs=arguments.epochs)
    dtype, _ = choose_precision(torch.device("cpu"), arguments.precision)
    model = work.model_folder("minilm", folder)
    side = work.ours(model, work.PAIRS, rows, METHOD, folder / f"run{seed}", settings=settings, dtype=dtype, seed=seed)
    side.trainer.cache = StateCache(folder=folder / "trunk", bytes=10**10)
    side.trainer.validation = take(side.tokenized, np.arange(8))
    return side


def times(arguments: Any, folder: Path) -> dict[str, Any]:
    rows = work.pairs(arguments.rows)
    steps = arguments.epochs * -(-arguments.rows // BATCH)
    mine_clock, peer_clock = work.Clock(), work.Clock()
    for repeat in range(arguments.repeats):
        side = ours(arguments, rows, folder / str(repeat))
        with mine_clock.running():
            side.trainer.run()
        theirs = build(side.encoder.name, work.PAIRS, side.class_names, METHOD)
        same_start(theirs, side.encoder.model)
        peer = Peer(theirs, side.encoder.tokenizer, side.tokenized, folder / "peer", pad_to=LENGTH)
        batches = _whole_batches(arguments, 0)
        seconds = peer.run(batches if arguments.whole else batches[: STEPS + 1], bf16=False)[1][1:]
        peer_clock.wall.append(float(np.median(seconds[:, 0])) * steps)
        peer_clock.cpu.append(float(np.median(seconds[:, 1])) * steps)
    return {
        "benchmark": "published recipe",
        "rows": arguments.rows,
        "epochs": arguments.epochs,
        "precision": {"encoderlab": arguments.precision, "peer": "fp32"},
        "steps": steps,
        "peer_steps_timed": steps if arguments.whole else STEPS,
        **work.compared(mine_clock, peer_clock),
    }


def scores(arguments: Any, folder: Path) -> dict[str, Any]:
    rows, test = work.pairs(arguments.rows), work.matched(1000)
    found: dict[str, list[float]] = {"encoderlab": [], "peer": []}
    for seed in range(arguments.scores):
        side = ours(arguments, rows, folder / str(seed), seed)
        held = work.PAIRS.tokenize(test, side.encoder.tokenizer, LENGTH, side.class_names)
        theirs = build(side.encoder.name, work.PAIRS, side.class_names, METHOD)
        same_start(theirs, side.encoder.model)
        side.trainer.run()
        found["encoderlab"].append(_f1(side.answers(held), held.labels))
        batches = _whole_batches(arguments, seed)
        peer = Peer(theirs, side.encoder.tokenizer, side.tokenized, folder / "peer")
        peer.run(batches, bf16=side.trainer.dtype == torch.bfloat16, seed=seed)
        found["peer"].append(_f1(peer.answers(held), held.labels))
    about = {"rows": arguments.rows, "epochs": arguments.epochs, "precision": arguments.precision}
    return {"benchmark": "published recipe, macro F1", **about, **found, "mean_and_sd": work.mean_and_sd(found)}


def _whole_batches(arguments: Any, seed: int) -> list[np.ndarray]:
    """Of all epochs; what is left over at the end of one is left out, since Trainer would join it to the next."""
    epochs = range(1, arguments.epochs + 1)
    found = [batch for epoch in epochs for batch in epoch_batches(arguments.rows, BATCH, seed, epoch)]
    return [batch for batch in found if len(batch) == BATCH]


def _f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    return round(float(f1_score(labels, predicted, average="macro")), 4)


if __name__ == "__main__":
    main()
