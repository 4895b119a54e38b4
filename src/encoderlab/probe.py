"""Rows of a run with the logits that they have there, to hold an exported model to.

The run's answer is taken one row at a time, without padding. The exported model gets rows of unlike lengths in one
batch, padded, and one row alone: a format that forgets the mask, bakes in a length or loses a part of the model is
found out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encoderlab import files
from encoderlab.evaluate import Loaded
from encoderlab.randomness import numpy_generator
from encoderlab.tasks import Encoded
from encoderlab.tasks.tokens import kept
from encoderlab.training.batches import collate

ROWS, BATCH = 32, 8

Answer = Callable[[Mapping[str, Tensor]], np.ndarray]  # the model's inputs -> logits, float32 (rows, classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """batches: inputs with an attention mask, and the logits they should give, nan where nothing is asked (of padding).
    rows, origin: what they are."""

    batches: list[tuple[dict[str, Tensor], np.ndarray]]
    rows: int
    origin: str

    def difference(self, answer: Answer) -> float:
        """The largest difference of a logit; infinite where one is no number."""
        gaps = [np.abs(answer(inputs) - wanted)[~np.isnan(wanted)] for inputs, wanted in self.batches]
        worst = max(gap.max() for gap in gaps)
        return float(worst) if np.isfinite(worst) else float("inf")

    @property
    def scale(self) -> float:
        """The largest logit's size, or 1 if that is more."""
        return max(1.0, *(float(np.nanmax(np.abs(wanted))) for _, wanted in self.batches))


@torch.no_grad()
def probe(run: Path, loaded: Loaded) -> Probe:
    """Some of the run's test rows, from the shortest to the longest. Where their tokens are no longer kept on this
    machine: rows of random words."""
    fingerprint = files.read_json(run / "config.json")["data"]["test"]["fingerprint"]
    encoded, origin = kept(fingerprint, files.cache_folder() / "tokens"), "rows of test"
    if encoded is None:
        encoded, origin = _random_words(loaded), "rows of random words (those of test are no longer kept here)"
    order = np.argsort(encoded.longest, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, ROWS).astype(int))]
    count = -(-len(chosen) // BATCH)
    batches = [chosen[:1], *(chosen[i::count] for i in range(count))]
    loaded.backbone.model.eval()
    return Probe(
        batches=[(_inputs(encoded, rows, loaded), _alone(encoded, rows, loaded)) for rows in batches],
        rows=len(chosen),
        origin=origin,
    )


def _inputs(encoded: Encoded, rows: np.ndarray, loaded: Loaded) -> dict[str, Tensor]:
    inputs = collate(encoded, rows, loaded.tokenizer.pad_token_id, loaded.device)
    mask = inputs.pop("attention_mask", torch.ones_like(inputs["input_ids"]))
    return {"input_ids": inputs.pop("input_ids"), "attention_mask": mask, **inputs}


def _alone(encoded: Encoded, rows: np.ndarray, loaded: Loaded) -> np.ndarray:
    """(rows, classes), or (rows, tokens, classes): each row's logits, without padding."""
    singles = (collate(encoded, [row], loaded.tokenizer.pad_token_id, loaded.device) for row in rows)
    found = [loaded.model(**single).float().cpu().numpy() for single in singles]
    if found[0].ndim == 2:
        return np.concatenate(found)
    whole = np.full((len(found), max(one.shape[1] for one in found), found[0].shape[2]), np.nan, dtype=np.float32)
    for row, one in zip(whole, found, strict=True):
        row[: one.shape[1]] = one[0]
    return whole


def _random_words(loaded: Loaded) -> Encoded:
    """Texts of 1 to about `max_length` tokens drawn from the vocabulary, as the task encodes them."""
    draw = numpy_generator(0, "probe")
    vocabulary = len(loaded.tokenizer)
    lengths = np.linspace(1, loaded.max_length, ROWS).astype(int)
    texts = [loaded.tokenizer.decode(draw.integers(vocabulary, size=n), skip_special_tokens=True) for n in lengths]
    rows = loaded.task.filler(texts)
    return loaded.task.encode(rows, loaded.tokenizer, loaded.max_length, loaded.class_names)
