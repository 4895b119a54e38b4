"""CTM files (NIST sclite, Kaldi): `recording channel start duration word [confidence]`, apart by white space.

Lines that begin with `;;` are comments. Each recording is a story; a file of one recording is called after the file.
Of several channels, `tier` names one.
"""

from __future__ import annotations

from pathlib import Path

from encoderlab.brain.stories.content import number_of, text_of
from encoderlab.brain.stories.transcript import Row, Spoken
from encoderlab.core.errors import InputError


def read_ctm(path: Path, tier: str | int | None = None) -> list[Spoken]:
    """Read the words of every recording. Raise InputError naming the line that has another form."""
    found: dict[str, dict[str, list[Row]]] = {}
    for number, line in enumerate(text_of(path).split("\n"), 1):
        cells = line.split()
        if not cells or line.startswith(";;"):
            continue
        start, lasts = (number_of(cell) for cell in cells[2:4]) if len(cells) > 4 else (None, None)
        if start is None or lasts is None:
            raise InputError(f"{path}:{number}: {line[:60]!r}; expected recording, channel, start, duration and word")
        found.setdefault(cells[0], {}).setdefault(cells[1], []).append(Row(cells[4], start, start + lasts, number))
    chosen = {name: _channel(path, channels, tier) for name, channels in found.items()}
    if len(found) < 2:
        return [Spoken(name=path.stem, rows=rows) for rows in chosen.values() or [[]]]
    return [Spoken(name=name, rows=rows) for name, rows in chosen.items()]


def _channel(path: Path, channels: dict[str, list[Row]], wanted: str | int | None) -> list[Row]:
    """The words of the only channel, or of the one that is asked for."""
    if wanted is not None and str(wanted) in channels:
        return channels[str(wanted)]
    names = ", ".join(f"{name!r} ({len(rows)} words)" for name, rows in channels.items())
    if wanted is not None:
        raise InputError(f"{path}: `tier` is {wanted!r}, but a CTM file has channels for tiers: {names}; name one")
    if len(channels) > 1:
        first = next(iter(channels))
        raise InputError(
            f"{path}: words of {len(channels)} channels, such as of two speakers: {names}; choose one "
            f'(tier = "{first}")'
        )
    return next(iter(channels.values()))
