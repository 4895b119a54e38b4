"""Hash everything that the scores of a subject depend on, to tell whether a file of scores is up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from encoderlab.brain.encoding import score
from encoderlab.brain.encoding.design_rows import Source
from encoderlab.brain.encoding.load import EncodingStudy
from encoderlab.brain.encoding.people import Person
from encoderlab.core import hashing


def score_key(study: EncodingStudy, person: Person, sources: Sequence[Source]) -> str:
    """Hash everything that the numbers depend on."""
    settings = study.encode
    irrelevant = ("q", "reference", "banded", "memory_gib", "device", "unmatched")  # they do not change the numbers
    shaping = {key: value for key, value in asdict(settings).items() if key not in irrelevant}
    keys, words = [source.key for source in sources], [story.words_fingerprint for story in person.stories]
    how = None if study.reference is None else asdict(study.reference)
    parts = [score.FORMAT, keys, _fingerprint(person), words, shaping, how]
    times = hashing.array_hash(np.concatenate([np.concatenate([s.times, s.tr_times]) for s in person.stories]))
    return hashlib.sha256(json.dumps([*parts, times], default=str).encode()).hexdigest()


def _fingerprint(person: Person) -> list[Any]:
    """List names, sizes and times of change of the response files; their content can be tens of gigabytes."""
    files = person.subject.files([story.name for story in person.stories])
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
