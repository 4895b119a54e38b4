"""Read CoNLL files: one word with its labels per line, an empty line between sentences.

Tabs separate the fields if all lines have the same number of tabs, else spaces or tabs. A no-break space is part of a
word. A line that starts with # in front of a sentence is a comment, or a word (#hashtag O): `comments` decides. A first
column that numbers the words of each sentence (GermEval, CoNLL-U) is not the word.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from dataclasses import dataclass
from typing import final

from encoderlab.core.errors import InputError
from encoderlab.data.comments import ENTITY, Hashed, judge
from encoderlab.data.text import TextFile

_SPACES = re.compile(r"[ \t]+")
_BETWEEN = re.compile(r"\d+[-.]\d+")  # CoNLL-U: a word of several tokens, or an empty node
Line = tuple[int, list[str]]
DOCUMENT = "document"  # the column with the number of each sentence's document


@final
@dataclass(frozen=True)
class Sentences:
    """The sentences of a file.

    Attributes:
        words: The words of each sentence.
        tags: The label of each word; None if the file has no labels.
        notes: One line for each thing that was detected or left out.
        documents: The number of each sentence's document, if lines with -DOCSTART- begin several; otherwise None.
    """

    words: list[list[str]]
    tags: list[list[str]] | None
    notes: tuple[str, ...]
    documents: list[int] | None = None


def read_conll(file: TextFile, columns: tuple[int, int] | None = None, *, labelled: bool = True) -> Sentences:
    """Read the words and labels of a file.

    Args:
        file: the file.
        columns: the numbers of the columns of the word and the label, from 1, or from -1 backwards.
        labelled: whether the file must have labels; without it, the file may have words only.

    Raises:
        InputError: lines differ in their number of fields, or it is not clear which column is which.
    """
    notes = list(file.notes)
    lines = [(number, line.rstrip("\r\n")) for number, line in enumerate(file.lines(universal=True), 1)]
    tabs = _apart_by_tabs([line for _, line in lines])
    blocks: list[list[Line]] = [[]]
    hashed: list[Hashed] = []
    starts: list[int] = []  # of documents
    for number, line in lines:
        fields = line.rstrip(" " if tabs else " \t").split("\t") if tabs else _SPACES.split(line.strip(" \t"))
        if not line.strip() or fields[0] == "-DOCSTART-":
            blocks.append([])
            starts += [number] if fields[0] == "-DOCSTART-" else []
        elif line.startswith("#") and not blocks[-1]:
            hashed.append(Hashed(number, line, fields))
            blocks.append([])
        else:
            blocks[-1].append((number, fields))
    widths = Counter(len(fields) for block in blocks for _, fields in block)
    width = max(widths, key=lambda size: widths[size], default=0)
    blocks, said = _with_words_of(hashed, [block for block in blocks if block], width, columns)
    notes += said
    _check_widths(file, blocks, width, tabs=tabs, labelled=labelled)
    documents = [bisect(starts, block[0][0]) for block in blocks]
    counted = width > 1 and _counts(blocks)
    if counted:
        blocks = [[line for line in block if not _BETWEEN.fullmatch(line[1][0])] for block in blocks]
    word, label = _columns(file, columns, blocks, width, counted=counted, labelled=labelled)
    if counted and columns is None:
        labels = "" if label is None else f", column {label + 1} as their labels"
        notes.append(f"column 1 numbers the words; column 2 is read as the words{labels}")
    words = [[fields[word] for _, fields in block] for block in blocks]
    tags = None if label is None else [[fields[label] for _, fields in block] for block in blocks]
    if tags is not None and columns is None and (said := _turned(words, tags)):
        notes.append(said)
    return Sentences(words, tags, tuple(notes), documents if len(set(documents)) > 1 else None)


def _turned(words: list[list[str]], tags: list[list[str]]) -> str | None:
    """Return a warning if there are far more different labels than words: the two columns may be swapped."""
    kinds = len({word for row in words for word in row}), len({tag for row in tags for tag in row})
    if kinds[1] < 20 or kinds[1] < 2 * kinds[0]:
        return None
    return (
        f"{kinds[0]} different words, but {kinds[1]} different labels: if the words come after their labels, set the "
        "columns in the source, e.g. columns = [2, 1] (--columns of predict and evaluate)"
    )


def _apart_by_tabs(lines: list[str]) -> bool:
    """Return whether nearly all lines with words have the same number of tabs, one or more."""
    counts = Counter(line.count("\t") for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-")))
    if not counts:
        return False
    usual, times = counts.most_common(1)[0]
    return usual > 0 and times >= 0.9 * sum(counts.values())


def _with_words_of(
    hashed: list[Hashed], blocks: list[list[Line]], width: int, columns: tuple[int, int] | None
) -> tuple[list[list[Line]], list[str]]:
    """Put the lines with # that are words back in front of their sentence. Returns the sentences and the notes."""
    number = columns[1] if columns is not None else -1
    place = number - 1 if number > 0 else width + number
    found = judge(
        hashed,
        [[fields for _, fields in block] for block in blocks],
        width,
        place if width > 1 and 0 <= place < width else None,
        counted=width > 1 and _counts(blocks),
    )
    ends = {block[0][0]: block for block in blocks}
    for one in reversed(hashed):
        if one.number not in found.comments:
            ends[one.number] = [(one.number, one.fields), *ends.pop(one.number + 1, [])]
    notes = []
    if left := len(found.comments):
        notes.append(f"{left} comment line{'s' if left > 1 else ''} (# ...) left out")
    if found.unsure is not None:
        line, count = found.unsure
        notes.append(
            f"{count} line{'s' if count > 1 else ''} with # in front of a sentence, such as {line[:60]!r}, "
            f"{'are' if count > 1 else 'is'} read as words; if they are comments, remove them, or "
            "write them as # key = value"
        )
    return [ends[number] for number in sorted(ends)], notes


