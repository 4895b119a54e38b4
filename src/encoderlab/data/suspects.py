"""Say what in the data looks like a mistake, one line each with what to do. Nothing is changed here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_CONTROL = re.compile("[\u0080-\u0084\u0086-\u009f]")  # 0x85 is a line break in Unicode
_TWICE = re.compile(
    "\u00c3[\u0080-\u00bf]|\u00e2\u20ac[\u2122\u0153\u009d\u02dc\u201c\u201d\u00a6]|\u00c2[\u00a0-\u00bf]"
)
_LATIN = re.compile("[\u00a1-\u00ff]+")
_MISSING = {"nan", "none", "null", "n/a", "na", "<na>", "nat", "#n/a", "-100"}
_DECIMAL = re.compile(r"[-+]?(\d+\.\d+|\.\d+|\d+\.)([eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d++\.?\d*+|\.\d+)([eE][-+]?\d+)?")  # possessive: a cell may have 300,000 digits
_SENTENCE = re.compile(r"sent(ence)?[ _-]?(#|id|no|idx|index|num(ber)?)?", re.IGNORECASE)


def text_notes(columns: Mapping[str, list]) -> list[str]:
    """What the texts of a file tell of a wrong encoding on the way there."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for cells in columns.values():
        for cell in cells:
            if isinstance(cell, str) and not cell.isascii() and (kind := _garbled(cell)):
                counts[kind] += 1
                examples.setdefault(kind, _example(cell))
    said = {
        "lost": "hold the character U+FFFD, which stands for what could not be read when the file was written",
        "control": "hold control characters such as U+0092: a cp1252 file that was converted as Latin-1, which loses "
        "quotes and the euro sign",
        "twice": "hold signs of UTF-8 that was read as cp1252 and saved again",
        "latin": "look like text of another encoding (Chinese, Cyrillic, ...) that was converted as Latin-1",
    }
    return [
        f"{counts[kind]} cell{'s' * (counts[kind] > 1)} {line}, as in {examples[kind]!r}; go back to the original file "
        "and read it with `encoding` in the source"
        for kind, line in said.items()
        if counts[kind]
    ]


def _garbled(text: str) -> str | None:
    if "\ufffd" in text:
        return "lost"
    if _CONTROL.search(text):
        return "control"
    runs = _LATIN.findall(text)
    long = sum(len(run) for run in runs if len(run) >= 6)
    if long > 0.5 * sum(map(len, runs)):
        return "latin"
    return "twice" if _TWICE.search(text) else None


def _example(text: str) -> str:
    place = next((i for i, letter in enumerate(text) if not letter.isascii()), 0)
    return text[max(0, place - 8) : place + 12].strip()


def repeated_headers(columns: Mapping[str, list[str]]) -> list[int]:
    """Numbers of the rows, from 0, in which every cell is its column's name, a byte order mark in front or not.
    One column alone proves nothing."""
    if len(columns) < 2:
        return []
    names = list(columns)
    first = (i for i, cell in enumerate(columns[names[0]]) if cell.lstrip("\ufeff").strip() == names[0])
    return [i for i in first if all(columns[name][i].strip() == name for name in names[1:])]


def label_notes(labels: Iterable[str], column: str) -> list[str]:
    """What the names of classes tell. labels: one a row."""
    counts = Counter(labels)
    total = sum(counts.values())
    found = []
    if missing := [name for name in counts if name.lower() in _MISSING]:
        said = ", ".join(f"{name!r} ({counts[name]} rows)" for name in missing[:5])
        found.append(
            f"{said} in column {column!r} {'are classes' if len(missing) > 1 else 'is a class'} here; if it means that "
            "there is no label, leave the cell empty or remove the rows"
        )
    if "-1" in counts and "0" in counts and not any(name.startswith("-") and name != "-1" for name in counts):
        found.append(
            f"'-1' ({counts['-1']} of {total} rows) in column {column!r} is a class, as '0' is; if it means that there "
            "is no label, leave the cell empty or remove the rows"
        )
    if {"true", "false"} & set(counts) and {"0", "1"} & set(counts):
        both = ", ".join(repr(name) for name in ("true", "false", "1", "0") if name in counts)
        found.append(f"{both} in column {column!r} are different classes; if they mean the same, write them alike")
    if len(counts) > 1 and all(map(_NUMBER.fullmatch, counts)) and any(map(_DECIMAL.fullmatch, counts)):
        found.append(
            f"the {len(counts)} classes of column {column!r} are numbers with decimals, such as "
            f'{next(filter(_DECIMAL.fullmatch, counts))!r}; to predict a number set task.kind = "regression"'
        )
    alike: dict[str, str] = {}
    if twins := [(alike[name.lower()], name) for name in counts if alike.setdefault(name.lower(), name) != name]:
        found.append(
            f"{twins[0][0]!r} and {twins[0][1]!r} in column {column!r} are different classes; if they mean the same, "
            "write them alike"
        )
    return found


def single_words(words: Sequence[Sequence[str]], columns: Iterable[str]) -> str | None:
    """Said where every row has a single word, as of files with a word a line."""
    if len(words) < 2 or any(len(row) > 1 for row in words):
        return None
    by = next((name for name in columns if _SENTENCE.fullmatch(name.strip())), None)
    how = f"group the rows by column {by!r}" if by else "join the rows of a sentence"
    return (
        f"all {len(words)} rows have a single word, which is labelled without the words around it; a row is a "
        f"sentence: {how} into lists, or write a .conll file"
    )
