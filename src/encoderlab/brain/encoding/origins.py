"""What else is known of the scans of TextGrid and TSV stories: seconds per story, and ds003020's respdict.json."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from encoderlab.brain.encoding.scans import PAD, Scans
from encoderlab.brain.encoding.settings import StoriesSection
from encoderlab.brain.stories.read import TIMED, Seconds
from encoderlab.core.errors import InputError

OWN_TIMES = (".pkl", ".pickle", ".parquet")
RESPDICT = "respdict.json"


def scans_of(section: StoriesSection, responses: Iterable[Path] = ()) -> Scans:
    """Find out what is known of the scans of a study's stories without their responses.

    Args:
        section: of the study, its paths resolved.
        responses: files or folders of the subjects, for a respdict.json beside them.

    Raises:
        InputError: a file of seconds or counts that is not readable.
    """
    path = Path(section.path).expanduser()
    if path.suffix.lower() in OWN_TIMES:
        return Scans(computed=False)
    held = {file.stem for file in path.iterdir()} if path.is_dir() else {path.stem}
    unused = set() if section.names is None else held.difference(section.names)
    before, after = (_seconds(section, key, unused) for key in ("before", "after"))
    file, counted = _respdict([path, *responses])
    return Scans(computed=True, tr=section.tr, before=before, after=after, counted=counted, file=file)


def _seconds(section: StoriesSection, key: str, unused: Iterable[str]) -> Seconds:
    """One number, or {story: seconds}; the stories that the study does not use need none of their own."""
    given = getattr(section, key)
    if isinstance(given, str):
        given = _by_name(Path(given), _file(Path(given), key))
    return {**dict.fromkeys(unused, 0.0), **given} if isinstance(given, Mapping) else given


def _by_name(path: Path, given: Mapping[str, float]) -> dict[str, float]:
    """Take the name of a story's file for the name of the story."""
    found: dict[str, float] = {}
    for name, seconds in given.items():
        story = Path(name).stem if Path(name).suffix.lower() in TIMED else name
        if story in found:
            raise InputError(f"{path}: story {story!r} is there twice; remove one")
        found[story] = seconds
    return found


def _file(path: Path, key: str) -> dict[str, float]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8"
        raise InputError(f"{path}: stories.{key}: cannot be read ({reason}); expected a TSV or JSON file") from None
    if path.suffix.lower() == ".json":
        return {name: _number(f"{path}: story {name!r}", value) for name, value in _object(path, text).items()}
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    if not {"story", key} <= set(rows.fieldnames or ()):
        got = ", ".join(rows.fieldnames or ()) or "nothing"
        raise InputError(f"{path}: stories.{key}: expected the columns story and {key}, got {got}")
    found: dict[str, float] = {}
    for row in rows:
        if row["story"] in found:
            raise InputError(f"{path}:{rows.line_num}: story {row['story']!r} is there twice; remove one")
        found[row["story"]] = _number(f"{path}:{rows.line_num}", row[key])
    return found


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        held = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(held, dict):
        raise InputError(f'{path}: holds a {type(held).__name__}; expected an object such as {{"story": 12.5}}')
    return held


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: story {twice[0]!r} is there twice; remove one")
    return dict(pairs)


def _number(where: str, value: Any) -> float:
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: {value!r}; expected seconds")
    return number


def _respdict(places: Iterable[Path]) -> tuple[Path | None, dict[str, int]]:
    """{story: volumes of its scan} of respdict.json, which ds003020 has above its TextGrids and responses."""
    for place in places:
        for folder in (place, *list(place.absolute().parents)[:2]):  # it lies beside them, or above
            path = folder / RESPDICT
            if not path.is_file():
                continue
            held = _object(path, path.read_text(encoding="utf-8-sig", errors="replace"))
            bad = [name for name, count in held.items() if type(count) is not int or count <= PAD]
            if bad:
                raise InputError(f"{path}: story {bad[0]!r}: {held[bad[0]]!r}; expected the volumes of its scan")
            return path, held
    return None, {}
