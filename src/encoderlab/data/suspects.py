"""Warn of what looks like a mistake in the data, one line each with what to do. Changes no data."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from encoderlab.data.multi_label import several_labels

_CONTROL = re.compile("[\u0080-\u0084\u0086-\u009f]")  # 0x85 is a line break in Unicode
_TWICE = re.compile(
    "\u00c3[\u0080-\u00bf]|\u00e2\u20ac[\u2122\u0153\u009d\u02dc\u201c\u201d\u00a6]|\u00c2[\u00a0-\u00bf]"
)
_LATIN = re.compile("[\u00a1-\u00ff]+")
_SHEET_ERRORS = {
    "#N/A",
    "#REF!",
    "#NAME?",
    "#VALUE!",
    "#DIV/0!",
    "#NUM!",
    "#NULL!",
    "#SPILL!",
    "#NV",
    "#BEZUG!",
    "#WERT!",
}
_MISSING = {"nan", "none", "null", "n/a", "n.a.", "na", "<na>", "nat", "-100", "(null)", "<null>", "\\n", "undefined"}
_MISSING |= {"unknown", "<unk>", "[unk]", "unk", "missing", "unlabeled", "unlabelled", "no label", "not available"}
_MISSING |= {"tbd", "n.d.", "???", "??", "?", "-", "--", "(blank)", "---", *(name.lower() for name in _SHEET_ERRORS)}
_TRUTHS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"1", "0"}, {"on", "off"})
_PERCENT = re.compile(r"[-+]?\d+([.,]\d+)?\s?%")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})( .*)?")
NEARLY_ALL = 0.9  # share of rows with a single word from which a file counts as one word per row
FEW = 3  # rows per class; with fewer on average, a model cannot learn the classes
_DECIMAL = re.compile(r"[-+]?(\d+[.,]\d+|[.,]\d+|\d+[.,])([eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+")
# possessive: a cell may have 300,000 digits
_NUMBER = re.compile(r"[-+]?(\d++[.,]?\d*+|[.,]\d++)([eE][-+]?\d++)?")
_SENTENCE = re.compile(r"sent(ence)?[ _-]?(#|id|no|idx|index|num(ber)?)?", re.IGNORECASE)


def text_notes(columns: Mapping[str, list]) -> list[str]:
    """Warn of texts that a wrong encoding, a spreadsheet or a labelling tool has damaged."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for cells in columns.values():
        for cell in cells:
            if isinstance(cell, str) and (kind := _suspect(cell)):
                counts[kind] += 1
                examples.setdefault(kind, _example(cell))
    said = {
        "lost": "hold the character U+FFFD, which replaced unreadable characters when the file was written",
        "control": "hold control characters such as U+0092: a cp1252 file that was converted as Latin-1, which loses "
        "quotes and the euro sign",
        "twice": "hold UTF-8 characters that were read as cp1252 and saved again",
        "latin": "look like text of another encoding (Chinese, Cyrillic, ...) that was converted as Latin-1",
    }
    own = []
    if counts["nul"]:
        own.append(f"{_cells(counts['nul'])} NUL characters (U+0000), which are kept; was the file damaged?")
    if counts["sheet"]:
        own.append(
            f"{_cells(counts['sheet'], 'is', 'are')} an error of a spreadsheet, such as {examples['sheet']!r}; correct "
            "the formula there (a text that starts with = or - is a formula), or remove the rows"
        )
    return (
        own
        + _not_accepted(columns)
        + [
            f"{counts[kind]} cell{'s' * (counts[kind] > 1)} {line}, as in {examples[kind]!r}; go back to the original "
            "file and read it with `encoding` in the source"
            for kind, line in said.items()
            if counts[kind]
        ]
    )


def _not_accepted(columns: Mapping[str, list]) -> list[str]:
    """Warn of rows that were rejected or ignored when they were labelled (Prodigy)."""
    answers = columns.get("answer", [])
    if not all(isinstance(cell, str) for cell in answers):
        return []
    counts = Counter(answers)
    left = {name: counts[name] for name in ("reject", "ignore") if counts[name]}
    if not left or not set(counts) <= {"accept", "reject", "ignore"}:
        return []
    said = " and ".join(f"{count} are {name!r}" for name, count in left.items())
    return [f"column 'answer' says that {said}; their labels are still used: keep only the rows with 'accept'"]


