"""Read tables of words: TSV and CSV files with one row a word.

    onset    duration  word                        BIDS events files, tab-separated; `n/a` for a missing value
    word,lemma,onset,offset,...,section            the Little Prince (ds003643, lppEN_word_information.csv)
    Begin,End,Label,Type,Speaker                   Montreal Forced Aligner, --output_format csv
    tmin     tier  text  tmax                      Praat, Down to Table
    Once,once,0.5,0.8                              Gentle's CSV without a header, as in Narratives (align.csv): the word
                                                   as written, as heard, onset, offset; without times where not found

Columns are recognised by their names, in upper or lower case. Times are seconds. Quotes around a whole cell are
removed; any other quote in a TSV is a character.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from encoderlab.brain.stories.content import number_of, text_of
from encoderlab.brain.stories.tiers import WORD_TIERS, Tier, choose, names_phones
from encoderlab.brain.stories.transcript import MISSING, Row, Spoken
from encoderlab.core.errors import InputError

# What a column holds, by its name in lower case; of several names the first that the table has is taken.
_NAMES = {
    "word": ("word", "words", "label", "text", "token"),
    "onset": ("onset", "start", "begin", "tmin", "xmin", "start_time"),
    "end": ("offset", "end", "stop", "tmax", "xmax", "end_time"),
    "duration": ("duration", "dur"),
    "tier": ("tier",),
    "type": ("type",),
    "speaker": ("speaker",),
    "section": ("section",),
    "kind": ("trial_type",),
}
Line = tuple[int, list[str]]


def read_table(path: Path, tier: str | int | None = None) -> list[Spoken]:
    """Read the words of a table: one story, or one for each value of a column `section`.

    Args:
        path: the file.
        tier: the tier that holds the words, for tables with a column of tiers.

    Raises:
        InputError: a line has more or fewer columns than the header, or a time that is not a number.
    """
    lines, kind = list(_lines(path)), path.suffix[1:].upper()
    if not lines:
        raise InputError(
            f"{path}: not readable as {kind} (the file is empty); expected a header (onset, duration, word) and rows"
        )
    if _is_gentle(lines[0][1]):
        rows = [_row(path, number, *_gentle(path, number, cells)) for number, cells in lines]
        return [Spoken(name=path.stem, rows=rows)]
    (_, header), *body = lines
    columns = _columns(path, header)
    for number, cells in body:
        if len(cells) != len(header):
            raise InputError(
                f"{path}:{number}: not readable as {kind} ({len(cells)} fields, but the header has {len(header)}); "
                "expected one field for each column"
            )
    rows = [_row(path, number, *_word_and_times(cells, columns)) for number, cells in body]
    texts = [{what: cells[column].strip() for what, column in columns.items()} for _, cells in body]
    chosen, notes = _rows_of_words(texts)
    chosen, name = _rows_of_tier(path, rows, texts, chosen, tier)
    if name is None and Tier(name="", rows=tuple(rows[i] for i in chosen)).looks_like_phones:
        notes.append("the words look like phones; check that this is the table of the words")
    stories: dict[str, list[int]] = {"": chosen}
    if "section" in columns:
        stories = _sections(path, rows, texts, chosen)
    stem = path.stem.removesuffix("_word_information")
    # A row of another kind may end after the last word; it then tells how long the recording is.
    end = max((row.stop for row in rows if row.stop is not None), default=0.0) if len(stories) == 1 else None
    return [
        Spoken(
            name=f"{stem}_section{part}" if len(stories) > 1 else path.stem,
            rows=[rows[i] for i in numbers],
            end=end,
            notes=notes,
            tier=name,
        )
        for part, numbers in stories.items()
    ]


def _lines(path: Path) -> Iterator[Line]:
    """Yield (line number, cells) of the lines that are not blank."""
    text = text_of(path)
    first = text.partition("\n")[0]
    comma = path.suffix.lower() == ".csv"
    delimiter = max(",;\t", key=first.count) if comma else "\t"
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not line.strip():
            continue
        if delimiter == "\t":
            yield number, [_unquoted(cell) for cell in line.split("\t")]
            continue
        try:
            yield number, next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise InputError(f'{path}:{number}: {error}; expected quoted cells as in "a, ""b"""') from None


