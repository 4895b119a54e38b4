"""Score every feature space for every subject: each pair is one job, or several jobs for ranges of voxels.

A job writes a file of scores (`score`). The jobs of a pair are joined here, and what depends on all voxels (the false
discovery rate, warnings) is computed from the whole. [launch] voxels sets the ranges, whatever computes them, so the
numbers do not depend on the executor.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from tqdm import tqdm

from encoderlab.brain.encoding import other_models, score
from encoderlab.brain.encoding.design_rows import Retrained, Source, Uncensored
from encoderlab.brain.encoding.embed import slug
from encoderlab.brain.encoding.load import EncodingStudy
from encoderlab.brain.encoding.people import Person, folds_of, opened
from encoderlab.brain.encoding.score_key import score_key
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.fmri.scores import over_stories
from encoderlab.brain.fmri.significance import benjamini_hochberg
from encoderlab.brain.fmri.subject import open_subject
from encoderlab.brain.ridge.result import edge_warnings
from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import EncoderlabError, InputError
from encoderlab.launch.executor import Executor, Here, WorkItem
from encoderlab.launch.open_executor import open_executor
from encoderlab.report.text import correlation

BANDED = "all spaces, banded"


@final
@dataclass(frozen=True, kw_only=True)
class ScoringSpec:
    """One job: a subject, a label, and the voxels from start to stop; `stop` None means all, in the pair's file."""

    subject: str
    label: str
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        """A short name, a hash of the fields."""
        text = json.dumps([self.subject, self.label, self.start, self.stop])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@final
@dataclass(frozen=True, kw_only=True)
class Scoring:
    """The function that an encoding study's executor runs.

    Attributes:
        study: the study.
        stories: {subject: the stories that are used}.
        sources: the feature spaces.
        device: of torch.
    """

    study: EncodingStudy
    stories: Mapping[str, list[Story]]
    sources: tuple[Source, ...]
    device: str

    def __call__(self, spec: ScoringSpec) -> list[str]:
        """Make the file of a job, and return lines for the user."""
        person, sources = self.person(spec.subject), self.used(spec.label)
        title = f"{person.name}: {spec.label}"
        try:
            made = _made(self.study, person, sources, title, spec, self.device)
        except InputError as error:
            raise InputError(*(problem.at(title) for problem in error.problems)) from None
        score.write(self.path(spec), made)
        return [] if spec.stop is not None else told(title, made)

    def known(self, spec: ScoringSpec) -> list[str] | None:
        """Return an empty list if the job is done, None if it is not."""
        return None if self.saved(spec) is None else []

    def saved(self, spec: ScoringSpec) -> score.Scores | None:
        """Read the scores of a job from its file, if that is up to date."""
        return score.read(self.path(spec), self.key(spec))

    def person(self, name: str) -> Person:
        """Open a subject."""
        return opened(name, open_subject(self.study.responses[name]), self.stories[name], self.study.encode)

    def used(self, label: str) -> list[Source]:
        """List the feature spaces that a label needs."""
        return list(self.sources) if label == BANDED else [source for source in self.sources if source.label == label]

    def key(self, spec: ScoringSpec) -> str:
        """Hash everything that the numbers of a job depend on."""
        return score_key(self.study, self.person(spec.subject), self.used(spec.label))

    def path(self, spec: ScoringSpec) -> Path:
        """Return the file of a job."""
        folder = self.study.out / "scores" / spec.subject
        if spec.stop is None:
            return folder / f"{slug(spec.label)}.h5"
        return folder / "pieces" / f"{slug(spec.label)}-{spec.start}-{spec.stop}.h5"


def told(title: str, made: score.Scores) -> list[str]:
    """Summarise scores in a few lines for the terminal."""
    mean = over_stories(made.scores).mean  # as in the table: the mean over stories of a story's mean over voxels
    if math.isnan(mean):
        why = [line for line in made.notes if "(story, voxel) pairs" in line]
        first = ": ".join([f"{title}: no voxel could be scored", *("; ".join(why),) * bool(why)])
    else:
        first = f"{title}: mean r {correlation(mean)}"
    return [first, *(f"warning: {title}: {line}" for line in made.warnings)]


def score_all(
    study: EncodingStudy, people: Sequence[Person], sources: Sequence[Source], joint: bool, device: str
) -> dict[tuple[str, str], score.Scores]:
    """Score all pairs that are not scored yet, and return {(subject, label): scores}, in the order of the study.

    A space whose adapter is trained again for every group of stories is scored in this process, because it trains.

    Args:
        study: the study.
        people: the subjects.
        sources: the feature spaces.
        joint: whether banded ridge over all spaces is scored too.
        device: of torch.
    """
    everything = Scoring(
        study=study, stories={person.name: person.stories for person in people}, sources=tuple(sources), device=device
    )
    sent = replace(everything, sources=tuple(source for source in sources if not isinstance(source, Retrained)))
    labels = [source.label for source in sources] + [BANDED] * joint
    trains = {source.label for source in sources if isinstance(source, Retrained)}
    local = {label for label in labels if label in trains or (label == BANDED and trains)}
    pairs = [ScoringSpec(subject=person.name, label=label) for person in people for label in labels]
    places = {pair: place for place, pair in enumerate(pairs)}
    voxels = {person.name: person.responses.voxels for person in people}
    results = {pair: saved for pair in pairs if (saved := everything.saved(pair)) is not None}
    missing = [pair for pair in pairs if pair not in results]
    for here in (True, False):
        mine = [pair for pair in missing if (pair.label in local) == here]
        if not mine:
            continue
        cut = {pair: list(_cut(study, everything.used(pair.label), pair, voxels[pair.subject])) for pair in mine}
        with _executor(study, everything if here else sent, here) as executor:
            for pair, specs in cut.items():
                key = everything.key(pair)[:16]  # a worker of an earlier command may run the job with other settings
                for number, spec in enumerate(specs):
                    executor.submit(WorkItem(name=f"{spec.name}-{key}", rank=(places[pair], number), payload=spec))
            left = {pair: len(specs) for pair, specs in cut.items()}
            for done in executor.finished():
                spec: ScoringSpec = done.item.payload
                if done.died is not None:
                    raise EncoderlabError(f"{spec.subject}: {spec.label}: {done.died}")
                pair = ScoringSpec(subject=spec.subject, label=spec.label)
                left[pair] -= 1
                lines = done.value
                if not left[pair] and spec.stop is not None:
                    lines = _put_together(everything, pair, cut[pair])
                for line in lines:
                    print(line, file=sys.stderr)
        for pair in mine:
            if (saved := everything.saved(pair)) is None:
                raise _gone(everything.path(pair))
            results[pair] = saved
    return {(pair.subject, pair.label): results[pair] for pair in pairs}


