"""Run `encoderlab embed`: make the vectors of every word of every story in every feature space, each once.

    OUT/stories.parquet          the stories
    OUT/vectors/LABEL.h5         one file a feature space (`vectors_file`)

A file whose key and words are up to date is left as it is, so a second call does nothing.
"""

from __future__ import annotations

import hashlib
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from tqdm import tqdm

from encoderlab.brain.encoding.adapter_sweep import expand
from encoderlab.brain.encoding.load import EncodingStudy, load
from encoderlab.brain.encoding.origins import scans_of
from encoderlab.brain.encoding.scans import Scans
from encoderlab.brain.encoding.settings import StoriesSection
from encoderlab.brain.stories.read import read
from encoderlab.brain.stories.saved import save
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors import vectors_file
from encoderlab.brain.vectors.feature_spaces import Spaces, Vocabulary, open_spaces
from encoderlab.brain.vectors.static import vocabulary
from encoderlab.brain.vectors.vectors_file import VectorsFile
from encoderlab.core import locks
from encoderlab.core.errors import InputError, Problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.engine.device import choose_device

Place = tuple[Path, str, dict[str, str | int]]


@final
@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A feature space with its file.

    Attributes:
        file: of the vectors.
        seconds: how long it took; None if the file was up to date.
        notes: lines for the user about its encoder.
    """

    file: VectorsFile
    seconds: float | None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, str | int | float | None]:
        """Return plain values for the table of the command line."""
        file = self.file
        space = {"feature": file.label, "kind": file.kind, "dimensions": file.dimensions, "words": file.words}
        return {**space, **file.counts, "seconds": self.seconds, "file": str(file.path)}


def embed(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Story], list[Embedded]]:
    """Read the stories of a study, and make the files of its feature spaces that are missing or out of date."""
    study = load(path, overrides, responses=False)
    study = replace(study, features=expand(study.features, trained=True))
    stories = read_stories(study.stories, study.path)
    with own(study):
        return stories, embed_study(study, stories)


def own(study: EncodingStudy) -> AbstractContextManager[None]:
    """Lock a study's output folder, or raise InputError if another command works on it."""
    advice = "wait until it is done, or stop it, or choose another folder with -s out=FOLDER"
    return locks.hold(study.out, advice=advice, inner=("vectors", "scores/*", "comparisons"))


def embed_study(study: EncodingStudy, stories: Sequence[Story]) -> list[Embedded]:
    """Make the files of a study's feature spaces, and return them in the order of the study."""
    check_labels([label for label, _ in study.features])
    opened = open_spaces(study.features, choose_device(study.encode.device))
    places = places_of(opened, study.out, stories)
    copy = study.out / "stories.parquet"
    if copy.resolve() != Path(study.stories.path).resolve():  # the study may read the copy of an earlier call
        save(stories, copy)
    by_label = {
        embedded.file.label: embedded
        for files, spaces in zip(places, opened, strict=True)
        for embedded in _make(files, spaces, stories)
    }
    return [by_label[label] for label, _ in study.features]


def read_stories(section: StoriesSection, study: Path, scans: Scans | None = None) -> list[Story]:
    """Read the stories of a study, or only those that it names.

    Args:
        section: the section [stories] of the study.
        study: the study's file, for messages.
        scans: what is known about their scans; None means what the section says.

    Raises:
        InputError: a named story does not exist, or a key is set that the file of stories does not use.
    """
    usual = StoriesSection(path="")
    scans = scans_of(section) if scans is None else scans
    if not scans.computed:
        keys = ("tier", "marks", "tr", "before", "after")
        idle = [key for key in keys if getattr(section, key) != getattr(usual, key)]
        if idle:
            raise InputError(
                f"{study}: stories.{idle[0]}: {section.path} has TR times of its own; only files of words "
                "with times use this key"
            )
    stories = read(
        section.path,
        tier=section.tier,
        marks=section.marks,
        tr=section.tr,
        before=scans.before,
        after=scans.after,
        trs=scans.trs,
    )
    by_name = {story.name: story for story in stories}
    for key in ("before", "after"):
        given = getattr(section, key)
        if isinstance(given, Mapping) and (unknown := [name for name in given if name not in by_name]):
            raise InputError(_no_story(section, key, unknown[0], by_name).at(str(study)))
    if section.names is None:
        return stories
    if missing := [name for name in section.names if name not in by_name]:
        raise InputError(_no_story(section, "names", missing[0], by_name).at(str(study)))
    return [by_name[name] for name in section.names]


def _no_story(section: StoriesSection, key: str, name: str, held: Iterable[str]) -> Problem:
    hint = did_you_mean(name, sorted(held), "it has ")
    return Problem(f"stories.{key}", f"no story {name!r} in {section.path}", hint)


def slug(label: str) -> str:
    """Turn a label into the name of a file."""
    name = re.sub(r"[^\w.=+-]+", "-", label).strip("-.") or "feature"
    return name if len(name) <= 100 else f"{name[:90]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def check_labels(labels: Sequence[str]) -> None:
    """Raise InputError if two labels would have the same file, also on a disk that ignores the case of letters."""
    names = [slug(label).casefold() for label in labels]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(
                f"features: the labels {labels[names.index(name)]!r} and {labels[i]!r} would have the same file, "
                f"{slug(labels[i])}; change one of them"
            )


def places_of(opened: Sequence[Spaces], out: Path, stories: Sequence[Story]) -> list[list[Place]]:
    """List the files of the spaces of each pass (path, label, attributes), or raise InputError with all problems."""
    problems: list[Problem] = []
    places = [_places(out, spaces, stories, problems) for spaces in opened]
    if problems:
        raise InputError(*problems)
    return places


def _places(out: Path, spaces: Spaces, stories: Sequence[Story], problems: list[Problem]) -> list[Place]:
    try:
        return [
            (out / "vectors" / f"{slug(label)}.h5", label, spaces.attributes(number, stories))
            for number, label in enumerate(spaces.labels)
        ]
    except InputError as error:
        problems += [problem.at(spaces.labels[0]) for problem in error.problems]
        return []
    finally:
        spaces.release()


def _make(places: Sequence[Place], spaces: Spaces, stories: Sequence[Story]) -> list[Embedded]:
    """Make the files of one pass, unless all are up to date."""
    stale = any(
        not vectors_file.up_to_date(path, vectors_file.key(about), label, stories) for path, label, about in places
    )
    seconds = None
    if stale:  # spaces that share a pass are made together
        start = time.perf_counter()
        words = sum(map(len, stories))
        name = ", ".join(spaces.labels)
        with tqdm(total=words, unit="word", desc=name, file=sys.stderr, disable=None, unit_scale=True) as bar:
            kept = vocabulary(stories) if isinstance(spaces, Vocabulary) else None
            vectors_file.write(places, stories, spaces.vectors(stories, bar.update), kept)
        spaces.release()
        seconds = time.perf_counter() - start
    notes = tuple(spaces.notes)
    return [Embedded(file=vectors_file.open_vectors(path), seconds=seconds, notes=notes) for path, _, _ in places]
