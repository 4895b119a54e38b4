"""How time grows with the length of the rows, and memory with their number and with the number of runs.

Time: a step of LoRA on texts of 32 to 512 tokens, 4,096 tokens a step whatever their length, so that time per token
would be flat if nothing but attention between the tokens of a text grew with it. Memory: 5,000, 50,000 and 500,000
generated rows are read from a file and made into tokens, which are kept on disk as a study keeps them, then trained on
for a few steps, each in a process of its own; the peak is that of the whole process. Runs: a study of so many seeds of
LoRA of the last layer, on 64 rows, as `encoderlab compare` does it.

    python benchmarks/growth.py [--model minilm] [--rows 5000,50000,500000] [--runs 10,40,160] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lib import work

from encoderlab.core import machine
from encoderlab.core.rng import numpy_generator
from encoderlab.data.readers import read
from encoderlab.data.rows import Rows
from encoderlab.data.source import Source
from encoderlab.engine.batches import epoch_batches
from encoderlab.engine.device import choose_precision
from encoderlab.methods.lora import Lora
from encoderlab.training.settings import Train

TOKENS, LENGTHS, STEPS = 4096, (32, 64, 128, 256, 512), 4
WORDS = ["the", "river", "house", "under", "quickly", "green", "thought", "never", "some", "people"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=work.MODELS, default="minilm")
    parser.add_argument("--rows", default="5000,50000,500000")
    parser.add_argument("--runs", default="10,40,160")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.count:
            print(json.dumps(memory(arguments, Path(folder))))
            return
        times = {length: per_token(arguments, length, Path(folder)) for length in LENGTHS}
        studies = {count: of_runs(arguments, int(count), Path(folder) / count) for count in arguments.runs.split(",")}
    sizes = {}
    for count in arguments.rows.split(","):
        command = [sys.executable, *sys.argv, "--count", count]
        sizes[count] = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        )
    found = {"cpu_us_per_token": times, "rows": sizes, "runs": studies}
    result = {"benchmark": "growth", "model": arguments.model, **found}
    work.say(result, arguments.json)


def per_token(arguments: Any, length: int, folder: Path) -> float:
    """Median microseconds of processor time for a token of training."""
    count = TOKENS // length
    texts = [" ".join(["river"] * (length - 2))] * (count * STEPS)
    rows = Rows({"text": texts, "label": ["a", "b"] * (len(texts) // 2)}, "made", np.arange(len(texts)))
    side = _side(arguments, rows, folder, count)
    clock = work.Clock()
    for step in range(STEPS + 1):
        with (clock if step else work.Clock()).running():
            side.trainer.step(step % STEPS, np.arange(count) + count * (step % STEPS))
    return round(1e6 * statistics.median(clock.cpu) / TOKENS, 1)


def _side(arguments: Any, rows: Rows, folder: Path, batch: int, cache: Path | None = None) -> work.Side:
    dtype, _ = choose_precision(torch.device("cpu"), "auto")
    settings = Train(batch_size=batch, max_length=512)
    model = work.model_folder(arguments.model, folder)
    return work.ours(model, work.TEXTS, rows, Lora(rank=8), folder, settings=settings, dtype=dtype, cache=cache)


def memory(arguments: Any, folder: Path) -> dict[str, float]:
    """Peak MB, and seconds to read and encode, of so many rows of about 40 words."""
    generator, file = numpy_generator(0, "growth"), folder / "rows.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for number in range(arguments.count):
            words = generator.choice(WORDS, max(1, int(generator.lognormal(3.5, 0.5))))
            lines.write(json.dumps({"text": " ".join(words), "label": str(number % 2)}) + "\n")
    clock = work.Clock()
    with clock.running():
        side = _side(arguments, read(Source(path=str(file)), Path()), folder, 32, folder / "tokens")
    for step, rows in enumerate(epoch_batches(len(side.tokenized), 32, 0, 1)[:STEPS]):
        side.trainer.step(step, rows)
    peak = machine.peak_memory_mb(torch.device("cpu"))
    assert peak is not None, "this system does not say how much memory a process has"
    return {"peak_mb": round(peak), "read_and_encode_s": round(clock.wall[0], 1)}


def of_runs(arguments: Any, count: int, folder: Path) -> dict[str, float]:
    """Peak MB of the command, and its seconds a run, start and report included."""
    folder.mkdir()
    for name in ("train", "validation", "test"):
        lines = [{"text": "the river under the green house", "label": str(number % 2)} for number in range(64)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (folder / "study.toml").write_text(
        f"model = {json.dumps(work.model_folder(arguments.model, folder))}\nseeds = {list(range(count))}\nout = 'out'\n"
        "[data]\ntrain = 'train.jsonl'\nvalidation = 'validation.jsonl'\ntest = 'test.jsonl'\n"
        "[train]\nepochs = 1\n[search]\ncandidates = 1\n[[method]]\nname = 'lora'\nlayers = 'last'\n"
    )
    start = time.perf_counter()
    command = [sys.executable, "-m", "encoderlab", "compare", str(folder / "study.toml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"the study of {count} runs ended with {status}"
    return {"peak_mb": round(used.ru_maxrss / 1024), "s_a_run": round((time.perf_counter() - start) / count, 2)}


if __name__ == "__main__":
    main()
