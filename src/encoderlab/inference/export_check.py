"""Rows of a run with their expected logits, against which encoderlab checks an exported model.

Each row has two expected logits. The run's model computes the first in fp32, one row at a time, without padding; the
export has to agree to the last digits. The run stored the second when it was trained, computed in its own precision,
packed; the export has to agree as far as that precision goes. The exported model gets rows of different lengths in one
padded batch, and one row alone. This finds a format that forgets the mask, fixes a length or loses a part of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from encoderlab.core import files
from encoderlab.core.array_files import load_arrays
from encoderlab.core.rng import numpy_generator
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.engine.batches import collate
from encoderlab.engine.tuned_model import Loaded
from encoderlab.tasks.tokenization import read_cached
from encoderlab.training.run_folder import RunFolder

ROWS, BATCH = 32, 8

Answer = Callable[[Mapping[str, Tensor]], np.ndarray]  # the model's inputs -> logits, float32 (rows, classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """Inputs and the logits that an exported model should give.

    Attributes:
        batches: inputs with an attention mask, and their logits, (rows, classes) or (rows, tokens, classes); nan at
            padding, where nothing is expected.
        rows: how many rows there are.
        origin: what these rows are, in words.
        stored: the logits that the run stored, of the same shapes; None: the run stored none of these rows.
        spread: for a number in the unit of the labels, how far the answers lie apart; None for classes.
    """

    batches: list[tuple[dict[str, Tensor], np.ndarray]]
    rows: int
    origin: str
    stored: list[np.ndarray] | None = None
    spread: float | None = None

    def differences(self, answer: Answer) -> tuple[float, float | None]:
        """Run the exported model on the rows and compare its logits.

        Returns:
            The largest difference from the run's model; infinite where a logit is not a finite number.
            The largest difference from the stored predictions; None where there are none.
        """
        answers = [answer(inputs) for inputs, _ in self.batches]
        own = _largest_gap(answers, [wanted for _, wanted in self.batches])
        return own, None if self.stored is None else _largest_gap(answers, self.stored)

    def allowed(self, share: float) -> float:
        """Return the difference of a logit that is allowed.

        For classes it is `share` of the largest logit's size or of 1, whichever is larger. Where a row has a single
        logit, such as a choice, 1 is replaced by ten times the logit's size if that is smaller. For a number it is
        `share` of the spread plus two float32 steps, because its mean may be a million times its spread.

        Args:
            share: the tolerance, as a share.
        """
        if self.spread is None:
            floor = min(1.0, 10 * self.largest) if self.batches[0][1].shape[-1] == 1 else 1.0
            return share * max(floor, self.largest)
        return share * self.spread + 2 * self.step

    @property
    def largest(self) -> float:
        """The largest absolute value of an expected logit."""
        return max(float(np.nanmax(np.abs(wanted))) for _, wanted in self.batches)

    @property
    def step(self) -> float:
        """The distance of neighbouring float32 numbers at the size of the largest logit."""
        return float(np.spacing(np.float32(self.largest)))


def _largest_gap(answers: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    gaps = [np.abs(ours - theirs)[~np.isnan(theirs)] for ours, theirs in zip(answers, wanted, strict=True)]
    worst = max((gap.max() for gap in gaps if gap.size), default=np.inf)
    return float(worst) if np.isfinite(worst) else float("inf")


@torch.no_grad()
def probe(run: Path, loaded: Loaded) -> Probe:
    """Choose up to ROWS test rows of a run, from the shortest to the longest, and compute their logits.

    Where this machine no longer keeps the tokens of the test rows, the rows are random words.

    Args:
        run: the folder of the run.
        loaded: the run's model in fp32.
    """
    fingerprint = RunFolder(run).read_config()["data"]["test"]["fingerprint"]
    tokenized, origin = read_cached(fingerprint, files.cache_folder() / "tokens"), "rows of test"
    stored = None
    if tokenized is None:
        tokenized, origin = _random_words(loaded), "rows of random words (those of test are no longer kept here)"
    else:
        stored = _predictions(run, len(tokenized))
    order = np.argsort(tokenized.longest, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, ROWS).astype(int))]
    count = -(-len(chosen) // BATCH)
    batches = [chosen[:1], *(chosen[i::count] for i in range(count))]
    loaded.encoder.model.eval()
    made = [(_inputs(tokenized, rows, loaded), _alone(tokenized, rows, loaded)) for rows in batches]
    return Probe(
        batches=made,
        rows=len(chosen),
        origin=origin,
        spread=_spread(run, loaded, [answers for _, answers in made]),
        stored=None if stored is None else [_as_answered(stored, tokenized, rows) for rows in batches],
    )


def _spread(run: Path, loaded: Loaded, answers: Sequence[np.ndarray]) -> float | None:
    """Return how far the answers of a regression lie apart; None for another task.

    It is the largest of three figures: the range of these rows' answers, the standard deviation of all test labels, and
    the change for a step of length 1 in the head's input. A head that has learned nothing gives every row about the
    same answer, so its range alone would be too small.
    """
    if loaded.task.problem_type != "regression":
        return None
    weight = loaded.encoder.model.get_submodule(loaded.encoder.output_layer()).weight
    labels = _stored(run, "labels")
    apart = [float(np.ptp(np.concatenate(answers))), float(weight.detach().float().norm())]
    return max(*apart, 0.0 if labels is None else float(labels.std()))


def rounding(found: Probe, rounded: Loaded) -> float:
    """Return the largest difference that the run's own precision makes to a logit of these rows.

    Args:
        found: the rows.
        rounded: the run's model in the run's precision.
    """
    rounded.encoder.model.eval()
    with torch.no_grad():
        own, _ = found.differences(lambda inputs: _answer(rounded, inputs))
    return own


def _answer(loaded: Loaded, inputs: Mapping[str, Tensor]) -> np.ndarray:
    there = {name: tensor.to(loaded.device) for name, tensor in inputs.items()}
    return loaded.model(**there).float().cpu().numpy()


def _predictions(run: Path, rows: int) -> np.ndarray | None:
    """Read the stored logits of the test rows, in their order; None where there are none, or not for these rows."""
    logits = _stored(run, "logits")
    return logits if logits is not None and len(logits) == rows else None


def _stored(run: Path, name: str) -> np.ndarray | None:
    try:
        return load_arrays(RunFolder(run).predictions("test"))[name]
    except (OSError, KeyError, SafetensorError):
        return None


def _as_answered(stored: np.ndarray, tokenized: TokenizedRows, rows: np.ndarray) -> np.ndarray:
    """Return the stored logits of some rows in the shape of the model's output, nan where the run stored none."""
    if tokenized.groups is not None:
        return np.concatenate([stored[row, : tokenized.sizes[row]] for row in rows])[:, None]
    if tokenized.places is None:
        return stored[rows]
    whole = np.full((len(rows), int(tokenized.lengths[rows].max()), stored.shape[2]), np.nan, dtype=np.float32)
    for row, places, logits in zip(whole, tokenized.places[rows], stored[rows], strict=True):
        row[places[places >= 0]] = logits[: len(places)][places >= 0]
    return whole


