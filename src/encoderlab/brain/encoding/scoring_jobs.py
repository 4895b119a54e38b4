"""Every feature space against every subject: each pair is a piece of work, or several of a range of voxels each.

A piece leaves a file of scores (`score`); a pair's pieces are put together here, and what holds for all voxels at once
(the false discovery rate, warnings) is made of the whole. Pieces are cut by [launch] voxels, not by who does them, so
that the numbers do not depend on that.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from tqdm import tqdm

from encoderlab.brain.encoding import other_models, score
from encoderlab.brain.encoding.design_rows import Retrained, Source, Uncensored
from encoderlab.brain.encoding.embed import slug
from encoderlab.brain.encoding.load import EncodingStudy
from encoderlab.brain.encoding.people import Person, folds_of, opened
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.fmri.scores import over_stories
from encoderlab.brain.fmri.significance import benjamini_hochberg
from encoderlab.brain.fmri.subject import open_subject
from encoderlab.brain.ridge.result import edge_warnings
from encoderlab.brain.stories.story import Story
from encoderlab.core import hashing
from encoderlab.core.errors import EncoderlabError, InputError
from encoderlab.launch.executor import Executor, Here, WorkItem
from encoderlab.launch.open_executor import open_executor
from encoderlab.report.text import correlation

BANDED = "all spaces, banded"


@final
@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A subject, a label, and the voxels from start to stop; stop None: all of them, in the pair's own file."""

    subject: str
    label: str
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        text = json.dumps([self.subject, self.label, self.start, self.stop])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@final
@dataclass(frozen=True, kw_only=True)
class Scoring:
    """The work of an encoding study's executor. stories: used of each subject."""

    study: EncodingStudy
    stories: Mapping[str, list[Story]]
    sources: tuple[Source, ...]
    device: str

    def __call__(self, ask: JobSpec) -> list[str]:
        """Makes the file of a piece; returns what there is to say about it."""
        person, sources = self.person(ask.subject), self.used(ask.label)
        title = f"{person.name}: {ask.label}"
        try:
            made = _made(self.study, person, sources, title, ask, self.device)
        except InputError as error:
            raise InputError(*(problem.at(title) for problem in error.problems)) from None
        score.write(self.path(ask), made)
        return [] if ask.stop is not None else told(title, made)

    def known(self, ask: JobSpec) -> list[str] | None:
        return None if self.kept(ask) is None else []

    def kept(self, ask: JobSpec) -> score.Scores | None:
        """From its file, where that is of today's vectors, responses and settings."""
        return score.read(self.path(ask), self.key(ask))

    def person(self, name: str) -> Person:
        return opened(name, open_subject(self.study.responses[name]), self.stories[name], self.study.encode)

    def used(self, label: str) -> list[Source]:
        return list(self.sources) if label == BANDED else [one for one in self.sources if one.label == label]

    def key(self, ask: JobSpec) -> str:
        return _key(self.study, self.person(ask.subject), self.used(ask.label))

    def path(self, ask: JobSpec) -> Path:
        folder = self.study.out / "scores" / ask.subject
        if ask.stop is None:
            return folder / f"{slug(ask.label)}.h5"
        return folder / "pieces" / f"{slug(ask.label)}-{ask.start}-{ask.stop}.h5"


def told(title: str, made: score.Scores) -> list[str]:
    mean = over_stories(made.scores).mean  # as in the table: a story's mean over voxels, and the mean of those
    if math.isnan(mean):
        why = [line for line in made.notes if "(story, voxel) pairs" in line]
        first = ": ".join([f"{title}: no voxel could be scored", *("; ".join(why),) * bool(why)])
    else:
        first = f"{title}: mean r {correlation(mean)}"
    return [first, *(f"warning: {title}: {line}" for line in made.warnings)]


