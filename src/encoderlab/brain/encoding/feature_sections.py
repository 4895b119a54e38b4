"""Read the [[features]] sections: one feature space for each combination of the lists in a section."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from encoderlab.brain.vectors.features import KINDS, Encoder, Feature, FileVectors
from encoderlab.config.reader import Reader
from encoderlab.config.toml_file import TomlTable
from encoderlab.config.variants import unfold
from encoderlab.core.files import model_name
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import fits, only, show, types

CLASSES = {only(cls, "kind"): cls for cls in KINDS}


def read_features(reader: Reader, raw: object, folder: Path) -> tuple[tuple[str, Feature], ...]:
    """Read the sections.

    Args:
        reader: takes the problems.
        raw: what the file has under `features`.
        folder: the folder that relative paths start at.

    Returns:
        The label and the section of each feature space, in the order of the file.
    """
    if not isinstance(raw, list) or not raw or not all(isinstance(one, dict) for one in raw):
        reader.problem("features", 'expected sections [[features]] (two brackets), each with a kind, e.g. "encoder"')
        return ()
    made: list[Feature] = []
    for i, one in enumerate(raw):
        path = f"features[{i}]"
        if (cls := _class(reader, one, path)) is None:
            continue
        for choice in _grid(reader, cls, one, path):
            section = reader.section(cls, choice, path)
            if section is not None:
                if isinstance(section, Encoder) and section.study and section.adapter:
                    reader.problem(f"{path}.study", "with an adapter as well; expected one of the two")
                made.append(_placed(section, folder))
    labels = _labels(made)
    for label in {label for label in labels if labels.count(label) > 1}:
        reader.problem("features", f"{label!r} occurs twice", "change a setting, or give each a label")
    return tuple(zip(labels, made, strict=True))


def _class(reader: Reader, raw: TomlTable, path: str) -> type[Feature] | None:
    """Return the dataclass that the kind of a section names."""
    if "kind" not in raw:
        reader.problem(f"{path}.kind", "missing", f"known kinds: {', '.join(CLASSES)}")
        return None
    kind = raw["kind"]
    if kind not in list(CLASSES):
        hint = did_you_mean(str(kind), list(CLASSES), "known kinds: ")
        reader.problem(f"{path}.kind", f"unknown kind {show(kind)}", hint)
        return None
    return CLASSES[str(kind)]


def _grid(reader: Reader, cls: type[Feature], raw: TomlTable, path: str) -> list[TomlTable]:
    """Return one table for each combination. A list is a grid unless it is itself a value of its key."""
    options: dict[str, list[object]] = {}
    for key, value in raw.items():
        kind = types(cls).get(key)
        if isinstance(value, list) and value and kind is not None and not fits(kind, value):
            options[key] = value
        else:
            options[key] = [value]
    if "label" in raw and max(map(len, options.values())) > 1:
        reader.problem(f"{path}.label", "one label for several feature spaces", "remove it, or the list")
        return []
    return unfold(options)


def _placed(feature: Feature, folder: Path) -> Feature:
    """Return the section with paths that start at the folder of the study."""
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
    """Return the label of each space: as given, or its name and the settings in which spaces of the name differ."""
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


def _short(value: object) -> str:
    path = Path(str(value))
    return path.parent.name if path.name == "adapter" else path.name
