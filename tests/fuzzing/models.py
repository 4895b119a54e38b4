"""Folders of models: a small valid one, with its config or a file of its tokenizer changed."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from numpy.random import Generator
from torch.nn.utils.rnn import pad_sequence

from encoderlab.model import load
from encoderlab.model.checkpoint_config import read_config
from encoderlab.model.encoder import EncoderModel

from .damage import change
from .mutate import chance, pick
from .run import Target

FAMILIES = ("bert", "roberta", "deberta-v2")
CLASSES = ["no", "maybe", "yes"]
HEAD = "AutoModelForSequenceClassification"


@dataclass
class Models:
    """Encoders by family, and folders of valid adapters for them."""

    folders: dict[str, Path] = field(default_factory=dict)
    plain: dict[str, EncoderModel] = field(default_factory=dict)
    adapters: list[tuple[str, Path]] = field(default_factory=list)

    def fresh(self, family: str) -> EncoderModel:
        made = self.plain[family]
        return copy.deepcopy(made, {id(made.tokenizer): made.tokenizer})


def models(folder: Path) -> Models:
    from conftest import build_tiny_model

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    made = Models()
    for family in FAMILIES:
        made.folders[family] = build_tiny_model(family, folder / family)
        made.plain[family] = load.load(str(made.folders[family]), head=HEAD, class_names=CLASSES, seed=0)
        made.plain[family].model.eval()
    return made


def _write_config(draw: Generator, folder: Path, made: Models) -> Path:
    place = folder / "model"
    shutil.copytree(made.folders[pick(draw, FAMILIES)], place)
    path = place / "config.json"
    if chance(draw, 0.4):
        path.write_bytes(_plausible(json.loads(path.read_text()), draw))
    else:
        change(path, draw)
    return place


def _write_tokenizer(draw: Generator, folder: Path, made: Models) -> Path:
    place = folder / "model"
    shutil.copytree(made.folders[pick(draw, FAMILIES)], place)
    change(pick(draw, sorted(p for p in place.glob("*.json") if p.name != "config.json")), draw)
    return place


def _plausible(config: dict[str, Any], draw: Generator) -> bytes:
    """A config with a key that is set as real checkpoints, or a slip of the hand, set it."""
    numbers = [0, -1, 1, 3, 31, 2**31, 10**9, 1.5, None, "32", [32], True, float("nan")]
    sizes = [key for key, value in config.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    for _ in range(int(draw.integers(1, 3))):
        match int(draw.integers(4)):
            case 0:
                config[pick(draw, sizes)] = pick(draw, numbers)
            case 1:
                key = pick(
                    draw,
                    ["return_dict", "gradient_checkpointing", "is_decoder", "add_cross_attention", "output_attentions"],
                )
                config[pick(draw, [key, "output_hidden_states", "torchscript", "tie_word_embeddings", "use_cache"])] = (
                    pick(draw, [True, False, None, "a"])
                )
            case 2:
                config[
                    pick(draw, ["model_type", "architectures", "hidden_act", "position_embedding_type", "dtype"])
                ] = pick(
                    draw, [None, "", "bert", "gpt2", "t5", "relu", "x", [], ["BertModel"], "float16", "relative_key", 3]
                )
            case 3:
                key, value = pick(
                    draw,
                    [
                        ("id2label", {"0": "a"}),
                        ("id2label", {"a": 0}),
                        ("label2id", []),
                        ("num_labels", 10**9),
                        ("num_labels", -1),
                        ("quantization_config", {}),
                        ("quantization_config", {"quant_method": "x"}),
                        ("rope_scaling", {"type": "x"}),
                        ("auto_map", {"AutoModel": "x.Y"}),
                    ],
                )
                config[key] = value
    return json.dumps(config).encode()


def check_model(folder: Path, made: Models) -> list[str]:
    """Load the encoder under a head and ask it once."""
    read_config(str(folder))
    model = load.load(str(folder), head=HEAD, class_names=CLASSES, seed=0)
    model.model.eval()
    assert model.fingerprint and len(model.layers()) > 0, "an encoder without layers"
    with torch.no_grad():
        rows = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in ("a good film", "bad")]
        ids = pad_sequence(rows, batch_first=True, padding_value=model.pad_id)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        logits = model.model(input_ids=ids, attention_mask=mask).logits
    assert logits.shape == (2, len(CLASSES)), f"logits of shape {tuple(logits.shape)}"
    assert logits.isfinite().all(), "logits that are not finite"
    return []


TARGETS = {
    "config": Target(write=_write_config, read=check_model, named="model", prepare=models),
    "tokenizer": Target(write=_write_tokenizer, read=check_model, named="model", prepare=models),
}