def score_all(
    study: EncodingStudy, people: Sequence[Person], sources: Sequence[Source], joint: bool, device: str
) -> dict[tuple[str, str], score.Scores]:
    """{(subject, label): scores}, in the order of subjects and spaces. joint: banded ridge over all spaces as well.

    A space whose adapter is trained anew for every group of stories is scored in this process: it trains."""
    everything = Scoring(
        study=study, stories={person.name: person.stories for person in people}, sources=tuple(sources), device=device
    )
    sent = replace(everything, sources=tuple(one for one in sources if not isinstance(one, Retrained)))
    labels = [source.label for source in sources] + [BANDED] * joint
    trains = {one.label for one in sources if isinstance(one, Retrained)}
    local = {label for label in labels if label in trains or (label == BANDED and trains)}
    pairs = [JobSpec(subject=person.name, label=label) for person in people for label in labels]
    places = {pair: place for place, pair in enumerate(pairs)}
    voxels = {person.name: person.responses.voxels for person in people}
    found = {pair: kept for pair in pairs if (kept := everything.kept(pair)) is not None}
    missing = [pair for pair in pairs if pair not in found]
    for here in (True, False):
        mine = [pair for pair in missing if (pair.label in local) == here]
        if not mine:
            continue
        cut = {pair: list(_cut(study, everything.used(pair.label), pair, voxels[pair.subject])) for pair in mine}
        with _executor(study, everything if here else sent, here) as executor:
            for pair, asks in cut.items():
                key = everything.key(pair)[:16]  # a worker of an earlier command may do the same of other settings
                for number, ask in enumerate(asks):
                    executor.submit(WorkItem(name=f"{ask.name}-{key}", rank=(places[pair], number), ask=ask))
            left = {pair: len(asks) for pair, asks in cut.items()}
            for done in executor.finished():
                ask: JobSpec = done.piece.ask
                if done.died is not None:
                    raise EncoderlabError(f"{ask.subject}: {ask.label}: {done.died}")
                pair = JobSpec(subject=ask.subject, label=ask.label)
                left[pair] -= 1
                lines = done.value
                if not left[pair] and ask.stop is not None:
                    lines = _put_together(everything, pair, cut[pair])
                for line in lines:
                    print(line, file=sys.stderr)
        for pair in mine:
            if (kept := everything.kept(pair)) is None:
                raise _gone(everything.path(pair))
            found[pair] = kept
    return {(pair.subject, pair.label): found[pair] for pair in pairs}


def _executor(study: EncodingStudy, work: Scoring, here: bool) -> Executor:
    if here or study.launch.on == "here":
        return Here(lambda ask: work(ask) if (said := work.known(ask)) is None else said)
    return open_executor(study.launch, study.out / "launch", work, known=work.known, cuda=work.device == "cuda")


def _cut(study: EncodingStudy, sources: Sequence[Source], pair: JobSpec, voxels: int) -> Iterator[JobSpec]:
    """The pieces of a pair. One alone where the voxels are not independent of each other."""
    size = study.launch.voxels
    together = len(sources) > 1 or study.reference is not None or study.encode.shared_alpha
    if size is None or size >= voxels or together or isinstance(sources[0], Retrained):
        yield pair
        return
    for start in range(0, voxels, size):
        yield replace(pair, start=start, stop=min(start + size, voxels))


def _put_together(work: Scoring, pair: JobSpec, asks: Sequence[JobSpec]) -> list[str]:
    """Writes the pair's file from those of its pieces; returns what there is to say about it."""
    parts = []
    for ask in asks:
        part = work.kept(ask)
        if part is None:
            raise _gone(work.path(ask))
        parts.append(part)
    whole = joined(parts, [f"voxels {ask.start} to {ask.stop}" for ask in asks])
    score.write(work.path(pair), whole)
    for ask in asks:
        work.path(ask).unlink()
    return told(f"{pair.subject}: {pair.label}", whole)


def _gone(path: Path) -> EncoderlabError:
    return EncoderlabError(
        f"{path}: gone or written over before it could be read, as by a worker of an earlier command; run the same "
        "command again"
    )


