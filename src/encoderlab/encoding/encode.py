"""`encoderlab encode`: stories and feature spaces -> responses of every subject, held out story by story -> one page.

OUT/vectors/LABEL.h5             as `encoderlab embed` makes them
OUT/scores/SUBJECT/LABEL.h5      one file a subject and feature space (`score`); what is there is not done again
OUT/encoding.csv, .json          the table (`table`), the resolved study, the doctor's findings
OUT/report.html
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from encoderlab import runs
from encoderlab.brain.align import row_problems
from encoderlab.brain.doctor import Diagnosis, diagnose
from encoderlab.brain.subject import Subject, open_subject
from encoderlab.config.encoding import EncodingStudy, load, resolved
from encoderlab.config.encoding_schema import BagOfWords, Encode, Feature
from encoderlab.config.values import near
from encoderlab.encoding import table, vectors_file
from encoderlab.encoding.embed import check_labels, embed_study, own, read_stories, slug
from encoderlab.encoding.rows import Counted, Fixed, Retrained, Source
from encoderlab.encoding.scoring import BANDED, Person, score_all
from encoderlab.encoding.sweep import Adapted, expand, retrain
from encoderlab.errors import InputError
from encoderlab.files import write_json
from encoderlab.launch.choose import problems
from encoderlab.report import encoding as report
from encoderlab.stories import Story
from encoderlab.stories.read import noticed
from encoderlab.training.precision import choose_device


def encode(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Run an encoding study; returns the path of its report. InputError before anything is computed if anything is
    wrong with the study, the stories or the responses."""
    study = load(path, overrides)
    if lines := problems(study.launch):
        raise InputError(*(f"{path}: {line}" for line in lines))
    settings = study.encode
    subjects = {name: _subject(study, name, place) for name, place in study.responses.items()}
    everything = read_stories(study, _scans(subjects, settings))
    notes: list[str] = []
    people = [_person(study, name, subject, everything, notes) for name, subject in subjects.items()]
    _check_rows(people, settings)
    _check_reference(study, people)
    doctor = {person.name: _diagnose(person, settings) for person in people}
    for name, one in doctor.items():
        _say(f"{name}: {one.summary}" if one.warning is None else f"warning: {name}: {one.warning}")
    used = [story for story in everything if any(story in person.stories for person in people)]
    _say(f"{len(used)} stories, {sum(map(len, used)):,} words; {settings.design.trimmed}", *notes)
    with own(study):
        return _encode(study, people, used, doctor, notes)


def _encode(
    study: EncodingStudy,
    people: Sequence[Person],
    used: Sequence[Story],
    doctor: dict[str, Diagnosis],
    notes: list[str],
) -> Path:
    settings = study.encode
    sources = _sources(study, used, notes)
    joint = settings.banded and len(sources) > 1
    labels = [source.label for source in sources] + [BANDED] * joint
    device = str(choose_device(settings.device))
    found = score_all(study, people, sources, joint, device)
    rows = table.rows(found, labels, settings)
    for person in people:
        table.write_comparisons(study.out / "comparisons" / f"{person.name}.h5", person.name, found, labels, settings)
    table.write_csv(study.out / "encoding.csv", rows)
    write_json(study.out / "encoding.json", _account(study, rows, people, doctor, labels, notes))
    return report.write(study.out)


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _subject(study: EncodingStudy, name: str, place: Path) -> Subject:
    try:
        return open_subject(place)
    except InputError as error:
        raise InputError(*(f"{study.path}: responses.{name}: {line}" for line in error.problems)) from None


def _scans(subjects: Mapping[str, Subject], settings: Encode) -> dict[str, int]:
    """TRs of the scan of every story, from its responses: what a TextGrid or a TSV cannot know."""
    found: dict[str, int] = {}
    for subject in subjects.values():
        lengths = subject.responses(subject.stories).lengths
        found = {name: rows + sum(settings.trim) for name, rows in zip(subject.stories, lengths, strict=True)} | found
    return found


def _person(study: EncodingStudy, name: str, subject: Subject, stories: Sequence[Story], notes: list[str]) -> Person:
    held = set(subject.stories)
    common = [story for story in stories if story.name in held]
    silent = [story.name for story in stories if story.name not in held]
    unread = sorted(held - {story.name for story in stories})
    for what, names in (("no responses", silent), ("no transcript", unread if study.stories.names is None else [])):
        if not names:
            continue
        said = f"{name}: {len(names)} stories have {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        if study.encode.unmatched == "refuse":
            raise InputError(
                f'{said}; add them, name the stories to use under stories.names, or set encode.unmatched = "leave out"'
            )
        notes.append(f"{said}; left out")
    if len(common) < 3:
        raise InputError(f"{name}: {len(common)} stories have words and responses; expected three at least")
    return Person(
        name=name, subject=subject, stories=common, responses=subject.responses([story.name for story in common])
    )


