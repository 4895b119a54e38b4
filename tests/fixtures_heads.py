"""What several test files share with `test_heads`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel

SEQUENCE, TOKEN, CHOICE = (
    f"AutoModelFor{kind}" for kind in ("SequenceClassification", "TokenClassification", "MultipleChoice")
)


def checkpoint(base: Path, folder: Path, head: str, outputs: int = 2, **says: Any) -> Path:
    """A checkpoint with a head whose rows differ much; `says`: keys of its config.json, None takes one away."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        extra = {} if head == CHOICE else {"num_labels": outputs}
        model = getattr(transformers, head).from_pretrained(base, **extra)
        (layer,) = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == outputs][-1:]
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    model.save_pretrained(folder)
    for file in base.glob("tokenizer*"):
        shutil.copy(file, folder)
    said = json.loads((folder / "config.json").read_text()) | says
    (folder / "config.json").write_text(json.dumps({k: v for k, v in said.items() if v is not None}))
    return folder


def loaded(folder: Path, head: str, classes: Sequence[str], seed: int = 0) -> EncoderModel:
    return load.load(str(folder), head=head, class_names=classes, seed=seed)


def named(*names: str) -> dict[str, Any]:
    return {"id2label": {str(i): name for i, name in enumerate(names)}, "label2id": {n: i for i, n in enumerate(names)}}


def rows(folder: Path, name: str, unit: float, centre: float, count: int = 24) -> Path:
    draw = np.random.default_rng(len(name))
    words = "good bad film plot acting not very the a".split()
    lines = ["text,score,label"]
    for _ in range(count):
        text = list(draw.choice(words, size=4))
        score = text.count("good") - text.count("bad") + draw.normal(0, 0.1)
        lines.append(f"{' '.join(text)},{centre + unit * score!r},{'pos' if score > 0 else 'neg'}")
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def study(
    folder: Path, model: Path, task: str, *, method: str = "lora", unit: float = 40.0, centre: float = 450.0
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "validation", "test"):
        rows(folder, name, unit, centre)
    path = folder / "study.toml"
    path.write_text(
        f'model = "{model}"\nseeds = [0]\nout = "out"\n[task]\n{task}\n[data]\ntrain = "train.csv"\n'
        'validation = "validation.csv"\ntest = "test.csv"\n[train]\nepochs = 1\nmax_length = 16\ndevice = "cpu"\n'
        f'precision = "fp32"\n[search]\ncandidates = 1\n[[method]]\nname = "{method}"\n'
    )
    return path


NUMBER, CLASS = 'kind = "regression"\nlabel = "score"', 'kind = "classification"\nlabel = "label"'


def results(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (folder / "out" / "runs").glob("*/result.json")]
    return {result["variant"]: result for result in found}
