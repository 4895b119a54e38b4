"""Find the times of scans for stories without TR times: seconds per story, and ds003020's respdict.json."""

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
    """Collect what is known about the scans of a study's stories without their responses.

    Args:
        section: the section [stories] of the study, with resolved paths.
        responses: files or folders of the subjects, for a respdict.json beside them.

    Raises:
        InputError: a file of seconds or counts is not readable.
    """
    path = Path(section.path).expanduser()
    if path.suffix.lower() in OWN_TIMES:
        return Scans(computed=False)
    names = {file.stem for file in path.iterdir()} if path.is_dir() else {path.stem}
    unused = set() if section.names is None else names.difference(section.names)
    before, after = (_seconds(section, key, unused) for key in ("before", "after"))
    file, counted = _respdict([path, *responses])
    return Scans(computed=True, tr=section.tr, before=before, after=after, counted=counted, file=file)


def _seconds(section: StoriesSection, key: str, unused: Iterable[str]) -> Seconds:
    """Read a key as one number or {story: seconds}; stories that the study does not use need no line."""
    given = getattr(section, key)
    if isinstance(given, str):
        given = _by_name(Path(given), _file(Path(given), key))
    return {**dict.fromkeys(unused, 0.0), **given} if isinstance(given, Mapping) else given


def _by_name(path: Path, given: Mapping[str, float]) -> dict[str, float]:
    """Replace the names of stories' files by the names of the stories."""
    by_story: dict[str, float] = {}
    for name, seconds in given.items():
        story = Path(name).stem if Path(name).suffix.lower() in TIMED else name
        if story in by_story:
            raise InputError(f"{path}: story {story!r} occurs twice; remove one")
        by_story[story] = seconds
    return by_story


def _file(path: Path, key: str) -> dict[str, float]:
    """Read {story: seconds} from a table or a JSON file."""
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
    seconds: dict[str, float] = {}
    for row in rows:
        if row["story"] in seconds:
            raise InputError(f"{path}:{rows.line_num}: story {row['story']!r} occurs twice; remove one")
        seconds[row["story"]] = _number(f"{path}:{rows.line_num}", row[key])
    return seconds


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f'{path}: holds a {type(content).__name__}; expected an object such as {{"story": 12.5}}')
    return content


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: story {twice[0]!r} occurs twice; remove one")
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
    """Find respdict.json, and read {story: volumes of its scan}; ds003020 has it above its TextGrids and responses."""
    for place in places:
        for folder in (place, *list(place.absolute().parents)[:2]):  # it lies beside them, or above
            path = folder / RESPDICT
            if not path.is_file():
                continue
            counts = _object(path, path.read_text(encoding="utf-8-sig", errors="replace"))
            bad = [name for name, count in counts.items() if type(count) is not int or count <= PAD]
            if bad:
                raise InputError(f"{path}: story {bad[0]!r}: {counts[bad[0]]!r}; expected the volumes of its scan")
            return path, counts
    return None, {}
