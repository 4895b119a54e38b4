"""Entities in sequences of labels, counted as in seqeval by default (and in conlleval before it).

    IOB2          B-PER I-PER O B-LOC        B- opens an entity, and so does an I- that continues none of its type
    IOBES         B-PER I-PER E-PER S-LOC    the same, and an entity ends after E- and S-
    BILOU         B-PER I-PER L-PER U-LOC    the same: L- is E-, U- is S-
    BMES, BMEWO   B-PER M-PER E-PER S-LOC    the same: M- is I-, W- is S-
    IO            PER PER O LOC              labels without prefixes beside an O: a run of one label is an entity

An entity that another prefix opens or closes than the scheme requires also counts (seqeval's strict mode leaves it
out). Labels without a scheme, such as parts of speech, mark no entities.
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
    """How labels mark entities.

    name: as in the table above. scorer: the rule for counting entities in words, if there is a choice. opens, closes,
    kinds: for each label, whether it opens an entity, whether the entity ends after it, and the number of its type in
    `types`, -1 outside entities.
    """

    name: str
    scorer: str
    opens: list[bool]
    closes: list[bool]
    kinds: list[int]
    types: list[str]

    def spans(self, labels: Sequence[int]) -> set[tuple[int, int, int]]:
        """Return (first word, word after the last, type) of the entities in a row of label numbers."""
        entities, start, current = set(), 0, -1
        for i, label in enumerate((*labels, None)):
            kind = -1 if label is None else self.kinds[label]
            if current >= 0 and (kind != current or self.opens[labels[i]] or self.closes[labels[i - 1]]):
                entities.add((start, i, current))
                current = -1
            if kind >= 0 and current < 0:
                start, current = i, kind
        return entities


def scheme(labels: Sequence[str]) -> Scheme | None:
    """Return how labels mark entities; None if they mark none."""
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
    """Return a label in an unsupported form, such as B_PER or PER-B, if I_PER or PER-I exists as well."""
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
    """Return the labels without a prefix, except O, of labels that otherwise are IOB2 or IOBES.

    In a scheme without prefixes, B-PER and I-PER would be two types. Only B- and I- identify a scheme with prefixes,
    because E-MAIL may be a type.
    """
    if not any(label.startswith(("B-", "I-")) and _has_prefix(label) for label in labels):
        return []
    return [label for label in labels if label != OUTSIDE and not _has_prefix(label)]


def _has_prefix(label: str) -> bool:
    return label.startswith((*OPENS, *CONTINUES)) and len(label) > 2


def capitals(labels: Set[str]) -> dict[str, str]:
    """Return {"b-per": "B-per", "o": "O", ...} if all labels of a file have small prefixes; else {}."""
    if not all(map(_SMALL.fullmatch, labels)) or not any(label.startswith(("b-", "i-")) for label in labels):
        return {}
    return {label: label[:1].upper() + label[1:] for label in labels}


def counts(rule: Scheme, predicted: Sequence[Sequence[int]], gold: Sequence[Sequence[int]]) -> np.ndarray:
    """Count the entities that are correct (both ends and the type), predicted and gold, int64 (rows, types, 3)."""
    table = np.zeros((len(gold), len(rule.types), 3), dtype=np.int64)
    for row, pair in enumerate(zip(predicted, gold, strict=True)):
        ours, theirs = map(rule.spans, pair)
        for column, spans in enumerate((ours & theirs, ours, theirs)):
            for *_, kind in spans:
                table[row, kind, column] += 1
    return table
