"""An encoding study (TOML): [stories], [responses], [[features]], [encode] -> frozen dataclasses, or every problem."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, final

from encoderlab.brain.encoding.settings import Encode, Reference, StoriesSection, StudyHeader
from encoderlab.brain.vectors.features import KINDS, Encoder, Feature, FileVectors
from encoderlab.config.reader import Reader
from encoderlab.config.toml_file import parse
from encoderlab.config.values import toml_value
from encoderlab.core.errors import InputError
from encoderlab.core.files import model_name
from encoderlab.core.suggestions import near
from encoderlab.core.types import fits, only, show, types
from encoderlab.launch.settings import Launch


@final
@dataclass(frozen=True, kw_only=True)
class EncodingStudy:
    """An encoding study, complete: paths absolute or relative to the process, labels given.

    features: (label, section) in the order of the file, grids unfolded. responses: {subject: path}.
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
    top: StudyHeader = field(repr=False)

    @property
    def folder(self) -> Path:
        return self.path.parent


@final
@dataclass(frozen=True, kw_only=True)
class EncodingDraft:
    """What could be read of a file: the parts without a problem, the problems, the study if there is none."""

    path: Path
    problems: tuple[str, ...]
    out: Path | None
    stories: StoriesSection | None
    responses: dict[str, Path]
    features: tuple[tuple[str, Feature], ...]
    encode: Encode | None
    reference: Reference | None
    study: EncodingStudy | None


def is_encoding_study(path: Path) -> bool:
    """Whether a file has the sections of an encoding study, and none of a fine-tuning study. InputError for no TOML."""
    held = parse(path).keys()
    return bool(held & {"stories", "responses", "features", "encode"}) and not held & {
        "data",
        "task",
        "train",
        "method",
    }


def load(path: Path, overrides: Sequence[str] = (), *, responses: bool = True) -> EncodingStudy:
    """The encoding study of a TOML file. InputError with every problem, one line each. `responses`: whether there have
    to be some; embedding needs none. No file that the study names is opened."""
    draft = read(path, overrides, responses=responses)
    if draft.study is None:
        raise InputError(*draft.problems)
    return draft.study


def read(path: Path, overrides: Sequence[str] = (), *, responses: bool = True) -> EncodingDraft:
    """What can be read of a file that may have problems. InputError only for a file that is no TOML."""
    raw = parse(path)
    reader = Reader(path)
    for text in overrides:
        _override(reader, raw, text)
    sections = ("stories", "responses", "features", "encode", "reference", "launch")
    top = reader.section(StudyHeader, {k: v for k, v in raw.items() if k not in sections}, "", sections)
    stories = reader.section(StoriesSection, raw.get("stories", {}), "stories")
    if stories and stories.names and len(set(stories.names)) < len(stories.names):
        reader.problem("stories.names", "a story is named twice")
    encode = reader.section(Encode, raw.get("encode", {}), "encode")
    reference = reader.section(Reference, raw["reference"], "reference") if "reference" in raw else None
    launch = reader.section(Launch, raw.get("launch", {}), "launch")
    for line in encode.design.problems() if encode else ():
        reader.problem(*f"encode.{line}".split(": ", 1))
    subjects = _subjects(reader, raw.get("responses"), responses)
    features = _features(reader, raw.get("features"), path.parent)
    later = any(getattr(feature, "study", None) for _, feature in features) or (encode and encode.banded)
    if encode and features and not later and encode.reference not in [None, *(label for label, _ in features)]:
        labels = [label for label, _ in features]
        said = near(str(encode.reference), labels, label="the study has ")
        reader.problem("encode.reference", f"no feature space {show(encode.reference)}{said}")
    name = top.name or path.stem if top else path.stem
    out = path.parent / os.path.expanduser(top.out or f"results/{name}") if top else None
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
        problems=tuple(dict.fromkeys(reader.problems)),
        out=out,
        stories=stories,
        responses=placed,
        features=features,
        encode=encode,
        reference=reference,
        study=study,
    )


def resolved(study: EncodingStudy) -> dict[str, Any]:
    """Everything the study says, defaults filled in, as JSON types. Paths as they were resolved."""
    return {
        "name": study.name,
        "stories": asdict(study.stories),
        "responses": {subject: str(path) for subject, path in study.responses.items()},
        "features": [{**asdict(feature), "label": label} for label, feature in study.features],
        "encode": asdict(study.encode),
        "reference": None if study.reference is None else asdict(study.reference),
    }


def _stories(section: StoriesSection, folder: Path) -> StoriesSection:
    """Let the paths of a section start at the study's folder."""
    named = {key: value for key in ("path", "before", "after") if isinstance(value := getattr(section, key), str)}
    return replace(section, **{key: str(folder / os.path.expanduser(value)) for key, value in named.items()})


def _subjects(reader: Reader, raw: Any, needed: bool) -> dict[str, str]:
    if raw is None and not needed:
        return {}
    if not isinstance(raw, dict) or not raw or not all(isinstance(value, str) and value for value in raw.values()):
        reader.problem("responses", 'expected a section [responses] with a line a subject, such as S1 = "data/S1"')
        return {}
    for subject in raw:
        if "/" in subject or "\\" in subject or subject.strip(". ") == "":
            reader.problem(f"responses.{subject}", "expected a name without slashes: it becomes a folder")
    return raw


