"""`encoderlab embed`: the vectors of every word of every story in every feature space, each made once.

    OUT/stories.parquet          the stories, in our form
    OUT/vectors/LABEL.h5         one file a feature space (`vectors_file`)

A file whose key and words are those of today is left as it is, so that a second call does nothing.
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
from typing import Any, final

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

Place = tuple[Path, str, dict[str, Any]]


@final
@dataclass(frozen=True, kw_only=True)
class Embedded:
    """seconds: of making it; None where the file was up to date. notes: what to know of its encoder."""

    file: VectorsFile
    seconds: float | None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        file = self.file
        said = {"feature": file.label, "kind": file.kind, "dimensions": file.dimensions, "words": file.words}
        return {**said, **file.counts, "seconds": self.seconds, "file": str(file.path)}


def embed(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Story], list[Embedded]]:
    """The stories of a study and the files of its feature spaces, made where they are missing or out of date."""
    study = load(path, overrides, responses=False)
    study = replace(study, features=expand(study.features, trained=True))
    stories = read_stories(study.stories, study.path)
    with own(study):
        return stories, embed_study(study, stories)


def own(study: EncodingStudy) -> AbstractContextManager[None]:
    """The lock of a study's output folder. InputError where another command works on it."""
    advice = "wait until it is done, or stop it, or choose another folder with -s out=FOLDER"
    return locks.hold(study.out, advice=advice, inner=("vectors", "scores/*", "comparisons"))


def embed_study(study: EncodingStudy, stories: Sequence[Story]) -> list[Embedded]:
    """In the order of the study's feature spaces."""
    check_labels([label for label, _ in study.features])
    opened = open_spaces(study.features, choose_device(study.encode.device))
    places = places_of(opened, study.out, stories)
    kept = study.out / "stories.parquet"
    if kept.resolve() != Path(study.stories.path).resolve():  # which may be what an earlier call kept
        save(stories, kept)
    made = {
        one.file.label: one for some, spaces in zip(places, opened, strict=True) for one in _make(some, spaces, stories)
    }
    return [made[label] for label, _ in study.features]


def read_stories(section: StoriesSection, study: Path, scans: Scans | None = None) -> list[Story]:
    """Read the stories of a study's section, or those that it names.

    Args:
        section: of the study.
        study: its file, for messages.
        scans: what is known of their scans; None: what the section itself says.

    Raises:
        InputError: a name that is not there, or a key that such a file has no use for.
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
    held = {story.name: story for story in stories}
    for key in ("before", "after"):
        given = getattr(section, key)
        if isinstance(given, Mapping) and (unknown := [name for name in given if name not in held]):
            raise InputError(_no_story(section, key, unknown[0], held).at(str(study)))
    if section.names is None:
        return stories
    if missing := [name for name in section.names if name not in held]:
        raise InputError(_no_story(section, "names", missing[0], held).at(str(study)))
    return [held[name] for name in section.names]


def _no_story(section: StoriesSection, key: str, name: str, held: Iterable[str]) -> Problem:
    hint = did_you_mean(name, sorted(held), "it has ")
    return Problem(f"stories.{key}", f"no story {name!r} in {section.path}", hint)


def slug(label: str) -> str:
    """A label as the name of a file."""
    name = re.sub(r"[^\w.=+-]+", "-", label).strip("-.") or "feature"
    return name if len(name) <= 100 else f"{name[:90]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def check_labels(labels: Sequence[str]) -> None:
    """InputError for two labels that would be one file, on a disk that does not tell capitals apart."""
    names = [slug(label).casefold() for label in labels]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(
                f"features: the labels {labels[names.index(name)]!r} and {labels[i]!r} would be one file, "
                f"{slug(labels[i])}; change one of them"
            )


def places_of(opened: Sequence[Spaces], out: Path, stories: Sequence[Story]) -> list[list[Place]]:
    """The files of the spaces of each pass: path, label, attributes. InputError with the problems of all of them."""
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
