"""Golden values of seqeval 1.2.2: entity scores of random label sequences in every scheme."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Gold and predicted label numbers of some rows, and the scores that seqeval gives them in its default mode.

    seqeval knows the signs B, I, E and S. For it, L and M, U, W were written as E, I, S, S.
    """

    scheme: str
    tags: list[str]
    gold: list[list[int]]
    predicted: list[list[int]]
    f1: float
    precision: float
    recall: float
    per_class: dict[str, tuple[float, int]]
    """F1 and support of each type that occurs."""
    times: NDArray[np.float64]
    """How often each row is taken, `(resamples, rows)`."""
    f1_of_times: list[float]
    """F1 of each of these resamples."""

    def named(self) -> tuple[list[list[str]], list[list[str]]]:
        """Return the gold and the predicted labels as texts."""
        gold, predicted = ([[self.tags[k] for k in row] for row in rows] for rows in (self.gold, self.predicted))
        return gold, predicted

    def __str__(self) -> str:
        return f"{self.scheme}: {' '.join(self.tags)}"


def _rows(packed: str) -> list[list[int]]:
    """Read rows of label numbers: a character a word (base 36), a space between two rows."""
    return [[int(character, 36) for character in row] for row in packed.split()]


def _golden(packed: dict[str, Any]) -> Golden:
    read = {
        "tags": packed["tags"].split(),
        "gold": _rows(packed["gold"]),
        "predicted": _rows(packed["predicted"]),
        "per_class": {name: (f1, support) for name, (f1, support) in packed["per_class"].items()},
        "times": np.array([[int(n) for n in row] for row in packed["times"]], dtype=np.float64),
    }
    return Golden(**{**packed, **read})


GOLDEN = [
    _golden(packed) for packed in json.loads(Path(__file__).with_name("seqeval.json").read_text(encoding="utf-8"))
]