def _features(reader: Reader, raw: Any, folder: Path) -> tuple[tuple[str, Feature], ...]:
    kinds = {only(cls, "kind"): cls for cls in KINDS}
    if not isinstance(raw, list) or not raw or not all(isinstance(one, dict) for one in raw):
        reader.problem("features", 'expected sections [[features]] (two brackets), each with a kind, e.g. "encoder"')
        return ()
    made: list[Feature] = []
    for i, one in enumerate(raw):
        if (kind := one.get("kind")) not in list(kinds):
            end = (
                near(str(kind), list(kinds), label="known kinds: ")
                if kind is not None
                else f"; known: {', '.join(kinds)}"
            )
            reader.problem(f"features[{i}].kind", f"{'missing' if kind is None else f'unknown kind {show(kind)}'}{end}")
            continue
        for choice in _grid(reader, kinds[kind], one, f"features[{i}]"):
            section = reader.section(kinds[kind], choice, f"features[{i}]")
            if section is not None:
                if isinstance(section, Encoder) and section.study and section.adapter:
                    reader.problem(f"features[{i}].study", "with an adapter as well; expected one of the two")
                made.append(_placed(section, folder))
    labels = _labels(made)
    for label in {label for label in labels if labels.count(label) > 1}:
        reader.problem("features", f"{label!r} is there twice; change a setting, or give each a label")
    return tuple(zip(labels, made, strict=True))


def _grid(reader: Reader, cls: type[Feature], raw: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """One table per combination of the keys that have a list for a single value."""
    options: dict[str, list[Any]] = {}
    for key, value in raw.items():
        kind = types(cls).get(key)
        grid = isinstance(value, list) and value and kind is not None and not fits(kind, value)
        options[key] = value if grid else [value]
    if "label" in raw and max(map(len, options.values())) > 1:
        reader.problem(f"{path}.label", "one label for several feature spaces; remove it, or the list")
        return []
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def _placed(feature: Feature, folder: Path) -> Feature:
    """The same with its paths starting at the study's folder."""
    if isinstance(feature, FileVectors):
        return replace(feature, path=str(folder / os.path.expanduser(feature.path)))
    if isinstance(feature, Encoder):
        places = {
            key: str(folder / os.path.expanduser(value)) if (value := getattr(feature, key)) else value
            for key in ("adapter", "study")
        }
        return replace(feature, model=model_name(feature.model, folder), **places)
    return feature


def _labels(features: Sequence[Feature]) -> list[str]:
    """The given label, or kind or model and the settings in which spaces of the same name differ."""
    stems = [_stem(feature) for feature in features]
    labels = []
    for feature, stem in zip(features, stems, strict=True):
        if feature.label is not None:
            labels.append(feature.label)
            continue
        same = [other for other, s in zip(features, stems, strict=True) if s == stem and other.label is None]
        keys = [f.name for f in fields(feature) if f.name not in ("label", "kind", "model", "path", "study")]
        differ = [key for key in keys if any(getattr(other, key) != getattr(same[0], key) for other in same)]
        said = [f"{key}={_short(getattr(feature, key))}" for key in differ if getattr(feature, key) is not None]
        labels.append(" ".join([stem, *said]))
    return labels


def _stem(feature: Feature) -> str:
    if isinstance(feature, FileVectors):
        return Path(feature.path).name.removesuffix(".gz").removesuffix(".txt").removesuffix(".bin")
    if isinstance(feature, Encoder):
        return Path(feature.model).name
    return only(type(feature), "kind")


def _short(value: Any) -> str:
    path = Path(str(value))
    return path.parent.name if path.name == "adapter" else path.name


def _override(reader: Reader, raw: dict[str, Any], text: str) -> None:
    """Writes one `key=value` of `-s` into `raw`; `features.KIND.key` into every section of that kind."""
    path, equals, written = (part.strip() for part in text.partition("="))
    kinds = {only(cls, "kind"): cls for cls in KINDS}
    known = [
        *types(StudyHeader),
        *(f"stories.{key}" for key in types(StoriesSection)),
        *(f"encode.{k}" for k in types(Encode)),
    ]
    known += [f"reference.{key}" for key in types(Reference)] + [f"launch.{key}" for key in types(Launch)]
    known += [f"features.{kind}.{key}" for kind, cls in kinds.items() for key in types(cls) if key != "kind"]
    if not equals:
        reader.problems.append(f"-s {text}: expected key=value, e.g. encode.permutations=100")
        return
    *tables, key = path.split(".")
    if path not in known and not (len(tables) == 1 and tables[0] == "responses" and key):
        same = [other for other in known if other.partition(".")[0] == path.partition(".")[0]]
        reader.problems.append(f"-s {text}: unknown key {path}{near(path, same or known)}")
        return
    reader.overrides[path] = text
    if tables[:1] == ["features"]:
        features = raw.get("features")
        mine = (
            [one for one in features if isinstance(one, dict) and one.get("kind") == tables[1]]
            if (isinstance(features, list))
            else []
        )
        if not mine:
            reader.problems.append(f"-s {text}: no [[features]] of kind {tables[1]!r} in the study")
        for one in mine:
            one[key] = toml_value(written)
        return
    table = raw.setdefault(tables[0], {}) if tables else raw
    if isinstance(table, dict):
        table[key] = toml_value(written)
