"""Tell the comments of a CoNLL file from words: lines that start with # in front of a sentence.

A line whose number of fields differs from that of the words is a comment, and so is "# key = value". Other lines
(#hashtag O, or #id 0) are judged in groups of similar lines. A group is a comment if its last field is never a label of
another word, and if nearly every sentence has such a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import final

_KEY_VALUE = re.compile(r"#\s*[\w.:-]+\s*=(\s|$)")  # "# sent_id = 3", which may have as many fields as a word
_NUMBER = re.compile(r"[-+]?\d[\d.,:/_-]*")
ENTITY = re.compile(r"O|[BIESLUMW]-.+")  # a label of a scheme that marks entities
_DIGITS = re.compile(r"\d+")
NEARLY_ALL, FEWEST = 0.9, 3  # share of the sentences with such a line; the least number of sentences for a judgement


@final
@dataclass(frozen=True)
class Hashed:
    """A line that starts with # in front of a sentence.

    Attributes:
        number: The number of the line in the file, from 1.
        line: The line.
        fields: The line split like the lines of words.
    """

    number: int
    line: str
    fields: list[str]


@final
@dataclass(frozen=True)
class Verdict:
    """The result of `judge`.

    Attributes:
        comments: The numbers of the lines that are comments.
        unsure: A line that is read as a word but looks like a comment, and the number of such lines. None if there is
            no such line.
    """

    comments: frozenset[int]
    unsure: tuple[str, int] | None


def judge(
    lines: Sequence[Hashed], blocks: Sequence[Sequence[list[str]]], width: int, label: int | None, *, counted: bool
) -> Verdict:
    """Tell which lines are comments.

    Args:
        lines: the lines that start with # in front of a sentence.
        blocks: the other lines of each sentence, as fields; no sentence is empty.
        width: the number of fields of a word.
        label: the position of the label among the fields; None if the file has no labels.
        counted: whether the first field of a word is its number in the sentence; a line with # then never is a word.
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
            comments.add(one.number)  # fields are separated by tabs, and no word has a space
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
            unsure += group  # the value is a label of other words too
    return Verdict(frozenset(comments), (unsure[0].line, len(unsure)) if unsure else None)


def _no_labels(values: Set[str], labels: Set[str]) -> bool:
    """Return whether values cannot be labels: numbers where labels are names, or names that mark no entity."""
    if not values or not labels:
        return False
    if all(map(_NUMBER.fullmatch, values)) and not any(map(_NUMBER.fullmatch, labels)):
        return True
    marks = all(map(ENTITY.fullmatch, labels)) and labels != {"O"}
    return marks and not any(map(ENTITY.fullmatch, values))
