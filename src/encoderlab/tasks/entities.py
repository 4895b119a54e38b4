"""Entities in sequences of labels, as the CoNLL evaluation counts them (Tjong Kim Sang & De Meulder 2003).

    IOB2    B-PER I-PER O B-LOC        B- opens an entity; an I- that continues none of its type opens one, too
    IOBES   the same: S- and U- are read as B-, E- and L- as I-
    IO      PER PER O LOC              labels without prefixes beside an O: a run of one label is an entity

Labels that are none of these (parts of speech) mark no entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

OUTSIDE = "O"
OPENS, CONTINUES = ("B-", "S-", "U-"), ("I-", "E-", "L-")


@final
@dataclass(frozen=True)
class Scheme:
    """name: as in the table above. Per label: whether it opens an entity, and the number of its type in `types`, -1
    outside."""

    name: str
    opens: list[bool]
    kinds: list[int]
    types: list[str]

    def spans(self, labels: Sequence[int]) -> set[tuple[int, int, int]]:
        """(first word, word behind the last, type) of the entities in a row of label numbers."""
        found, start, current = set(), 0, -1
        for i, label in enumerate((*labels, None)):
            kind = -1 if label is None else self.kinds[label]
            if current >= 0 and (kind != current or self.opens[labels[i]]):
                found.add((start, i, current))
                current = -1
            if kind >= 0 and current < 0:
                start, current = i, kind
        return found


def scheme(labels: Sequence[str]) -> Scheme | None:
    """How these labels mark entities; None where they mark none."""
    marked = [label for label in labels if label != OUTSIDE]
    prefixed = bool(marked) and all(map(_has_prefix, marked))
    if not prefixed and OUTSIDE not in labels:
        return None
    names = [None if label == OUTSIDE else label[2:] if prefixed else label for label in labels]
    types = sorted({name for name in names if name is not None})
    usual = all(label.startswith(("B-", "I-")) for label in marked)
    return Scheme(
        name="IO" if not prefixed else "IOB2" if usual else "IOBES",
        opens=[prefixed and label.startswith(OPENS) for label in labels],
        kinds=[-1 if name is None else types.index(name) for name in names],
        types=types,
    )


def odd(labels: Sequence[str]) -> list[str]:
    """Of labels that are IOB2 or IOBES otherwise those that are neither prefixed nor O: read as a scheme without
    prefixes, B-PER and I-PER would be two types. A B- or an I- is what tells: E-MAIL may well be a type."""
    if not any(label.startswith(("B-", "I-")) and _has_prefix(label) for label in labels):
        return []
    return [label for label in labels if label != OUTSIDE and not _has_prefix(label)]


def _has_prefix(label: str) -> bool:
    return label.startswith((*OPENS, *CONTINUES)) and len(label) > 2


def counts(rule: Scheme, predicted: Sequence[Sequence[int]], gold: Sequence[Sequence[int]]) -> np.ndarray:
    """int64 (rows, types, 3): entities found right (both ends and the type), predicted, and in the gold labels."""
    table = np.zeros((len(gold), len(rule.types), 3), dtype=np.int64)
    for row, pair in enumerate(zip(predicted, gold, strict=True)):
        ours, theirs = map(rule.spans, pair)
        for column, some in enumerate((ours & theirs, ours, theirs)):
            for *_, kind in some:
                table[row, kind, column] += 1
    return table