def _unquoted(cell: str) -> str:
    """Remove the quotes around a whole cell, and read doubled quotes inside it as one."""
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Find the columns by their names; return {what the column holds: its position}."""
    names = [name.strip() for name in header]
    got = ", ".join(name[:30] for name in names[:12]) + (", ..." if len(names) > 12 else "")
    lower = [name.lower() for name in names]
    columns: dict[str, int] = {}
    for what, usual in _NAMES.items():
        for name in usual:
            places = [i for i, column in enumerate(names) if column == name]
            places = places or [i for i, column in enumerate(lower) if column == name]
            if len(places) > 1:
                raise InputError(f"{path}:1: {len(places)} columns are called {name!r} ({got}); rename or remove one")
            if places:
                columns[what] = places[0]
                break
    missing = [what for what in ("onset", "word") if what not in columns]
    if "end" not in columns and "duration" not in columns:
        missing.insert(1 if "onset" in missing else 0, "duration")
    if missing:
        timed = "onset" in columns and "word" not in columns
        why = "; the table says when something was presented, not which words" if timed and "kind" in columns else ""
        raise InputError(f"{path}: no column {', '.join(missing)}; expected onset, duration and word, got {got}{why}")
    return columns


def _word_and_times(cells: list[str], columns: dict[str, int]) -> tuple[str, str, str | None, str | None]:
    """Pick (word, onset, end, duration) from the cells of a line; None for a column that the table lacks."""
    word, onset, end, duration = (
        cells[columns[what]] if what in columns else None for what in ("word", "onset", "end", "duration")
    )
    assert word is not None and onset is not None
    return word, onset, end, duration


def _rows_of_words(texts: Sequence[Mapping[str, str]]) -> tuple[list[int], list[str]]:
    """Choose the rows whose trial_type is `word`, or all rows if there are none such; return them with notes."""
    kinds = [text.get("kind", "") for text in texts]
    words = [i for i, kind in enumerate(kinds) if kind.lower() in ("word", "words")]
    notes = []
    if 0 < len(words) < len(kinds):
        others = sorted({kind for kind in kinds if kind.lower() not in ("word", "words")})
        notes.append(f"{len(kinds) - len(words)} rows of another trial_type left out: {', '.join(others[:5])}")
    speakers = sorted({text["speaker"] for text in texts if text.get("speaker")})
    if len(speakers) > 1:
        notes.append(f"the words of {len(speakers)} speakers are one story: {', '.join(speakers[:5])}")
    return words or list(range(len(kinds))), notes


def _rows_of_tier(
    path: Path, rows: Sequence[Row], texts: Sequence[Mapping[str, str]], chosen: list[int], wanted: str | int | None
) -> tuple[list[int], str | None]:
    """Choose the rows of the tier of words, if a column names tiers; return them with the tier's name.

    A column `type` may also mean something else, so it only counts if one of its values names a tier.
    """
    tiers: dict[str, list[int]] = {}
    for i in chosen:
        tiers.setdefault(texts[i].get("tier", texts[i].get("type", "")), []).append(i)
    named = texts and "tier" in texts[0]
    if not named and not any(name.lower() in WORD_TIERS or names_phones(name) for name in tiers):
        if wanted is not None:
            raise InputError(
                f"{path}: `tier` is {wanted!r}, but this table has no column of tiers; remove the key `tier`"
            )
        return chosen, None
    choice = choose(path, [Tier(name=n, rows=tuple(rows[i] for i in numbers)) for n, numbers in tiers.items()], wanted)
    return tiers[choice.name], choice.name


def _sections(
    path: Path, rows: Sequence[Row], texts: Sequence[Mapping[str, str]], chosen: list[int]
) -> dict[str, list[int]]:
    """Group the rows into stories: one a section if the times of each start again, otherwise one for the table."""
    parts: dict[str, list[int]] = {}
    for i in chosen:
        parts.setdefault(texts[i]["section"], []).append(i)
    onsets = [[start for i in numbers if (start := rows[i].start) is not None] for numbers in parts.values()]
    spans = [(min(starts), max(starts)) for starts in onsets if starts]
    restarts = [later[0] < before[1] for before, later in zip(spans, spans[1:], strict=False)]
    if any(restarts) and not all(restarts):
        raise InputError(
            f"{path}: some sections start their times again from the beginning and others continue; expected one or "
            "the other; save each section as a file"
        )
    return parts if any(restarts) else {"": chosen}


def _is_gentle(cells: list[str]) -> bool:
    """Return whether a first line is a row of Gentle's CSV: two texts, then two times or two empty cells."""
    if len(cells) != 4:
        return False
    return all(cell.strip() == "" or number_of(cell) is not None for cell in cells[2:]) and number_of(cells[0]) is None


def _gentle(path: Path, number: int, cells: list[str]) -> tuple[str, str, str | None, None]:
    """Pick (word, onset, end, no duration) from a row of Gentle's CSV."""
    if len(cells) != 4:
        raise InputError(f"{path}:{number}: {len(cells)} fields; expected 4: word, word as heard, onset, offset")
    word, _, onset, offset = cells
    return word, onset, offset, None


def _row(path: Path, number: int, word: str, onset: str, end: str | None, duration: str | None) -> Row:
    """Read one word with its times; a duration counts before an end."""
    start = _seconds(path, number, "onset", onset)
    if start is None:
        return Row(word, None, None, number)
    lasting = _seconds(path, number, "duration", duration) if duration is not None else None
    if lasting is not None or end is None:
        return Row(word, start, start + (lasting or 0.0), number)
    stop = _seconds(path, number, "offset", end)
    return Row(word, start, start if stop is None else stop, number)


def _seconds(path: Path, number: int, what: str, cell: str) -> float | None:
    """Read a time in seconds, or return None for a missing value."""
    text = cell.strip()
    if text.lower() in MISSING:
        return None
    seconds = number_of(text)
    if seconds is None:
        why = "; write a decimal point, not a comma" if number_of(text.replace(",", ".")) is not None else ""
        raise InputError(f"{path}:{number}: {what} is {text[:40]!r}; expected seconds{why}")
    return seconds
