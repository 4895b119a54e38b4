"""Read the JSON files of programs that align or recognise speech.

    {"words": [{"word", "start", "end", "case": ...}, ...]}            Gentle (align.json of Narratives)
    {"segments": [{"words": [{"word", "start", "end"}, ...]}, ...]}    WhisperX, and Whisper with word timestamps
    {"tiers": {"words": {"entries": [[start, end, label], ...]}}}      Montreal Forced Aligner, --output_format json

A word that the program did not find in the recording has no time. Times are seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from encoderlab.brain.stories.content import text_of
from encoderlab.brain.stories.tiers import Tier, choose
from encoderlab.brain.stories.transcript import Row, Spoken
from encoderlab.core.errors import InputError
from encoderlab.core.files import json_value

_EXPECTED = "words with times of Gentle, WhisperX or the Montreal Forced Aligner"


def read_aligned(path: Path, tier: str | int | None = None) -> list[Spoken]:
    """Read the words of a JSON file.

    Args:
        path: the file.
        tier: the name or the number (from 1) of the tier of words, for files with tiers.

    Raises:
        InputError: an item has none of the forms above; the message names it.
    """
    document = json_value(text_of(path), path, _EXPECTED)
    name = None
    begin, end = 0.0, None
    if isinstance(document, dict) and isinstance(document.get("tiers"), dict):
        tiers = [_tier(path, tier_name, item) for tier_name, item in document["tiers"].items()]
        chosen = choose(path, tiers, tier)
        rows, name = list(chosen.rows), chosen.name
        begin, end = (_number(path, "the file", key, document.get(key)) for key in ("start", "end"))
    elif tier is not None:
        raise InputError(f"{path}: `tier` is {tier!r}, but this file has no tiers; remove the key `tier`")
    elif isinstance(document, dict) and isinstance(document.get("words"), list):
        rows = [_row(path, f"word {n}", item) for n, item in enumerate(document["words"], 1)]
    elif isinstance(document, dict) and isinstance(document.get("segments"), list):
        rows = _segments(path, document["segments"])
    else:
        is_dict = isinstance(document, dict)
        content = f"keys {', '.join(map(str, list(document)[:6]))}" if is_dict else f"a {type(document).__name__}"
        raise InputError(f"{path}: the file holds {content}; expected {_EXPECTED}")
    return [Spoken(name=path.stem, rows=rows, begin=begin or 0.0, end=end, tier=name)]


def _segments(path: Path, segments: list[Any]) -> list[Row]:
    """Read the rows of all segments, as Whisper and WhisperX write them."""
    rows = []
    for n, segment in enumerate(segments, 1):
        words = segment.get("words") if isinstance(segment, dict) else None
        if not isinstance(words, list):
            raise InputError(
                f"{path}: segment {n} has no list `words`; expected a time for each word; run Whisper with "
                "word_timestamps"
            )
        rows += [_row(path, f"segment {n}, word {m}", item) for m, item in enumerate(words, 1)]
    return rows


def _row(path: Path, where: str, item: Any) -> Row:
    """Read one word with its times; `where` names the item in messages."""
    word = item.get("word", item.get("text")) if isinstance(item, dict) else None
    if not isinstance(word, str):
        raise InputError(f"{path}: {where}: expected an object with the keys word, start and end")
    start, end = (_number(path, where, key, item.get(key)) for key in ("start", "end"))
    return Row(word, start, start if end is None else end)


def _tier(path: Path, name: str, item: Any) -> Tier:
    """Read one tier of a Montreal Forced Aligner file."""
    entries = item.get("entries") if isinstance(item, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"{path}: tier {name!r} has no list `entries`; expected [start, end, label] for each word")
    rows = []
    for n, entry in enumerate(entries, 1):
        where = f"tier {name!r}, entry {n}"
        if not isinstance(entry, list) or len(entry) not in (2, 3) or not isinstance(entry[-1], str):
            raise InputError(f"{path}: {where}: expected [start, end, label], or [time, label]")
        start, stop = (_number(path, where, "time", time) for time in (entry[0], entry[-2]))
        rows.append(Row(entry[-1], start, stop))
    return Tier(name=name, rows=tuple(rows), points=item.get("type") == "point")


def _number(path: Path, where: str, key: str, value: Any) -> float | None:
    """Read a time in seconds; None where the file has none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < sys.float_info.max:
        raise InputError(f"{path}: {where}: {key} is {str(value)[:40]!r}; expected seconds")
    return float(value)
