"""A subject and its stories: which belong together, whether their rows fit, and what ridge regression gets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

import numpy as np

from encoderlab.brain.encoding.load import EncodingDraft
from encoderlab.brain.encoding.measured import looked_through, too_short
from encoderlab.brain.encoding.mixed import mixed
from encoderlab.brain.encoding.scans import Assumed, Scans, alignment, fitted
from encoderlab.brain.encoding.settings import Encode
from encoderlab.brain.fmri.alignment_check import Diagnosis
from encoderlab.brain.fmri.arrays import why_no_story
from encoderlab.brain.fmri.censored import Censored, censored
from encoderlab.brain.fmri.responses import StoryResponses
from encoderlab.brain.fmri.subject import Subject
from encoderlab.brain.ridge.folds import Folds
from encoderlab.brain.stories.story import Story
from encoderlab.core.errors import InputError, Problem, collecting


@final
@dataclass(frozen=True, kw_only=True)
class Person:
    """A subject with the stories that are used of it, in the order of the study's stories.

    stories: with the TRs of this subject's scans. responses: as they are stored, repeats made one.
    scans: where the TR times come from. recorded: TRs of each recording. assumed: where the scans have others.
    """

    name: str
    subject: Subject
    stories: list[Story]
    responses: StoryResponses
    scans: Scans = field(default_factory=lambda: Scans(computed=False))
    recorded: tuple[int, ...] = ()
    assumed: Assumed = field(default_factory=Assumed)

    @cached_property
    def censored(self) -> Censored:
        return censored(self.responses)

    def scored(self, settings: Encode, *, reference: bool = False) -> StoryResponses:
        """Without censored TRs and stories that are too short, and centred within each story; the laboratory's pipeline
        takes them as they are."""
        kept = self.responses.without(self.censored.rows)
        if reference:
            return kept
        kept = kept.missing_in(too_short(self.responses, self.censored))
        return kept.centred() if settings.centre else kept

    def alignment(self, settings: Encode) -> Diagnosis:
        found = alignment(self.stories, self.responses, settings, self.scans, self.recorded)
        if (said := mixed(self.stories, self.responses, settings.trim)) is not None:  # before any key that fits
            found = replace(found, warning=said)
        return found

    def notes(self, settings: Encode, found: Diagnosis) -> list[str]:
        """What is assumed, made one, or left out. found: the alignment of the subject."""
        lines = [*self.subject.notes, *self._repeats(settings)]
        if self.assumed.said:  # another key is to blame where the alignment is wrong
            lines.append(self.assumed.said + (self.assumed.advice if found.warning is None else ""))
        return [f"{self.name}: {line}" for line in (*lines, *self._censored())]

    def _repeats(self, settings: Encode) -> list[str]:
        found = self.responses.repeats
        what = "averaged" if settings.repeats == "average" else "the first taken"
        said = ", ".join(f"{story} {count}" for story, count in list(found.items())[:5])
        return [f"repeats {what}: {said}{', ...' if len(found) > 5 else ''}"] if found else []

    def _censored(self) -> list[str]:
        counts = {story.name: n for story, n in zip(self.stories, self.censored.counts, strict=True) if n}
        if not counts:
            return []
        where = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:10])
        return [
            f"{sum(counts.values()):,} censored TRs (nan in every voxel) left out of training and scoring: {where}"
            f"{', ...' if len(counts) > 10 else ''}"
        ]


def opened(name: str, subject: Subject, stories: list[Story], settings: Encode) -> Person:
    """A subject whose stories are known to fit."""
    names = [story.name for story in stories]
    subject = subject.grouped(names)
    responses = subject.responses(names, settings.repeats)
    return Person(name=name, subject=subject, stories=stories, responses=responses)


def match(
    draft: EncodingDraft,
    settings: Encode,
    scans: Scans,
    name: str,
    subject: Subject,
    stories: Sequence[Story],
    notes: list[str],
) -> Person:
    """Find the stories that a subject has words and responses of.

    Args:
        draft: of the study.
        settings: its section [encode].
        scans: where the TR times of the stories come from.
        name: of the subject.
        subject: what there is of it.
        stories: all of the study, with the TRs of the recordings.
        notes: gets what was left out or assumed.

    Raises:
        InputError: every problem of the subject's stories, folds and rows.
    """
    chosen = draft.stories is not None and draft.stories.names is not None
    words = {story.name for story in stories}
    subject = subject.grouped(words)
    common = [story for story in stories if story.name in subject.places]
    silent = [story.name for story in stories if story.name not in subject.places]
    others = sorted(set(subject.stories) - words)
    aside = {other: why for other in others if (why := why_no_story(other, subject.places[other][0]))}
    if aside:
        said = ", ".join(f"{other} ({why})" for other, why in list(aside.items())[:5])
        notes.append(
            f"{name}: {len(aside)} arrays that are no stories: {said}{', ...' if len(aside) > 5 else ''}; left out"
        )
    problems: list[Problem] = []
    for what, names in (("no responses", silent), ("no transcript", [o for o in others if o not in aside])):
        if not names or (chosen and what == "no transcript"):
            continue
        said = f"{len(names)} stories have {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        if settings.unmatched == "refuse":
            hint = 'add them, name the stories to use under stories.names, or set encode.unmatched = "leave out"'
            problems.append(Problem(name, said, hint))
        else:
            notes.append(f"{name}: {said}; left out")
    if len(common) < 3:
        raise InputError(*problems, f"{name}: {len(common)} stories have words and responses; expected three at least")
    if draft.reference is None:
        with collecting(problems, f"{draft.path}: encode.folds"):
            folds_of(settings, len(common))
    names = [story.name for story in common]
    with collecting(problems, name):
        responses = subject.responses(names, settings.repeats)
        with collecting(problems, name):
            seen = looked_through(responses, censored(responses), settings, reference=draft.reference is not None)
            notes += [f"{name}: {line}" for line in seen]
        with np.errstate(invalid="ignore"):  # what is infinite is reported above
            placed, assumed = fitted(common, responses, settings, scans)
    if problems:
        raise InputError(*problems)
    return Person(
        name=name,
        subject=subject,
        stories=placed,
        responses=responses,
        scans=scans,
        recorded=tuple(len(story.tr_times) for story in common),
        assumed=assumed,
    )


def folds_of(settings: Encode, stories: int) -> Folds:
    """InputError for more folds than stories."""
    if settings.folds is None:
        return Folds.leave_one_out(stories)
    return Folds.k_fold(stories, settings.folds, settings.seed)
