"""JSON of programs that align or recognise speech.

    {"words": [{"word", "start", "end", "case": ...}, ...]}            Gentle (align.json of Narratives)
    {"segments": [{"words": [{"word", "start", "end"}, ...]}, ...]}    WhisperX, and Whisper with word timestamps
    {"tiers": {"words": {"entries": [[start, end, label], ...]}}}      Montreal Forced Aligner, --output_format json

A word that was not found in the recording has no time. Times are seconds.
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
    """Read the words of a JSON file. Raise InputError naming the item that is not one of the forms above."""
    held = json_value(text_of(path), path, _EXPECTED)
    name = None
    begin, end = 0.0, None
    if isinstance(held, dict) and isinstance(held.get("tiers"), dict):
        tiers = [_tier(path, called, one) for called, one in held["tiers"].items()]
        chosen = choose(path, tiers, tier)
        rows, name = list(chosen.rows), chosen.name
        begin, end = (_number(path, "the file", key, held.get(key)) for key in ("start", "end"))
    elif tier is not None:
        raise InputError(f"{path}: `tier` is {tier!r}, but this file has no tiers; remove the key")
    elif isinstance(held, dict) and isinstance(held.get("words"), list):
        rows = [_row(path, f"word {n}", one) for n, one in enumerate(held["words"], 1)]
    elif isinstance(held, dict) and isinstance(held.get("segments"), list):
        rows = _segments(path, held["segments"])
    else:
        kind = f"keys {', '.join(map(str, list(held)[:6]))}" if isinstance(held, dict) else f"a {type(held).__name__}"
        raise InputError(f"{path}: {kind}; expected {_EXPECTED}")
    return [Spoken(name=path.stem, rows=rows, begin=begin or 0.0, end=end, tier=name)]


def _segments(path: Path, segments: list[Any]) -> list[Row]:
    rows = []
    for n, segment in enumerate(segments, 1):
        words = segment.get("words") if isinstance(segment, dict) else None
        if not isinstance(words, list):
            raise InputError(
                f"{path}: segment {n} has no list `words`; expected a time for each word (Whisper: word_timestamps)"
            )
        rows += [_row(path, f"segment {n}, word {m}", one) for m, one in enumerate(words, 1)]
    return rows


def _row(path: Path, where: str, one: Any) -> Row:
    word = one.get("word", one.get("text")) if isinstance(one, dict) else None
    if not isinstance(word, str):
        raise InputError(f"{path}: {where}: expected an object with word, start and end")
    start, end = (_number(path, where, key, one.get(key)) for key in ("start", "end"))
    return Row(word, start, start if end is None else end)


def _tier(path: Path, name: str, one: Any) -> Tier:
    entries = one.get("entries") if isinstance(one, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"{path}: tier {name!r} has no list `entries`; expected [start, end, label] for each word")
    rows = []
    for n, entry in enumerate(entries, 1):
        where = f"tier {name!r}, entry {n}"
        if not isinstance(entry, list) or len(entry) not in (2, 3) or not isinstance(entry[-1], str):
            raise InputError(f"{path}: {where}: expected [start, end, label], or [time, label]")
        start, stop = (_number(path, where, "time", time) for time in (entry[0], entry[-2]))
        rows.append(Row(entry[-1], start, stop))
    return Tier(name=name, rows=tuple(rows), points=one.get("type") == "point")


def _number(path: Path, where: str, key: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < sys.float_info.max:
        raise InputError(f"{path}: {where}: {key} is {str(value)[:40]!r}; expected seconds")
    return float(value)