def joined(parts: Sequence[score.Scores], names: Sequence[str]) -> score.Scores:
    """Scores of neighbouring ranges of voxels as those of all of them. names: of the ranges, for what only some say."""
    over = {
        key: np.concatenate([getattr(part, key) for part in parts], axis=-1)
        for key in ("scores", "mean", "pooled", "r2", "alphas", "p", "curve", "split")
    }
    grid = parts[0].grid
    texts: dict[str, list[str]] = {}
    for kind in ("notes", "warnings"):
        said = [
            [line for line in getattr(part, kind) if line not in edge_warnings(part.alphas, grid)] for part in parts
        ]
        texts[kind] = [
            line if all(line in other for other in said) else f"{name}: {line}"
            for name, lines in zip(names, said, strict=True)
            for line in lines
        ]
    return replace(
        parts[0],
        **over,
        about={**parts[0].about, "seconds": sum(part.about["seconds"] for part in parts)},
        q=benjamini_hochberg(over["p"]),
        notes=list(dict.fromkeys(texts["notes"])),
        warnings=[*edge_warnings(over["alphas"], grid), *dict.fromkeys(texts["warnings"])],
    )


def _key(study: EncodingStudy, person: Person, sources: Sequence[Source]) -> str:
    """Of everything that the numbers depend on."""
    settings = study.encode
    irrelevant = ("q", "reference", "banded", "memory_gib", "device", "unmatched")  # for these numbers
    shaping = {key: value for key, value in asdict(settings).items() if key not in irrelevant}
    keys, words = [source.key for source in sources], [story.words_fingerprint for story in person.stories]
    how = None if study.reference is None else asdict(study.reference)
    parts = [score.FORMAT, keys, _fingerprint(person), words, shaping, how]
    times = hashing.array_hash(np.concatenate([np.concatenate([s.times, s.tr_times]) for s in person.stories]))
    return hashlib.sha256(json.dumps([*parts, times], default=str).encode()).hexdigest()


def _made(
    study: EncodingStudy, person: Person, sources: Sequence[Source], title: str, ask: JobSpec, device: str
) -> score.Scores:
    settings = study.encode
    folds = folds_of(settings, len(person.stories))
    about = {
        "feature": ask.label,
        "subject": person.name,
        "key": _key(study, person, sources),
        "convention": settings.convention,
        "scheme": settings.scheme,
        "adapt": settings.adapt,
        "permutations": settings.permutations,
        "block": settings.block,
    }
    pipeline = study.reference is not None
    responses, left_out = person.scored(settings, reference=pipeline), person.censored.rows
    responses = responses if ask.stop is None else _some(responses, ask.start, ask.stop)
    common = (person.stories, responses, settings)
    with tqdm(total=100, desc=title, unit="%", file=sys.stderr, disable=None, leave=False) as bar:
        if study.reference is not None:
            return other_models.reference(sources[0], *common, study.reference, about, left_out)
        used = [Uncensored(label=one.label, kind=one.kind, source=one, left_out=left_out) for one in sources]
        if len(sources) > 1:
            return other_models.banded(used, *common, folds, about, device)
        return score.score(used[0], *common, folds, about, device, _percent(bar))


def _some(responses: StoryResponses, start: int, stop: int) -> StoryResponses:
    """The same of a range of voxels."""

    def load(story: int, voxels: slice) -> np.ndarray:
        return responses.read(story, slice(start + voxels.start, start + voxels.stop))

    return replace(responses, voxels=stop - start, load=load)


def _percent(bar: Any) -> Callable[[float], None]:
    def show(share: float) -> None:
        bar.update(max(0, int(100 * share) - bar.n))

    return show


def _fingerprint(person: Person) -> list[Any]:
    """Which responses: names, sizes and times of change of the files. Their content can be tens of gigabytes."""
    files = person.subject.files([story.name for story in person.stories])
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
