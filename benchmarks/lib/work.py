"""The work: rows, encoders, and encoderlab's side of a comparison.

Rows are MultiNLI pairs or IMDB reviews where the project's shared data is there; elsewhere random words with the same
distribution of lengths, since what a step costs depends on nothing else.
"""

from __future__ import annotations

import gzip
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from transformers import AutoConfig, AutoModel, AutoTokenizer

from encoderlab.core.machine import hardware
from encoderlab.core.rng import numpy_generator
from encoderlab.data.rows import Rows
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.logits import logits
from encoderlab.methods.base import Method
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel
from encoderlab.study import demo
from encoderlab.tasks.classification import Classification
from encoderlab.training.loop import Trainer
from encoderlab.training.settings import Train

SHARED = Path(__file__).parents[3] / "shared"
MODELS = ("minilm", "bge-small", "bert-base")
PAIRS = Classification(text=("premise", "hypothesis"))
TEXTS = Classification()


def pairs(count: int) -> Rows:
    """Premise, hypothesis and label of the first MultiNLI training rows."""
    return _rows(SHARED / "data/mnli/train.jsonl.gz", ("premise", "hypothesis"), count, 2.85, 0.7)


def matched(count: int) -> Rows:
    """The same of the matched development rows."""
    return _rows(SHARED / "data/mnli/dev_matched.jsonl.gz", ("premise", "hypothesis"), count, 2.85, 0.7)


def reviews(count: int, split: str = "train") -> Rows:
    """Texts and labels of IMDB reviews, of "train" or "test_5k"."""
    return _rows(SHARED / f"data/imdb/{split}.jsonl.gz", ("text",), count, 5.1, 0.6)


def _rows(file: Path, columns: Sequence[str], count: int, mean: float, sd: float) -> Rows:
    """Where the file is missing: words per column log-normal with this mean and sd of the logarithm."""
    if file.is_file():
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        order = numpy_generator(0, "benchmark rows").permutation(len(found))[:count]
        found = [found[i] for i in order]
    else:
        generator = numpy_generator(0, "benchmark words")
        words = ["the", "river", "house", "under", "quickly", "green", "thought", "never", "some", "people"]
        found = [{"label": str(generator.integers(3))} for _ in range(count)]
        for row in found:
            row |= {c: " ".join(generator.choice(words, max(1, int(generator.lognormal(mean, sd))))) for c in columns}
    return Rows({c: [str(row[c]) for row in found] for c in (*columns, "label")}, "benchmark", np.arange(len(found)))


def model_folder(name: str, folder: Path) -> str:
    """A folder with encoder and tokenizer; "bert-base" has random weights of that size."""
    minilm = demo.prepare().model
    if name == "minilm":
        return str(minilm)
    if name == "bge-small":
        return str(SHARED / "weights/bge-small-en")
    made = folder / name
    if not made.is_dir():
        AutoTokenizer.from_pretrained(minilm).save_pretrained(made)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            AutoModel.from_config(AutoConfig.for_model("bert")).save_pretrained(made)
    return str(made)


@dataclass(frozen=True, kw_only=True)
class Side:
    """Training set up and ready: `trainer.step(number, rows)` does one step."""

    trainer: Trainer
    tokenized: TokenizedRows
    encoder: EncoderModel
    class_names: list[str]

    def answers(self, held: TokenizedRows) -> np.ndarray:
        """The class numbers that the model gives now."""
        pad_id = self.encoder.tokenizer.pad_token_id
        model, task = self.trainer.model, self.trainer.task
        return logits(model, task, held, pad_id=pad_id, budget=8192, device=torch.device("cpu")).argmax(1)


def classes(rows: Rows) -> list[str]:
    return sorted(set(rows.columns["label"]))


def ours(
    model: str,
    task: Classification,
    rows: Rows,
    method: Method,
    folder: Path,
    *,
    settings: Train,
    dtype: torch.dtype,
    rate: float = 1e-3,
    dropout: bool = True,
    seed: int = 0,
    cache: Path | None = None,
) -> Side:
    encoder = load.load(model, head=task.head, class_names=classes(rows), seed=seed)
    if not dropout:
        no_dropout(encoder.model)
    tokenized = task.tokenize(rows, encoder.tokenizer, settings.max_length, classes(rows), cache)
    method.inject(encoder, seed)
    AcceleratorState._reset_state(reset_partial_state=True)  # a peer before it may have asked for another precision
    trainer = Trainer(
        encoder=encoder,
        method=method,
        task=task,
        train=tokenized,
        validation=tokenized,
        class_names=classes(rows),
        settings=settings,
        learning_rate=rate,
        seed=seed,
        dtype=dtype,
        device=torch.device("cpu"),
        folder=folder,
    )
    return Side(trainer=trainer, tokenized=tokenized, encoder=encoder, class_names=classes(rows))


def no_dropout(model: Any) -> None:
    """Set every dropout probability of a model to zero, those inside attention modules included."""
    for module in model.modules():
        for name in ("p", "attention_dropout", "dropout_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


class Clock:
    """Seconds of each stretch of work, on the wall and of the processor. With one thread the processor's are the work's
    own, whatever else the machine does."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def compared(mine: Clock, theirs: Clock) -> dict[str, Any]:
    """Median milliseconds of both sides and the peer's over ours."""
    found: dict[str, Any] = {}
    for name in ("wall", "cpu"):
        ours_, peers = (statistics.median(getattr(clock, name)) for clock in (mine, theirs))
        found[f"{name}_ms"] = {"encoderlab": round(1000 * ours_, 1), "peer": round(1000 * peers, 1)}
        found[f"{name}_ratio"] = round(peers / ours_, 2)
    return found


def mean_and_sd(found: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Of each side's numbers, one a seed; of a single one the deviation is nan."""
    return {side: [round(float(np.mean(v)), 4), round(float(np.std(v, ddof=1)), 4)] for side, v in found.items()}


def say(result: dict[str, Any], file: Path | None) -> None:
    """To stdout, and as one more line of `file`."""
    result = {"threads": torch.get_num_threads(), "cpu": hardware()["cpu"], **result}
    print(json.dumps(result, indent=1))
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(result) + "\n")
