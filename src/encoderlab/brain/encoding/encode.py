"""Run `encoderlab encode`: predict the responses of every subject from feature spaces of held-out stories.

OUT/vectors/LABEL.h5             as `encoderlab embed` makes them
OUT/scores/SUBJECT/LABEL.h5      one file a subject and feature space (`score`), which is not computed twice
OUT/encoding.csv, .json          the table (`summary_table`), the resolved study, the results of the alignment check
OUT/report.html
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from encoderlab.brain.encoding import page as report
from encoderlab.brain.encoding import summary_table
from encoderlab.brain.encoding.adapter_sweep import Adapted, retrain
from encoderlab.brain.encoding.check import Found, look
from encoderlab.brain.encoding.claims import sentence
from encoderlab.brain.encoding.design_rows import Counted, Fixed, Retrained, Source
from encoderlab.brain.encoding.embed import embed_study, own, slug
from encoderlab.brain.encoding.load import EncodingStudy, read, resolved
from encoderlab.brain.encoding.people import Person
from encoderlab.brain.encoding.scoring_jobs import BANDED, score_all
from encoderlab.brain.encoding.summary_row import SummaryRow
from encoderlab.brain.fmri.alignment_check import Diagnosis
from encoderlab.brain.stories.story import Story
from encoderlab.brain.vectors import vectors_file
from encoderlab.brain.vectors.features import BagOfWords, Feature
from encoderlab.core import machine
from encoderlab.core.files import write_json
from encoderlab.engine.device import choose_device


def encode(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Run an encoding study, and return the path of its report.

    Args:
        path: the study file.
        overrides: `key=value` settings that replace those of the file.

    Raises:
        InputError: something is wrong with the study, the stories or the responses; nothing was computed.
    """
    found = look(read(path, overrides), spaces=False)
    study, used, settings = found.study, found.stories, found.study.encode
    _say(*found.aligned)
    _say(f"{len(used)} stories, {sum(map(len, used)):,} words; {settings.design.trimmed}", *found.told, *found.notes)
    with own(study):
        return _encode(found)


def _encode(found: Found) -> Path:
    """Score everything, and write the table, encoding.json and the report."""
    study, people, notes, labels = found.study, found.people, found.notes, found.labels
    settings = study.encode
    sources = _sources(found)
    joint = BANDED in labels
    device = str(choose_device(settings.device))
    scored = score_all(study, people, sources, joint, device)
    rows = summary_table.rows(scored, labels, settings)
    for person in people:
        summary_table.write_comparisons(
            study.out / "comparisons" / f"{person.name}.h5", person.name, scored, labels, settings
        )
    summary_table.write_csv(study.out / "encoding.csv", rows)
    claims = summary_table.best(scored, labels, settings)
    _say(*(sentence(subject, claim) for subject, claim in claims.items() if claim.others))
    account = _account(study, rows, people, found.alignments, labels, [*found.told, *notes])
    account["best"] = {subject: claim.to_json() for subject, claim in claims.items()}
    write_json(study.out / "encoding.json", account)
    return report.write(study.out)


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _sources(found: Found) -> list[Source]:
    """Make the vectors of the study's feature spaces, and return the spaces in order."""
    study, stories = found.study, found.stories
    plain = tuple((label, feature) for label, feature in found.features if not isinstance(feature, Adapted))
    embedded = embed_study(replace(study, features=plain), stories)
    files = {space.file.label: space.file for space in embedded}
    notes = [f"{space.file.label}: {line}" for space in embedded for line in space.notes]
    for file in files.values():
        if missing := file.counts.get("missing"):
            notes.append(
                f"{file.label}: {missing:,} of {file.words:,} words are not in its file; their vectors are zero"
            )
        if (unknown := file.counts.get("unknown", 0)) > file.words / 100:
            notes.append(f"{file.label}: {unknown:,} of {file.words:,} words are unknown to the encoder's vocabulary")
    _say(*notes)
    found.notes.extend(notes)
    sources: list[Source] = []
    for label, feature in found.features:
        if isinstance(feature, Adapted):
            plain_label = next(label for label, other in plain if other == feature.feature)
            sources.append(_retrained(study, feature, stories, files[plain_label]))
        elif isinstance(feature, BagOfWords):
            sources.append(Counted(label=label, kind="bag-of-words", file=files[label], feature=feature))
        else:
            sources.append(Fixed(label=label, kind=files[label].kind, file=files[label]))
    return sources


def _retrained(
    study: EncodingStudy, adapted: Adapted, stories: Sequence[Story], plain: vectors_file.VectorsFile
) -> Source:
    """Make a source with a separate adapter for every group of held-out stories.

    Args:
        study: the encoding study.
        adapted: the variant and seed to train.
        stories: all stories.
        plain: the vectors of the encoder without an adapter.
    """

    def files(names: frozenset[str]) -> vectors_file.VectorsFile:
        assert names <= {story.name for story in stories}
        group = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:8]
        folder = study.out / "adapted" / f"{slug(adapted.study.stem)}-without-{group}"
        adapter = retrain(adapted, [s for s in stories if s.name not in names], folder)
        label = f"{adapted.label} without {group}"
        feature: Feature = replace(adapted.feature, adapter=str(adapter), label=None)
        (embedded,) = embed_study(replace(study, features=((label, feature),)), stories)
        return embedded.file

    text = adapted.study.read_text(encoding="utf-8")
    words = [[story.name, story.words_fingerprint] for story in stories]
    depends = json.dumps([plain.key, adapted.variant, adapted.seed, text, words])
    return Retrained(label=adapted.label, kind="encoder", files=files, size=plain.dimensions, depends=depends)


def _account(
    study: EncodingStudy,
    rows: Sequence[SummaryRow],
    people: Sequence[Person],
    alignments: dict[str, Diagnosis],
    labels: Sequence[str],
    notes: Sequence[str],
) -> dict[str, object]:
    """Make the content of encoding.json, where the alignment check is called `doctor`."""
    return {
        "study": resolved(study),
        "features": list(labels),
        "subjects": {
            person.name: {
                "stories": [story.name for story in person.stories],
                "trs": int(sum(person.responses.lengths)),
                "voxels": person.responses.voxels,
                "doctor": asdict(alignments[person.name]) | {"summary": alignments[person.name].summary},
            }
            for person in people
        },
        "rows": [row.to_json() for row in rows],
        "files": {p.name: {label: f"scores/{p.name}/{slug(label)}.h5" for label in labels} for p in people},
        "notes": list(notes),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
    }
