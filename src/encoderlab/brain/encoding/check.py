"""Check an encoding study before anything is computed: list every problem at once, and what the study would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

import torch

from encoderlab.brain.encoding.adapter_sweep import Adapted, expand
from encoderlab.brain.encoding.embed import check_labels, places_of, read_stories
from encoderlab.brain.encoding.huth_pipeline_check import huth_pipeline_problems
from encoderlab.brain.encoding.load import EncodingDraft, EncodingStudy, read
from encoderlab.brain.encoding.origins import scans_of
from encoderlab.brain.encoding.people import Person, folds_of, match
from encoderlab.brain.encoding.scans import Scans
from encoderlab.brain.encoding.scoring_jobs import BANDED
from encoderlab.brain.encoding.settings import Encode
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
    """An encoding study without problems, with its stories and responses opened.

    Attributes:
        study: the study.
        stories: the stories that are used.
        people: the subjects; empty without responses.
        features: (label, Feature or Adapted) of every space; a masked-lm study is replaced by its runs.
        told: how the stories were read, for example from which tier.
        notes: what was left out, assumed, or noticed in the stories.
        alignments: {subject: result of the alignment check}.
    """

    study: EncodingStudy
    stories: list[Story]
    people: list[Person]
    features: tuple[tuple[str, Any], ...]
    told: list[str]
    notes: list[str]
    alignments: dict[str, Diagnosis]

    @property
    def aligned(self) -> list[str]:
        """The results of the alignment check, one line a subject."""
        return [
            f"{name}: {diagnosis.summary}" if diagnosis.warning is None else f"warning: {name}: {diagnosis.warning}"
            for name, diagnosis in self.alignments.items()
        ]

    @property
    def labels(self) -> list[str]:
        """The labels of everything that is scored."""
        return _labels(self.features, self.study.encode)


@final
@dataclass(frozen=True, kw_only=True)
class EncodingReport:
    """What an encoding study without problems would do.

    Attributes:
        name: of the study.
        path: of its file.
        stories: number of stories.
        words: number of words.
        device: where it would run.
        subjects: {name: {"stories", "trs", "voxels", "folds"}}.
        features: (label, kind, what the vectors are made of) of each space.
        design: the trimming, in words.
        downsample: how words become TRs.
        delays: in TRs.
        alphas: the smallest, the largest, and the number of them.
        scheme: how alpha is chosen.
        fits: number of models, one per fold, space and subject.
        notes: how the stories were read.
        warnings: what was left out, assumed or noticed.
        alignment: one line a subject.
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

    def as_dict(self) -> dict[str, object]:
        """Return the fields as a dict of plain values."""
        return asdict(self)


def check(path: Path, overrides: Sequence[str] = ()) -> EncodingReport:
    """Check stories, responses, every file and every encoder of a study.

    Args:
        path: the study file.
        overrides: `key=value` settings that replace those of the file.

    Raises:
        InputError: something is wrong; the message lists every problem.
    """
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
    idle = (
        []
        if subjects
        else ["the study has no [responses]: `encoderlab embed` works without, `encoderlab encode` needs a subject"]
    )
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
    """Open the stories and responses of a study, and match them.

    Args:
        draft: the study as read.
        spaces: whether to open every file of vectors and every encoder too; without, `embed` does so later.

    Raises:
        InputError: something is wrong; the message lists every problem.
    """
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
            problems += [one.at(str(file)) for one in huth_pipeline_problems(draft.reference, settings, people)]

    features = _opened_features(draft, stories or [], spaces, problems)
    if problems or draft.study is None or stories is None or features is None:
        raise InputError(*problems)
    # Of a story that several subjects have, the TRs of the first one.
    with_responses = {story.name: story for person in reversed(people) for story in person.stories}
    used = [with_responses.get(story.name, story) for story in stories if not people or story.name in with_responses]
    assert settings is not None
    alignments = {person.name: person.alignment(settings) for person in people}
    notes += _notes(people, settings, alignments, tested=bool(settings.permutations) and draft.reference is None)
    story_notes = noticed(used)  # notes that begin with a number count what is odd
    return Found(
        study=draft.study,
        stories=used,
        people=people,
        features=features,
        told=[line for line in story_notes if not line[0].isdigit()],
        notes=[*notes, *(line for line in story_notes if line[0].isdigit())],
        alignments=alignments,
    )


def _notes(people: Sequence[Person], settings: Encode, alignments: dict[str, Diagnosis], *, tested: bool) -> list[str]:
    """List the notes on each subject, and on blocks that are too short if voxels are `tested`."""
    notes = []
    for person in people:
        notes += person.notes(settings, alignments[person.name])
        if tested and (too_short := autocorrelation.warning(person.responses, settings.block)):
            notes.append(f"{person.name}: {too_short}")
    return notes


def _opened_features(
    draft: EncodingDraft, stories: Sequence[Story], spaces: bool, problems: list[Problem]
) -> tuple[tuple[str, Any], ...] | None:
    """Replace masked-lm studies by their runs, and check the labels; with `spaces`, open every file and encoder."""
    settings, features = draft.encode, None
    with collecting(problems):
        features = expand(draft.features, trained=settings is None or settings.adapt == "all stories")
    if features is not None and settings is not None:
        labels = _labels(features, settings)
        with collecting(problems):
            check_labels(labels)
        if features and settings.reference not in (None, *labels):
            hint = did_you_mean(str(settings.reference), labels, "the study has ")
            missing = Problem("encode.reference", f"no feature space {settings.reference!r}", hint)
            problems.append(missing.at(str(draft.path)))
    if spaces and draft.out is not None:
        plain = [(label, space) for label, space in features or draft.features if not isinstance(space, Adapted)]
        with collecting(problems):  # on the CPU, as nothing is computed
            places_of(open_spaces(plain, torch.device("cpu")), draft.out, stories)
    return features


def _missing_here(settings: Encode) -> list[Problem]:
    """List the devices and packages that the study needs and this machine lacks."""
    lines = []
    if settings.device == "cuda" and not torch.cuda.is_available():
        lines.append(Problem("device", "torch finds no CUDA device here", 'use "auto" or "cpu"'))
    if settings.banded and find_spec("himalaya") is None:
        message = "needs himalaya, which is not installed"
        lines.append(Problem("banded", message, "run pip install 'encoderlab[brain]'"))
    return lines


def _labels(features: Sequence[tuple[str, Any]], settings: Encode) -> list[str]:
    """List the labels of everything that is scored: the spaces, and banded ridge if there are at least two."""
    return [label for label, _ in features] + [BANDED] * (settings.banded and len(features) > 1)


def _described(label: str, space: Feature | Adapted) -> tuple[str, str, str]:
    """Describe a space by its label, its kind, and what its vectors are made of."""
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