def _executor(study: EncodingStudy, work: Scoring, here: bool) -> Executor:
    if here or study.launch.on == "here":
        return Here(lambda spec: work(spec) if (lines := work.known(spec)) is None else lines)
    return open_executor(study.launch, study.out / "launch", work, known=work.known, cuda=work.device == "cuda")


def _cut(study: EncodingStudy, sources: Sequence[Source], pair: ScoringSpec, voxels: int) -> Iterator[ScoringSpec]:
    """Yield the jobs of a pair; only one if its voxels depend on each other."""
    size = study.launch.voxels
    together = len(sources) > 1 or study.reference is not None or study.encode.shared_alpha
    if size is None or size >= voxels or together or isinstance(sources[0], Retrained):
        yield pair
        return
    for start in range(0, voxels, size):
        yield replace(pair, start=start, stop=min(start + size, voxels))


def _put_together(work: Scoring, pair: ScoringSpec, specs: Sequence[ScoringSpec]) -> list[str]:
    """Write the pair's file from those of its jobs, and return lines for the user."""
    parts = []
    for spec in specs:
        part = work.saved(spec)
        if part is None:
            raise _gone(work.path(spec))
        parts.append(part)
    whole = joined(parts, [f"voxels {spec.start} to {spec.stop}" for spec in specs])
    score.write(work.path(pair), whole)
    for spec in specs:
        work.path(spec).unlink()
    return told(f"{pair.subject}: {pair.label}", whole)


def _gone(path: Path) -> EncoderlabError:
    return EncoderlabError(
        f"{path}: removed or overwritten before it was read, such as by a worker of an earlier command; "
        "run the same command again"
    )


def joined(parts: Sequence[score.Scores], names: Sequence[str]) -> score.Scores:
    """Join the scores of neighbouring ranges of voxels.

    Args:
        parts: the scores of each range.
        names: of the ranges, to mark notes that not all of them have.
    """
    over = {
        key: np.concatenate([getattr(part, key) for part in parts], axis=-1)
        for key in ("scores", "mean", "pooled", "r2", "alphas", "p", "curve", "split")
    }
    grid = parts[0].grid
    texts: dict[str, list[str]] = {}
    for kind in ("notes", "warnings"):
        by_part = [
            [line for line in getattr(part, kind) if line not in edge_warnings(part.alphas, grid)] for part in parts
        ]
        texts[kind] = [
            line if all(line in other for other in by_part) else f"{name}: {line}"
            for name, lines in zip(names, by_part, strict=True)
            for line in lines
        ]
    return replace(
        parts[0],
        **over,
        about=replace(parts[0].about, seconds=sum(part.about.seconds for part in parts)),
        q=benjamini_hochberg(over["p"]),
        notes=list(dict.fromkeys(texts["notes"])),
        warnings=[*edge_warnings(over["alphas"], grid), *dict.fromkeys(texts["warnings"])],
    )


def _made(
    study: EncodingStudy, person: Person, sources: Sequence[Source], title: str, spec: ScoringSpec, device: str
) -> score.Scores:
    settings = study.encode
    folds = folds_of(settings, len(person.stories))
    about = score.About(
        feature=spec.label,
        subject=person.name,
        key=score_key(study, person, sources),
        convention=settings.convention,
        scheme=settings.scheme,
        adapt=settings.adapt,
        permutations=settings.permutations,
        block=settings.block,
    )
    pipeline = study.reference is not None
    responses, left_out = person.scored(settings, huth_pipeline=pipeline), person.censored.rows
    responses = responses if spec.stop is None else _some(responses, spec.start, spec.stop)
    common = (person.stories, responses, settings)
    with tqdm(total=100, desc=title, unit="%", file=sys.stderr, disable=None, leave=False) as bar:
        if study.reference is not None:
            return other_models.huth_pipeline(sources[0], *common, study.reference, about, left_out)
        used = [Uncensored(label=s.label, kind=s.kind, source=s, left_out=left_out) for s in sources]
        if len(sources) > 1:
            return other_models.banded(used, *common, folds, about, device)
        return score.score(used[0], *common, folds, about, device=device, progress=_percent(bar))


def _some(responses: StoryResponses, start: int, stop: int) -> StoryResponses:
    """Restrict responses to a range of voxels."""

    def load(story: int, voxels: slice) -> np.ndarray:
        return responses.read(story, slice(start + voxels.start, start + voxels.stop))

    return replace(responses, voxels=stop - start, load=load)


def _percent(bar: Any) -> Callable[[float], None]:
    def show(share: float) -> None:
        bar.update(max(0, int(100 * share) - bar.n))

    return show