def _check_rows(people: Sequence[Person], settings: Encode) -> None:
    problems = []
    for person in people:
        rows = [max(0, len(story.tr_times) - sum(settings.trim)) for story in person.stories]
        names = [story.name for story in person.stories]
        lines = row_problems(names, rows, person.responses.lengths, settings.design.trimmed)
        problems += [f"{person.name}: {line}" for line in lines[:5]]
        problems += [f"{person.name}: {len(lines) - 5} more stories whose rows differ"] if len(lines) > 5 else []
    if problems:
        raise InputError(*problems)


def _check_reference(study: EncodingStudy, people: Sequence[Person]) -> None:
    if study.reference is None:
        return
    problems = []
    if study.encode.convention != "huth":
        problems.append(
            'encode.convention: the laboratory\'s pipeline has "huth": its alpha is the root of the penalty'
        )
    if study.encode.banded:
        problems.append("encode.banded: the laboratory's pipeline has no banded ridge; remove one of the two")
    for person in people:
        held = {story.name for story in person.stories}
        missing = [name for name in study.reference.test if name not in held]
        problems += [f"reference.test: {person.name} has no story {name!r}" for name in missing[:3]]
        if held <= set(study.reference.test):
            problems.append(f"reference.test: no story of {person.name} is left to train on")
    if problems:
        raise InputError(*(f"{study.path}: {line}" for line in problems))


def _diagnose(person: Person, settings: Encode) -> Diagnosis:
    times, trs = [s.times for s in person.stories], [s.tr_times for s in person.stories]
    return diagnose(times, trs, person.responses, settings.trim)


def _sources(study: EncodingStudy, stories: Sequence[Story], notes: list[str]) -> list[Source]:
    """The study's feature spaces in order, their vectors made."""
    expanded = expand(study.features, trained=study.encode.adapt == "all stories")
    labels = [label for label, _ in expanded] + ([BANDED] if study.encode.banded else [])
    check_labels(labels)
    if study.encode.reference not in (None, *labels):
        known = near(str(study.encode.reference), labels, label="the study has ")
        raise InputError(f"{study.path}: encode.reference: no feature space {study.encode.reference!r}{known}")
    plain = tuple((label, feature) for label, feature in expanded if not isinstance(feature, Adapted))
    made = {one.file.label: one.file for one in embed_study(replace(study, features=plain), stories)}
    for file in made.values():
        if missing := file.counts.get("missing"):
            notes.append(
                f"{file.label}: {missing:,} of {file.words:,} words are not in its file; their vectors are zero"
            )
        if (unknown := file.counts.get("unknown", 0)) > file.words / 100:
            notes.append(f"{file.label}: {unknown:,} of {file.words:,} words are unknown to the encoder's vocabulary")
    notes += [f"{count:,} {what} ({where})" for what, (count, where) in noticed(stories).items()]
    sources: list[Source] = []
    for label, feature in expanded:
        if isinstance(feature, Adapted):
            plain_label = next(label for label, other in plain if other == feature.feature)
            sources.append(_retrained(study, feature, stories, made[plain_label]))
        elif isinstance(feature, BagOfWords):
            sources.append(Counted(label=label, kind="bag-of-words", file=made[label], feature=feature))
        else:
            sources.append(Fixed(label=label, kind=made[label].kind, file=made[label]))
    return sources


def _retrained(
    study: EncodingStudy, adapted: Adapted, stories: Sequence[Story], plain: vectors_file.VectorsFile
) -> Source:
    """The encoder with an adapter of its own for every group of held-out stories. plain: of the encoder without."""

    def files(names: frozenset[str]) -> vectors_file.VectorsFile:
        assert names <= {story.name for story in stories}
        group = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:8]
        folder = study.out / "adapted" / f"{slug(adapted.study.stem)}-without-{group}"
        adapter = retrain(adapted, [s for s in stories if s.name not in names], folder)
        label = f"{adapted.label} without {group}"
        feature: Feature = replace(adapted.feature, adapter=str(adapter), label=None)
        (one,) = embed_study(replace(study, features=((label, feature),)), stories)
        return one.file

    text = adapted.study.read_text(encoding="utf-8")
    words = [[story.name, story.words_fingerprint] for story in stories]
    depends = json.dumps([plain.key, adapted.variant, adapted.seed, text, words])
    return Retrained(label=adapted.label, kind="encoder", files=files, size=plain.dimensions, depends=depends)


def _account(
    study: EncodingStudy,
    rows: list[dict[str, Any]],
    people: Sequence[Person],
    doctor: dict[str, Diagnosis],
    labels: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    return {
        "study": resolved(study),
        "features": list(labels),
        "subjects": {
            person.name: {
                "stories": [story.name for story in person.stories],
                "trs": int(sum(person.responses.lengths)),
                "voxels": person.responses.voxels,
                "doctor": asdict(doctor[person.name]) | {"summary": doctor[person.name].summary},
            }
            for person in people
        },
        "rows": rows,
        "files": {p.name: {label: f"scores/{p.name}/{slug(label)}.h5" for label in labels} for p in people},
        "notes": list(notes),
        "versions": runs.versions(),
        "hardware": runs.hardware(),
    }
