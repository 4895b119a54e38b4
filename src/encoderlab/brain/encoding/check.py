"""Everything about an encoding study that can be said before anything is computed: every problem at once, and what the
study would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

import torch

from encoderlab.brain.encoding.adapter_sweep import Adapted, expand
from encoderlab.brain.encoding.embed import check_labels, places_of, read_stories
from encoderlab.brain.encoding.load import EncodingDraft, EncodingStudy, read
from encoderlab.brain.encoding.origins import scans_of
from encoderlab.brain.encoding.people import Person, folds_of, match
from encoderlab.brain.encoding.scans import Scans
from encoderlab.brain.encoding.scoring_jobs import BANDED
from encoderlab.brain.encoding.settings import Encode, Reference
from encoderlab.brain.fmri import autocorrelation
from encoderlab.brain.fmri.alignment_check import Diagnosis
from encoderlab.brain.fmri.subject import Subject, open_subject
from encoderlab.brain.stories.read import noticed
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors.feature_spaces import open_spaces
from encoderlab.brain.vectors.features import BagOfWords, Encoder, Feature, FileVectors
from encoderlab.core.errors import InputError, Problem, collecting
from encoderlab.core.files import out_problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import only
from encoderlab.engine.device import choose_device
from encoderlab.launch.open_executor import problems as launch_problems


@final
@dataclass(frozen=True, kw_only=True)
class Found:
    """An encoding study without problems.

    stories: those that are used. features: (label, Feature or Adapted) of every space, masked-lm studies unfolded.
    told: how the stories were read, such as from which tier. notes: what was left out or assumed, and noticed in the
    stories. alignments: {subject: what the alignment check found}. Without responses, `people` is empty."""

    study: EncodingStudy
    stories: list[Story]
    people: list[Person]
    features: tuple[tuple[str, Any], ...]
    told: list[str]
    notes: list[str]
    alignments: dict[str, Diagnosis]

    @property
    def aligned(self) -> list[str]:
        """What the alignment check found, one line a subject."""
        return [
            f"{name}: {one.summary}" if one.warning is None else f"warning: {name}: {one.warning}"
            for name, one in self.alignments.items()
        ]

    @property
    def labels(self) -> list[str]:
        return _labels(self.features, self.study.encode)


@final
@dataclass(frozen=True, kw_only=True)
class EncodingReport:
    """An encoding study without problems: what it would do, on what.

    subjects: {name: stories, TRs, voxels, folds}. features: (label, kind, of what). fits: models of each subject's
    feature spaces, one a fold. alphas: the smallest, the largest, and how many. notes: how the stories were read.
    alignment: of each subject, one line.
    """

    name: str
    path: str
    stories: int
    words: int
    device: str
    subjects: dict[str, dict[str, int]]
    features: list[tuple[str, str, str]]
    design: str
    downsample: str
    delays: tuple[int, ...]
    alphas: tuple[float, float, int]
    scheme: str
    fits: int
    notes: list[str]
    warnings: list[str]
    alignment: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check(path: Path, overrides: Sequence[str] = ()) -> EncodingReport:
    """Look at everything: stories, responses, every file and encoder. InputError with every problem of them."""
    found = look(read(path, overrides, responses=False), spaces=True)
    study, settings = found.study, found.study.encode
    subjects = {
        person.name: {
            "stories": len(person.stories),
            "trs": sum(person.responses.lengths),
            "voxels": person.responses.voxels,
            "folds": 1 if study.reference else len(folds_of(settings, len(person.stories))),
        }
        for person in found.people
    }
    idle = [] if subjects else ["no [responses]: enough for `encoderlab embed`; `encoderlab encode` needs a subject"]
    return EncodingReport(
        name=study.name,
        path=str(path),
        stories=len(found.stories),
        words=sum(map(len, found.stories)),
        device=str(choose_device(settings.device)),
        subjects=subjects,
        features=[_described(label, feature) for label, feature in found.features]
        + [(BANDED, "banded", f"{len(found.features)} spaces")] * (len(found.labels) - len(found.features)),
        design=settings.design.trimmed,
        downsample=settings.downsample,
        delays=settings.delays,
        alphas=(min(settings.alphas), max(settings.alphas), len(settings.alphas)),
        scheme="bootstrap" if study.reference else settings.scheme,
        fits=len(found.labels) * sum(subject["folds"] for subject in subjects.values()),
        notes=found.told,
        warnings=[*idle, *found.notes],
        alignment=found.aligned,
    )


def look(draft: EncodingDraft, *, spaces: bool) -> Found:
    """Opens stories and responses and matches them; with `spaces` also every file of vectors and every encoder, which
    `embed` otherwise does itself. InputError with every problem."""
    file, problems, notes = draft.path, [*draft.problems], list[str]()
    wrong: list[Problem] = []  # their paths are keys of the study file
    if draft.out is not None and (line := out_problem(draft.out)):
        wrong.append(Problem("out", line))
    if draft.study is not None:
        wrong += launch_problems(draft.study.launch)
    settings = draft.encode
    if settings is not None:
        wrong += [problem.under("encode") for problem in _missing_here(settings)]
    problems += [problem.at(str(file)) for problem in wrong]

    opened: dict[str, Subject] = {}
    for name, place in draft.responses.items():
        with collecting(problems, f"{file}: responses.{name}"):
            opened[name] = open_subject(place)
    stories, scans = None, Scans(computed=False)
    if draft.stories is not None:
        with collecting(problems):
            scans = scans_of(draft.stories, draft.responses.values())
            stories = read_stories(draft.stories, file, scans)
    people: list[Person] = []
    if stories is not None and settings is not None:
        if counted := scans.used([story.name for story in stories]):
            notes.append(counted)
        for name, subject in opened.items():
            with collecting(problems):
                people.append(match(draft, settings, scans, name, subject, stories, notes))
        if draft.reference is not None:
            problems += [one.at(str(file)) for one in _reference_problems(draft.reference, settings, people)]

    features = None
    with collecting(problems):
        features = expand(draft.features, trained=settings is None or settings.adapt == "all stories")
    if features is not None and settings is not None:
        labels = _labels(features, settings)
        with collecting(problems):
            check_labels(labels)
        if features and settings.reference not in (None, *labels):
            hint = did_you_mean(str(settings.reference), labels, "the study has ")
            missing = Problem("encode.reference", f"no feature space {settings.reference!r}", hint)
            problems.append(missing.at(str(file)))
    if spaces and draft.out is not None:
        plain = [(label, one) for label, one in features or draft.features if not isinstance(one, Adapted)]
        with collecting(problems):  # on the CPU: nothing is computed
            places_of(open_spaces(plain, torch.device("cpu")), draft.out, stories or [])
    if problems or draft.study is None or stories is None or features is None:
        raise InputError(*problems)
    held = {story.name: story for person in reversed(people) for story in person.stories}  # TRs of the first subject
    used = [held.get(story.name, story) for story in stories if not people or story.name in held]
    assert settings is not None
    alignments = {person.name: person.alignment(settings) for person in people}
    for person in people:
        notes += person.notes(settings, alignments[person.name])
        tested = settings.permutations and draft.reference is None
        if tested and (short := autocorrelation.warning(person.responses, settings.block)):
            notes.append(f"{person.name}: {short}")
    seen = noticed(used)
    return Found(
        study=draft.study,
        stories=used,
        people=people,
        features=features,
        told=[line for line in seen if not line[0].isdigit()],
        notes=[*notes, *(line for line in seen if line[0].isdigit())],
        alignments=alignments,
    )


def _missing_here(settings: Encode) -> list[Problem]:
    found = []
    if settings.device == "cuda" and not torch.cuda.is_available():
        found.append(Problem("device", "torch finds no CUDA device here", 'use "auto" or "cpu"'))
    if settings.banded and find_spec("himalaya") is None:
        found.append(Problem("banded", "needs himalaya: pip install 'encoderlab[brain]'"))
    return found


def _labels(features: Sequence[tuple[str, Any]], settings: Encode) -> list[str]:
    """Of everything that is scored: the spaces, and banded ridge over them where there are two at least."""
    return [label for label, _ in features] + [BANDED] * (settings.banded and len(features) > 1)


def _reference_problems(reference: Reference, settings: Encode, people: Sequence[Person]) -> list[Problem]:
    problems = []
    if settings.convention != "huth":
        message = 'the laboratory\'s pipeline has "huth": its alpha is the root of the penalty'
        problems.append(Problem("encode.convention", message))
    if settings.banded:
        message = "the laboratory's pipeline has no banded ridge"
        problems.append(Problem("encode.banded", message, "remove one of the two"))
    for person in people:
        held = {story.name for story in person.stories}
        missing = [name for name in reference.test if name not in held]
        problems += [Problem("reference.test", f"{person.name} has no story {name!r}") for name in missing[:3]]
        if held <= set(reference.test):
            problems.append(Problem("reference.test", f"no story of {person.name} is left to train on"))
            continue
        left = [n - c for n, c in zip(person.responses.lengths, person.censored.counts, strict=True)]
        rows = sum(n for story, n in zip(person.stories, left, strict=True) if story.name not in reference.test)
        if reference.chunk * reference.chunks >= rows:
            chunk = min(reference.chunk, max(1, rows // 20))
            message = (
                f"{reference.chunks} chunks of {reference.chunk} TRs are held out in each bootstrap, but {person.name} "
                f"has {rows:,} training TRs; expected fewer, such as a fourth of them (chunk = {chunk}, chunks = "
                f"{max(1, rows // (4 * chunk))})"
            )
            problems.append(Problem("reference.chunks", message))
    return problems


def _described(label: str, space: Feature | Adapted) -> tuple[str, str, str]:
    """Label, kind, and of what the vectors are made."""
    if isinstance(space, Adapted):
        _, kind, of = _described(label, space.feature)
        return label, kind, f"{of}, {space.variant} of {space.study.name} without held-out stories"
    of = ""
    if isinstance(space, Encoder):
        of = f"{Path(space.model).name}, layer {space.layer}" + (", with an adapter" if space.adapter else "")
    elif isinstance(space, FileVectors):
        of = Path(space.path).name
    elif isinstance(space, BagOfWords):
        of = f"{space.size:,} words" + (" and their number" if space.rate else "")
    return label, only(type(space), "kind"), of