def _inputs(tokenized: TokenizedRows, rows: np.ndarray, loaded: Loaded) -> dict[str, Tensor]:
    inputs = collate(loaded.model.typed(tokenized), rows, loaded.encoder.pad_id, loaded.device)
    mask = inputs.pop("attention_mask", torch.ones_like(inputs["input_ids"]))
    return {"input_ids": inputs.pop("input_ids"), "attention_mask": mask, **inputs}


def _alone(tokenized: TokenizedRows, rows: np.ndarray, loaded: Loaded) -> np.ndarray:
    """Compute each row's logits without padding, (rows, classes), or (rows, tokens, classes) with nan behind a row."""
    tokenized = loaded.model.typed(tokenized)
    singles = (collate(tokenized, [row], loaded.encoder.pad_id, loaded.device) for row in rows)
    found = [loaded.model(**single).float().cpu().numpy() for single in singles]
    if found[0].ndim == 2:
        return np.concatenate(found)
    whole = np.full((len(found), max(one.shape[1] for one in found), found[0].shape[2]), np.nan, dtype=np.float32)
    for row, one in zip(whole, found, strict=True):
        row[: one.shape[1]] = one[0]
    return whole


def _random_words(loaded: Loaded) -> TokenizedRows:
    """Tokenize texts of 1 to about `max_length` tokens, drawn from the vocabulary, as the task does."""
    draw = numpy_generator(0, "probe")
    vocabulary = len(loaded.tokenizer)
    lengths = np.linspace(1, loaded.max_length, ROWS).astype(int)
    texts = [loaded.tokenizer.decode(draw.integers(vocabulary, size=n), skip_special_tokens=True) for n in lengths]
    rows = loaded.task.dummy_rows(texts)
    return loaded.task.tokenize(rows, loaded.tokenizer, loaded.max_length, loaded.class_names)
