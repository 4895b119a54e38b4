"""Tell the comments of a CoNLL file from words: lines that begin with # in front of a sentence.

A line with another number of fields than the words have is a comment, and so is "# key = value". One with as many
fields (#hashtag O, or #id 0) is judged together with its like, by what its last field is beside the labels of the words
that are no such lines: no label of any word, and in front of nearly every sentence, it is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import final

_KEY_VALUE = re.compile(r"#\s*[\w.:-]+\s*=(\s|$)")  # "# sent_id = 3", which may have as many fields as a word
_NUMBER = re.compile(r"[-+]?\d[\d.,:/_-]*")
ENTITY = re.compile(r"O|[BIESLUMW]-.+")  # a label of a word where entities are marked
_DIGITS = re.compile(r"\d+")
NEARLY_ALL, FEWEST = 0.9, 3  # of the sentences have such a line; sentences that tell anything


@final
@dataclass(frozen=True)
class Hashed:
    """A line that begins with # where a sentence begins. fields: as those of the words are told apart."""

    number: int
    line: str
    fields: list[str]


@final
@dataclass(frozen=True)
class Verdict:
    """comments: numbers of the lines that are none of the words. unsure: a line that was taken for words, but looks
    like a comment, and how many there are like it."""

    comments: frozenset[int]
    unsure: tuple[str, int] | None


def judge(
    lines: Sequence[Hashed], blocks: Sequence[Sequence[list[str]]], width: int, label: int | None, *, counted: bool
) -> Verdict:
    """Tell which lines are comments.

    Args:
        lines: those with a # in front of a sentence.
        blocks: the other lines of each sentence, as fields; none is empty.
        width: how many fields a word has.
        label: the place of the label among them; None where there are words alone.
        counted: whether the words' first field is their number in the sentence, which no # is.
    """
    comments = {
        one.number for one in lines if counted or len(one.fields) != width or _KEY_VALUE.match(one.line) is not None
    }
    labels = {fields[label] for block in blocks for fields in block if label is not None and len(fields) == width}
    spaced = any(" " in fields[0] for block in blocks for fields in block)
    alike: dict[tuple[str, str], list[Hashed]] = {}
    for one in lines:
        if one.number in comments:
            continue
        if one.fields[0].startswith("# ") and width > 1 and not spaced:
            comments.add(one.number)  # apart by tabs, and no word has a space in it
        else:
            value = None if label is None else one.fields[label]
            kind = "none" if value is None else "number" if _NUMBER.fullmatch(value) else str(value in labels)
            alike.setdefault((_DIGITS.sub("0", one.fields[0]), kind), []).append(one)
    unsure: list[Hashed] = []
    for group in alike.values():
        values = [one.fields[label] for one in group] if label is not None else []
        usual = len(blocks) >= FEWEST and len(group) >= NEARLY_ALL * len(blocks)
        foreign = 2 * sum(value not in labels for value in values) > len(values)
        if _no_labels(set(values), labels) or (usual and foreign):
            comments |= {one.number for one in group}
        elif foreign or (usual and (label is None or all(map(_NUMBER.fullmatch, values)))):
            unsure += group  # a name that words have for a label, too, is one
    return Verdict(frozenset(comments), (unsure[0].line, len(unsure)) if unsure else None)


def _no_labels(values: Set[str], labels: Set[str]) -> bool:
    """Whether values cannot be labels beside these: numbers beside names, or names that mark no entity."""
    if not values or not labels:
        return False
    if all(map(_NUMBER.fullmatch, values)) and not any(map(_NUMBER.fullmatch, labels)):
        return True
    marks = all(map(ENTITY.fullmatch, labels)) and labels != {"O"}
    return marks and not any(map(ENTITY.fullmatch, values))