def swallowed_rows(columns: Mapping[str, list[str]], delimiter: str) -> str | None:
    """Warn of a field with lines that look like rows of the file, because of missing or extra quotes."""
    names = list(columns)
    known: list[set[str]] = []
    for i in range(len(columns[names[0]]) if len(names) > 1 else 0):
        for name in names:
            if columns[name][i].count("\n") < 2:
                continue
            known = known or [{cell for cell in columns[name] if len(cell) <= 40} for name in names]
            rows = [line.rstrip("\r").split(delimiter) for line in columns[name][i].split("\n")[1:-1]]
            like = [
                row
                for row in rows
                if len(row) == len(names) and any(f and f in k for f, k in zip(row, known, strict=True))
            ]
            if like and len(like) >= 0.5 * len(rows):
                return (
                    f"row {i + 1}, column {name!r}: the field holds {len(like)} lines that look like rows of the file, "
                    f"such as {delimiter.join(like[0])[:60]!r}; is a quote missing there?"
                )
    return None


def _cells(count: int, one: str = "holds", several: str = "hold") -> str:
    """Return the start of a sentence about a number of cells, with its verb."""
    return f"{count} cell{'s' * (count > 1)} {several if count > 1 else one}"


def _suspect(text: str) -> str | None:
    """Return the kind of damage of a text, or None."""
    if "\0" in text:
        return "nul"
    if text.startswith("#") and text.strip() in _SHEET_ERRORS:
        return "sheet"
    return None if text.isascii() else _garbled(text)


def _garbled(text: str) -> str | None:
    """Return the kind of damage that a wrong encoding did to a text, or None."""
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
    """Return the characters around the first one that is not ASCII."""
    place = next((i for i, letter in enumerate(text) if not letter.isascii()), 0)
    return text[max(0, place - 8) : place + 12].strip()


def repeated_headers(columns: Mapping[str, list]) -> list[int]:
    """Return the numbers, from 0, of the rows that repeat the header."""
    names = list(columns)
    return [i for i, cells in enumerate(zip(*columns.values(), strict=True)) if is_header(names, cells)]


def is_header(names: Sequence[str], cells: Sequence[object]) -> bool:
    """Return whether a row repeats the header: every cell is the name of its column.

    Case and a byte order mark do not count, and missing cells are skipped. A match in one column alone is not enough.
    """
    pairs = [(name, cell) for name, cell in zip(names, cells, strict=True) if cell is not None]
    return len(pairs) > 1 and all(
        isinstance(cell, str) and len(cell) < len(name) + 20 and _folded(cell) == _folded(name) for name, cell in pairs
    )


def is_turned_header(names: Sequence[str], cells: Sequence[object]) -> bool:
    """Return whether a row has the names of all columns in another order."""
    if len(names) < 2 or not all(isinstance(cell, str) and len(cell) < 100 for cell in cells):
        return False
    found = [_folded(str(cell)) for cell in cells]
    wanted = list(map(_folded, names))
    return found != wanted and sorted(found) == sorted(wanted)


def _folded(name: str) -> str:
    return name.lstrip("\ufeff").strip().casefold()


def header_note(repeats: Sequence[int]) -> str:
    """Return the note on rows, numbered from 0, that repeat the header and were left out."""
    rows = ", ".join(str(i + 1) for i in repeats[:5]) + (f" and {len(repeats) - 5} more" if repeats[5:] else "")
    return f"the header is repeated at row {rows} (were files joined?): {len(repeats)} left out; remove it there"


