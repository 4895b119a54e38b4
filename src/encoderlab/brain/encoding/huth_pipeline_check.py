"""Check whether a study fits the laboratory's pipeline, the section [reference]."""

from __future__ import annotations

from collections.abc import Sequence

from encoderlab.brain.encoding.people import Person
from encoderlab.brain.encoding.settings import Encode, Reference
from encoderlab.core.errors import Problem


def huth_pipeline_problems(pipeline: Reference, settings: Encode, people: Sequence[Person]) -> list[Problem]:
    """List what does not fit the laboratory's pipeline, the section [reference]."""
    problems = []
    if settings.convention != "huth":
        message = "the laboratory's pipeline takes alpha as the root of the penalty"
        problems.append(Problem("encode.convention", message, 'set encode.convention = "huth"'))
    if settings.banded:
        message = "the laboratory's pipeline has no banded ridge"
        problems.append(Problem("encode.banded", message, "remove one of the two"))
    for person in people:
        names = {story.name for story in person.stories}
        missing = [name for name in pipeline.test if name not in names]
        problems += [Problem("reference.test", f"{person.name} has no story {name!r}") for name in missing[:3]]
        if names <= set(pipeline.test):
            message = f"no story of {person.name} is left to train on"
            problems.append(Problem("reference.test", message, "name fewer test stories"))
            continue
        left = [n - c for n, c in zip(person.responses.lengths, person.censored.counts, strict=True)]
        rows = sum(n for story, n in zip(person.stories, left, strict=True) if story.name not in pipeline.test)
        if pipeline.chunk * pipeline.chunks >= rows:
            chunk = min(pipeline.chunk, max(1, rows // 20))
            message = (
                f"{pipeline.chunks} chunks of {pipeline.chunk} TRs are held out in each bootstrap, but {person.name} "
                f"has {rows:,} training TRs; expected fewer, such as a fourth of them (chunk = {chunk}, chunks = "
                f"{max(1, rows // (4 * chunk))})"
            )
            problems.append(Problem("reference.chunks", message))
    return problems
