"""Read CTM files (NIST sclite, Kaldi): `recording channel start duration word [confidence]`, split at white space.

Lines that begin with `;;` are comments. Each recording is a story. A single recording is named after the file. If there
are several channels, `tier` names one of them.
"""

from __future__ import annotations

from pathlib import Path

from encoderlab.brain.stories.content import number_of, text_of
from encoderlab.brain.stories.transcript import Row, Spoken
from encoderlab.core.errors import InputError


def read_ctm(path: Path, tier: str | int | None = None) -> list[Spoken]:
    """Read the words of every recording.

    Args:
        path: the file.
        tier: the channel that holds the words; None if there is only one.

    Raises:
        InputError: a line has another form, or it is not clear which channel is meant.
    """
    recordings: dict[str, dict[str, list[Row]]] = {}  # {recording: {channel: rows}}
    for number, line in enumerate(text_of(path).split("\n"), 1):
        cells = line.split()
        if not cells or line.startswith(";;"):
            continue
        start, duration = (number_of(cell) for cell in cells[2:4]) if len(cells) > 4 else (None, None)
        if start is None or duration is None:
            raise InputError(f"{path}:{number}: {line[:60]!r}; expected recording, channel, start, duration and word")
        row = Row(cells[4], start, start + duration, number)
        recordings.setdefault(cells[0], {}).setdefault(cells[1], []).append(row)
    chosen = {name: _channel(path, channels, tier) for name, channels in recordings.items()}
    if len(recordings) < 2:
        return [Spoken(name=path.stem, rows=rows) for rows in chosen.values() or [[]]]
    return [Spoken(name=name, rows=rows) for name, rows in chosen.items()]


def _channel(path: Path, channels: dict[str, list[Row]], wanted: str | int | None) -> list[Row]:
    """Choose the rows of the only channel, or of the wanted one."""
    if wanted is not None and str(wanted) in channels:
        return channels[str(wanted)]
    names = ", ".join(f"{name!r} ({len(rows)} words)" for name, rows in channels.items())
    if wanted is not None:
        raise InputError(
            f"{path}: `tier` is {wanted!r}, but a CTM file has channels instead of tiers: {names}; set `tier` to one"
        )
    if len(channels) > 1:
        first = next(iter(channels))
        raise InputError(
            f"{path}: words of {len(channels)} channels, which may be two speakers: {names}; choose one "
            f'(tier = "{first}")'
        )
    return next(iter(channels.values()))