def label_notes(labels: Iterable[str], column: str, *, words: bool = False) -> list[str]:
    """Warn of class names that look like a mistake.

    Args:
        labels: the label of each row, or of each word.
        column: the name of the label column.
        words: whether they are labels of words, whose names may have parts (Case=Nom|Number=Sing).
    """
    counts = Counter(labels)
    total = sum(counts.values())
    found = []
    signs = sum(not any(map(str.isalnum, name)) for name in counts) > 1  # classes such as + and -, or ? and !
    if missing := [n for n in counts if n.lower() in _MISSING and not (signs and not any(map(str.isalnum, n)))]:
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
    folded = {name.casefold() for name in counts}
    several = sum(bool(truths & folded) for truths in _TRUTHS) > 1
    alone = folded <= {"-1"}.union(*_TRUTHS, _MISSING)
    if several and (alone or {"true", "false"} & folded and {"0", "1"} & folded):
        both = ", ".join(repr(name) for truths in _TRUTHS for name in counts if name.casefold() in truths)
        found.append(f"{both} in column {column!r} are different classes; if they mean the same, write them alike")
    elif (
        len(counts) > 1
        and any(map(_PERCENT.fullmatch, counts))
        and all(_PERCENT.fullmatch(name) or is_number(name) for name in counts)
    ):
        found.append(
            f"the {len(counts)} classes of column {column!r} are shares, such as "
            f'{next(filter(_PERCENT.fullmatch, counts))!r}; to predict a number, set task.kind = "regression"'
        )
    if len(counts) > 1 and all(map(is_number, counts)) and any(map(_DECIMAL.fullmatch, counts)):
        decimals = list(filter(_DECIMAL.fullmatch, counts))
        comma = "; if the comma separates labels, several labels per row (multi-label) are not supported yet"
        found.append(
            f"the {len(counts)} classes of column {column!r} are numbers with decimals, such as {decimals[0]!r}; to "
            f'predict a number, set task.kind = "regression"{comma if all("," in name for name in decimals) else ""}'
        )
    elif not words and (made := several_labels(counts, column)) is not None:
        found.append(made)
    if twins := _twins(counts):
        said = "; ".join(" and ".join(map(_visible, group)) for group in twins[:3])
        more = f"; and {len(twins) - 3} more such groups" if twins[3:] else ""
        found.append(
            f"{said}{more} in column {column!r} are different classes; they differ only in case, white space, "
            "quotes, leading zeros or invisible characters: if they mean the same, write them alike"
        )
    if len(counts) > 1 and all(map(_DATE.fullmatch, counts)):
        found.append(
            f"the {len(counts)} classes of column {column!r} are dates, such as {next(iter(counts))!r}; is it the "
            "label column?"
        )
    elif len(counts) > 10 and total < FEW * len(counts):
        numbers = all(map(is_number, counts)) and not any(map(_DECIMAL.fullmatch, counts))
        how = ' To predict a number, set task.kind = "regression"' if numbers else ""
        found.append(
            f"column {column!r} has {len(counts)} classes for {total} rows, such as {next(iter(counts))!r}: too few "
            f"rows per class to learn them; is it the label column?{how}"
        )
    return found


def is_number(name: str) -> bool:
    """Return whether the name of a class is a number."""
    return _NUMBER.fullmatch(name) is not None


def _twins(names: Iterable[str]) -> list[list[str]]:
    """Group names that look alike.

    They may differ in case, white space, forms of letters, invisible characters, quotes and points around them, and in
    a plus or zeros in front of a number.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        seen = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
        key = " ".join(seen.casefold().replace("\u2212", "-").split())
        bare = key.strip("'\"`\u2018\u2019\u201c\u201d.,;:")
        key = bare if any(map(str.isalnum, bare)) else key  # $. and $, are two part-of-speech tags
        key = key.removeprefix("+") if is_number(key) else key
        groups.setdefault(key.lstrip("0") if key.isdecimal() else key, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _visible(name: str) -> str:
    """Format a name in quotes, with escapes for invisible characters and for look-alikes."""
    return repr(name) if name.isprintable() and unicodedata.is_normalized("NFKC", name) else ascii(name)


def single_words(words: Sequence[Sequence[str]], columns: Iterable[str]) -> str | None:
    """Warn if nearly every row has a single word, as in files with one word per line."""
    single = sum(len(row) == 1 for row in words)
    if len(words) < 2 or single < NEARLY_ALL * len(words):
        return None
    which = f"all {single}" if single == len(words) else f"{single} of {len(words)}"
    by = next((name for name in columns if _SENTENCE.fullmatch(name.strip())), None)
    how = f"group the rows by column {by!r}" if by else "join the rows of a sentence"
    return (
        f"{which} rows have a single word, so words are labelled without their context; a row should be a "
        f"sentence: {how} into lists, or write a .conll file"
    )
