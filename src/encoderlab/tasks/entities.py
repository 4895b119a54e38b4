"""Entities in sequences of labels, counted as seqeval does by default (and conlleval before it).

    IOB2          B-PER I-PER O B-LOC        B- opens an entity; an I- that continues none of its type opens one, too
    IOBES         B-PER I-PER E-PER S-LOC    the same, and an entity ends behind E- and S-
    BILOU         B-PER I-PER L-PER U-LOC    the same: L- is E-, U- is S-
    BMES, BMEWO   B-PER M-PER E-PER S-LOC    the same: M- is I-, W- is S-
    IO            PER PER O LOC              labels without prefixes beside an O: a run of one label is an entity

An entity that is opened or closed by another sign than the scheme wants counts all the same (seqeval's strict mode
leaves it out). Labels that are none of these (parts of speech) mark no entities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import final

import numpy as np

OUTSIDE = "O"
SINGLE, LAST = ("S-", "U-", "W-"), ("E-", "L-")
OPENS, CONTINUES = ("B-", *SINGLE), ("I-", "M-", *LAST)
CLOSES = (*SINGLE, *LAST)
SEQEVAL = "scored as seqeval does by default"
_SMALL = re.compile(r"o|[biesulmw]-.+")
_OTHER_SIGN = re.compile(r"([BI])_(.+)|(.+)[-_]([BI])")


@final
@dataclass(frozen=True)
class Scheme:
    """name: as in the table above. scorer: how entities are counted, in words, where there is a choice. Per label:
    whether it opens an entity, whether the entity ends behind it, and the number of its type in `types`, -1 outside."""

    name: str
    scorer: str
    opens: list[bool]
    closes: list[bool]
    kinds: list[int]
    types: list[str]

    def spans(self, labels: Sequence[int]) -> set[tuple[int, int, int]]:
        """(first word, word behind the last, type) of the entities in a row of label numbers."""
        found, start, current = set(), 0, -1
        for i, label in enumerate((*labels, None)):
            kind = -1 if label is None else self.kinds[label]
            if current >= 0 and (kind != current or self.opens[labels[i]] or self.closes[labels[i - 1]]):
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
    return Scheme(
        name=_name({label[:2] for label in marked}) if prefixed else "IO",
        scorer=SEQEVAL if prefixed else "",
        opens=[prefixed and label.startswith(OPENS) for label in labels],
        closes=[prefixed and label.startswith(CLOSES) for label in labels],
        kinds=[-1 if name is None else types.index(name) for name in names],
        types=types,
    )


def _name(prefixes: set[str]) -> str:
    if prefixes <= {"B-", "I-"}:
        return "IOB2"
    if "W-" in prefixes:
        return "BMEWO"
    if "M-" in prefixes:
        return "BMES"
    return "BILOU" if prefixes & {"L-", "U-"} else "IOBES"


def other_sign(labels: Sequence[str]) -> str | None:
    """A label that marks an entity in a way that is not read, B_PER or PER-B, where I_PER or PER-I is there as well."""
    if any(map(_has_prefix, labels)):
        return None
    parts: dict[tuple[str, bool], set[str]] = {}
    for match in filter(None, map(_OTHER_SIGN.fullmatch, labels)):
        in_front = match[1] is not None
        sign, kind = (match[1], match[2]) if in_front else (match[4], match[3])
        parts.setdefault((kind, in_front), set()).add(sign)
    whole = next((kind for kind, signs in parts.items() if len(signs) == 2), None)
    return None if whole is None else next(label for label in labels if whole[0] in label)


def odd(labels: Sequence[str]) -> list[str]:
    """Of labels that are IOB2 or IOBES otherwise those that are neither prefixed nor O: read as a scheme without
    prefixes, B-PER and I-PER would be two types. A B- or an I- is what tells: E-MAIL may well be a type."""
    if not any(label.startswith(("B-", "I-")) and _has_prefix(label) for label in labels):
        return []
    return [label for label in labels if label != OUTSIDE and not _has_prefix(label)]


def _has_prefix(label: str) -> bool:
    return label.startswith((*OPENS, *CONTINUES)) and len(label) > 2


def capitals(labels: Set[str]) -> dict[str, str]:
    """B-per and O for b-per and o, where all labels of a file are written so; else nothing."""
    if not all(map(_SMALL.fullmatch, labels)) or not any(label.startswith(("b-", "i-")) for label in labels):
        return {}
    return {label: label[:1].upper() + label[1:] for label in labels}


def counts(rule: Scheme, predicted: Sequence[Sequence[int]], gold: Sequence[Sequence[int]]) -> np.ndarray:
    """int64 (rows, types, 3): entities found right (both ends and the type), predicted, and in the gold labels."""
    table = np.zeros((len(gold), len(rule.types), 3), dtype=np.int64)
    for row, pair in enumerate(zip(predicted, gold, strict=True)):
        ours, theirs = map(rule.spans, pair)
        for column, some in enumerate((ours & theirs, ours, theirs)):
            for *_, kind in some:
                table[row, kind, column] += 1
    return table
