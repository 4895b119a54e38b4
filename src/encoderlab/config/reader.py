"""Tables -> sections. Problems are collected, so that one look shows all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from encoderlab.config.settings import Search, StudyHeader
from encoderlab.config.values import meanings, toml_value
from encoderlab.core.suggestions import near
from encoderlab.core.types import did_you_mean_choice, fit, only, rest, show, types, words
from encoderlab.data.source import DataConfig, Source
from encoderlab.launch.settings import Launch
from encoderlab.methods.registry import METHODS
from encoderlab.tasks.base import Task
from encoderlab.training.settings import Train, TrainOverrides

T = TypeVar("T")


class Reader:
    """problems: one line each. overrides: {dotted path: the text after -s that set it}."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.problems: list[str] = []
        self.overrides: dict[str, str] = {}

    def problem(self, path: str, message: str) -> None:
        """Notes one problem; blames the override that set `path`, if one did, else the place in the file."""
        plain = re.sub(r"\[\d+\]", "", path)
        text = next((text for key, text in self.overrides.items() if f"{plain}.".startswith(f"{key}.")), None)
        self.problems.append(f"-s {text}: {message}" if text is not None else f"{self.file}: {path}: {message}")

    def section(self, cls: type[T], raw: Any, path: str, more_keys: Sequence[str] = ()) -> T | None:
        """`raw` as an instance of `cls`, or None with the problems noted. `more_keys` are read elsewhere."""
        if not isinstance(raw, dict):
            expected = "a file name, or a table such as { path = ... }" if cls is Source else f"a section [{path}]"
            self.problem(path, f"expected {expected}, got {show(raw)}")
            return None
        before = len(self.problems)
        kinds, about, values = types(cls), meanings(cls), {}
        prefix = f"{path}." if path else ""
        others = {key: value for key, value in raw.items() if key not in kinds and key not in more_keys}
        if (taker := rest(cls)) is not None:
            values[taker] = others
        else:
            for key in others:
                self.problem(prefix + key, f"unknown key{near(key, [*kinds, *more_keys])}")
        for f in fields(cls):  # type: ignore[arg-type]
            if f.name == taker:
                continue
            if f.name in raw:
                values[f.name] = self.value(kinds[f.name], raw[f.name], prefix + f.name, about.get(f.name, ""))
            elif f.default is MISSING and f.default_factory is MISSING:
                expected = about.get(f.name) or "a file name, or a table such as { path = ... }"
                self.problem(prefix + f.name, f"missing; expected {expected}")
        return cls(**values) if len(self.problems) == before else None

    def value(self, kind: Any, raw: Any, path: str, meaning: str) -> Any:
        if get_origin(kind) is Mapping and isinstance(raw, dict):
            return {name: self.value(get_args(kind)[1], one, f"{path}.{name}", "") for name, one in raw.items()}
        if get_origin(kind) is Mapping:
            return self.problem(path, f"expected a table of names, got {show(raw)}")
        if is_dataclass(kind):
            return self.section(kind, {"path": raw} if kind is Source and isinstance(raw, str) else raw, path)  # type: ignore[arg-type]
        try:
            return fit(kind, raw)
        except ValueError:
            about = f" ({path.rpartition('.')[2]}: {meaning})" if meaning else ""
            self.problem(path, f"expected {words(kind)}, got {show(raw)}{did_you_mean_choice(kind, raw)}{about}")

    def override(self, raw: dict[str, Any], text: str, task: type[Task] | None) -> None:
        """Writes one `key=value` of the command line into `raw`; `method.NAME.key` into every section of that name.
        task: None where it is not known, and with it the keys of its section."""
        path, equals, written = (part.strip() for part in text.partition("="))
        if not equals:
            self.problems.append(f"-s {text}: expected key=value, e.g. train.epochs=1")
            return
        names = list(dict.fromkeys(one["name"] for one in raw["method"]))
        known = _paths(names, task, raw.get("data"))
        if path.startswith("method.") and path.split(".")[1] not in names:
            self.problems.append(
                f"-s {text}: no [[method]] of that name in the study{near(path.split('.')[1], names, 'it has ')}"
            )
            return
        if path not in known and not _open(path) and (task is not None or not path.startswith("task.")):
            same = [other for other in known if other.partition(".")[0] == path.partition(".")[0]]
            self.problems.append(f"-s {text}: unknown key {path}{near(path, same or known)}")
            return
        self.overrides[path] = text
        *tables, key = path.split(".")
        if tables[:1] == ["method"]:
            for one in raw["method"]:
                if one["name"] == tables[1]:
                    one[key] = toml_value(written)
            return
        table: dict[str, Any] = raw
        for i, name in enumerate(tables):
            inner = table.get(name, {})
            if isinstance(inner, str) and tables[:1] == ["data"] and i:
                inner = {"path": inner}
            if not isinstance(inner, dict):
                return  # wrong in the file already; `section` will say so
            fresh = dict(inner)
            table[name] = fresh
            table = fresh
        table[key] = toml_value(written)


def _open(path: str) -> bool:
    """Whether the path is a key of a method that takes keys which are no fields of ours."""
    takes = {only(cls, "name") for cls in METHODS if rest(cls) is not None}
    parts = path.split(".")
    return len(parts) == 3 and parts[0] == "method" and parts[1] in takes and parts[2] not in ("", "name")


def _paths(methods: Sequence[str], task: type[Task] | None, data: Any) -> list[str]:
    """Every dotted path that `-s` may set in a study with these methods."""
    classes = {only(cls, "name"): cls for cls in METHODS}
    sections: dict[str, type] = {"data": DataConfig, "train": Train, "search": Search, "launch": Launch}
    sections |= {} if task is None else {"task": task}
    others = data.get("other_tests") if isinstance(data, dict) else None
    sections |= {f"data.{split}": Source for split in ("train", "validation", "test")}
    sections |= {f"data.other_tests.{name}": Source for name in (others if isinstance(others, dict) else ())}
    sections |= {f"method.{name}": classes[name] for name in methods}
    paths = [f"{section}.{key}" for section, cls in sections.items() for key in types(cls)]
    paths += [f"method.{name}.{key}" for name in methods for key in types(TrainOverrides)]
    return [*types(StudyHeader), *(path for path in paths if not re.fullmatch(r"method\.\w+\.name", path))]