def _check_widths(file: TextFile, blocks: list[list[Line]], width: int, *, tabs: bool, labelled: bool) -> None:
    """Raise InputError at the first line with another number of fields."""
    apart = "tabs" if tabs else "white space"
    for place, (number, fields) in enumerate(line for block in blocks for line in block):
        if len(fields) != width or width < 1 + labelled:
            others = "before" if place else "after it"
            expected = f"{width}, as in the lines {others}" if width > 1 else "at least a word and its label"
            raise InputError(f"{file.path}:{number}: {len(fields)} fields; expected {expected}, separated by {apart}")


def _counts(blocks: list[list[Line]]) -> bool:
    """Return whether the first column numbers the words of every sentence from 1 (or 0)."""
    for block in blocks:
        numbers = [fields[0] for _, fields in block if not _BETWEEN.fullmatch(fields[0])]
        start = 0 if numbers[:1] == ["0"] else 1
        if numbers != [str(i) for i in range(start, start + len(numbers))]:
            return False
    return sum(map(len, blocks)) > 1


def _labels_in_front(file: TextFile, blocks: list[list[Line]], first: int, width: int) -> None:
    """Raise InputError if the first column has labels of entities and the last column has not."""
    columns = list(zip(*(fields for block in blocks for _, fields in block), strict=True))
    if len(columns) < first + 2:
        return
    marked = [name for name in columns[first] if name.startswith(("B-", "I-", "S-", "U-"))]
    if not marked or not all(map(ENTITY.fullmatch, columns[first])):
        return
    if sum(ENTITY.fullmatch(name) is not None for name in columns[-1]) > 0.1 * len(columns[-1]):
        return
    word = max(range(first + 1, width), key=lambda place: len(set(columns[place])))
    raise InputError(
        f"{file.path}: column {first + 1} has labels such as {marked[0]!r}; expected words; if the words come after "
        f"the labels, set the numbers of word and label in the source: columns = [{word + 1}, {first + 1}] "
        "(--columns of predict and evaluate)"
    )


def _columns(
    file: TextFile,
    columns: tuple[int, int] | None,
    blocks: list[list[Line]],
    width: int,
    *,
    counted: bool,
    labelled: bool,
) -> tuple[int, int | None]:
    """Return the positions of the word and of its label among the fields; None without a label."""
    if columns is not None:
        places = [number - 1 if number > 0 else width + number for number in columns]
        if width == 1 and not labelled and places[0] == 0:
            return 0, None
        if not all(0 <= place < width for place in places):
            raise InputError(f"{file.path}: columns = {list(columns)}, but the lines have {width} fields")
        return places[0], places[1]
    first = int(counted)
    if width == first + 1:
        if labelled:
            raise InputError(f"{file.path}: the lines have a number and a word; expected a label after them")
        return first, None
    _labels_in_front(file, blocks, first, width)
    if counted and labelled and width > 3:
        values = {
            place: list(dict.fromkeys(fields[place] for block in blocks for _, fields in block))
            for place in range(2, width)
        }
        varied = [place for place, found in values.items() if len(found) > 1]
        if len(varied) == 1:
            return first, varied[0]
        shown = "; ".join(f"{place + 1}: {', '.join(found[:6])}"[:60] for place, found in values.items())
        raise InputError(
            f"{file.path}: the first of the {width} columns numbers the words, and it is not clear which one has the "
            f"labels ({shown}); set the numbers of word and label in the source, e.g. columns = [2, 3]"
        )
    return first, width - 1
