"""A process that has trained nothing, which says what adapters give: the other half of `test_matrix`'s round trip.

Each line of stdin is {"model": folder, "head": name, "classes": [...], "adapters": [folder, ...]}. An adapter's folder
has `expected.safetensors` beside its files: "text.input_ids", ... and "text.logits" for each kind of input. The answer
is one line, {folder: [kinds whose logits are equal to the bit]}.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from encoderlab.adapters import folder as adapters
from encoderlab.model import load
from encoderlab.model.encoder import EncoderModel

EXPECTED = "expected.safetensors"


def copied(encoder: EncoderModel) -> EncoderModel:
    """An encoder of its own, but for the tokenizer."""
    return copy.deepcopy(encoder, {id(encoder.tokenizer): encoder.tokenizer})


def equal(fresh: EncoderModel, folder: Path) -> list[str]:
    encoder = copied(fresh)
    adapters.load_adapter(encoder, folder)
    expected = load_file(folder / EXPECTED)
    kinds = {name.partition(".")[0] for name in expected}
    found = []
    for kind in sorted(kinds):
        given = {n.removeprefix(f"{kind}."): t for n, t in expected.items() if n.startswith(f"{kind}.")}
        logits = given.pop("logits")
        with torch.no_grad():
            if torch.equal(encoder.model(**given).logits, logits):
                found.append(kind)
    return found


def answer(asked: dict[str, Any]) -> dict[str, list[str]]:
    fresh = load.load(asked["model"], head=asked["head"], class_names=asked["classes"], seed=99)
    fresh.model.eval()
    return {folder: equal(fresh, Path(folder)) for folder in asked["adapters"]}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
