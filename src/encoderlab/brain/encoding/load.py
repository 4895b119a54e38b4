"""Read an encoding study, a TOML file with [stories], [responses], [[features]] and [encode]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import final

from encoderlab.brain.encoding.feature_sections import CLASSES, read_features
from encoderlab.brain.encoding.settings import Encode, EncodingHeader, Reference, StoriesSection
from encoderlab.brain.vectors.features import Feature
from encoderlab.config.overrides import SettableKeys, override
from encoderlab.config.reader import Reader
from encoderlab.config.toml_file import parse
from encoderlab.core.errors import InputError, Problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import show
from encoderlab.launch.settings import Launch

SECTIONS = ("stories", "responses", "features", "encode", "reference", "launch")
OTHER_STUDY = ("data", "task", "train", "method")


@final
@dataclass(frozen=True, kw_only=True)
class EncodingStudy:
    """A complete encoding study.

    Attributes:
        stories: the section, with paths that are absolute or relative to the process.
        responses: the path of each subject.
        features: the label and the section of each feature space, in the order of the file, lists unfolded.
        top: the keys above the first section, as written.
    """

    name: str
    out: Path
    stories: StoriesSection
    responses: dict[str, Path]
    features: tuple[tuple[str, Feature], ...]
    encode: Encode
    reference: Reference | None
    launch: Launch
    path: Path
    top: EncodingHeader = field(repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the study file."""
        return self.path.parent


@final
@dataclass(frozen=True, kw_only=True)
class EncodingDraft:
    """What could be read of a study file.

    A section with a problem is None. `study` is None if there is any problem.
    """

    path: Path
    problems: tuple[Problem, ...]
    out: Path | None
    stories: StoriesSection | None
    responses: dict[str, Path]
    features: tuple[tuple[str, Feature], ...]
    encode: Encode | None
    reference: Reference | None
    study: EncodingStudy | None


def is_encoding_study(path: Path) -> bool:
    """Tell an encoding study from a fine-tuning study by the names of its sections.

    Raises:
        InputError: if the file is not TOML.
    """
    names = parse(path).keys()
    return not names.isdisjoint(("stories", "responses", "features", "encode")) and names.isdisjoint(OTHER_STUDY)


def load(path: Path, overrides: Sequence[str] = (), *, responses: bool = True) -> EncodingStudy:
    """Read an encoding study. No file that it names is opened.

    Args:
        path: a TOML file.
        overrides: the `key=value` of each `-s`.
        responses: whether the study must name responses; `embed` needs none.

    Raises:
        InputError: with every problem of the file and of the overrides.
    """
    draft = read(path, overrides, responses=responses)
    if draft.study is None:
        raise InputError(*draft.problems)
    return draft.study


def read(path: Path, overrides: Sequence[str] = (), *, responses: bool = True) -> EncodingDraft:
    """Read as much of an encoding study as possible.

    Raises:
        InputError: only if the file is not TOML.
    """
    raw = parse(path)
    reader = Reader(path)
    override(reader, raw, overrides, _settable())
    top = reader.header(EncodingHeader, raw, SECTIONS)
    stories = reader.section(StoriesSection, raw.get("stories", {}), "stories")
    if stories and stories.names and len(set(stories.names)) < len(stories.names):
        reader.problem("stories.names", "a story is named twice")
    encode = reader.section(Encode, raw.get("encode", {}), "encode")
    reference = reader.section(Reference, raw["reference"], "reference") if "reference" in raw else None
    launch = reader.section(Launch, raw.get("launch", {}), "launch")
    reader.add(encode.design.problems() if encode else (), "encode")
    subjects = _subjects(reader, raw.get("responses"), responses)
    features = read_features(reader, raw.get("features"), path.parent)
    if encode is not None:
        _check_reference(reader, encode, features)
    name, out = reader.results(top)
    stories = _stories(stories, path.parent) if stories else None
    placed = {subject: path.parent / os.path.expanduser(place) for subject, place in subjects.items()}
    study = None
    if not reader.problems:
        assert top and out and stories and encode and launch
        study = EncodingStudy(
            name=name,
            out=out,
            stories=stories,
            responses=placed,
            features=features,
            encode=encode,
            reference=reference,
            launch=launch,
            path=path,
            top=top,
        )
    return EncodingDraft(
        path=path,
        problems=tuple(reader.problems),
        out=out,
        stories=stories,
        responses=placed,
        features=features,
        encode=encode,
        reference=reference,
        study=study,
    )


def _settable() -> SettableKeys:
    """List what `-s` may set."""
    sections: dict[str, Sequence[type]] = {
        "stories": [StoriesSection],
        "encode": [Encode],
        "reference": [Reference],
        "launch": [Launch],
    }
    return SettableKeys(
        header=EncodingHeader,
        sections=sections | {f"features.{kind}": [cls] for kind, cls in CLASSES.items()},
        repeated="features",
        named_by="kind",
        open_sections=["responses"],
        example="encode.permutations=100",
    )


def resolved(study: EncodingStudy) -> dict[str, object]:
    """Return all settings of the study, defaults included, as JSON types. Paths are as they were resolved."""
    return {
        "name": study.name,
        "stories": asdict(study.stories),
        "responses": {subject: str(path) for subject, path in study.responses.items()},
        "features": [{**asdict(feature), "label": label} for label, feature in study.features],
        "encode": asdict(study.encode),
        "reference": None if study.reference is None else asdict(study.reference),
    }


def _stories(section: StoriesSection, folder: Path) -> StoriesSection:
    """Return the section with paths that start at the folder of the study."""
    named = {key: value for key in ("path", "before", "after") if isinstance(value := getattr(section, key), str)}
    return replace(section, **{key: str(folder / os.path.expanduser(value)) for key, value in named.items()})


def _subjects(reader: Reader, raw: object, needed: bool) -> dict[str, str]:
    """Read [responses]: the path of each subject."""
    if raw is None and not needed:
        return {}
    if not isinstance(raw, dict) or not raw or not all(isinstance(value, str) and value for value in raw.values()):
        reader.problem("responses", 'expected a section [responses] with one line per subject, such as S1 = "data/S1"')
        return {}
    for subject in raw:
        if "/" in subject or "\\" in subject or subject.strip(". ") == "":
            reader.problem(f"responses.{subject}", "expected a name without slashes: it becomes a folder")
    return raw


def _check_reference(reader: Reader, encode: Encode, features: Sequence[tuple[str, Feature]]) -> None:
    """Check that the feature space to compare with exists, if all feature spaces are known by now."""
    labels = [label for label, _ in features]
    if not labels or encode.banded or any(getattr(feature, "study", None) for _, feature in features):
        return
    if encode.reference not in (None, *labels):
        hint = did_you_mean(str(encode.reference), labels, "the study has ")
        reader.problem("encode.reference", f"no feature space {show(encode.reference)}", hint)
