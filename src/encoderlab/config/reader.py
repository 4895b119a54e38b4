"""Read the tables of a study file into the dataclasses of its sections, and collect all problems on the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, get_origin

from encoderlab.config.toml_file import TomlTable
from encoderlab.core.errors import Problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import did_you_mean_choice, fit, meanings, rest, show, types, words
from encoderlab.data.source import Source

T = TypeVar("T")
FILE_OR_TABLE = "a file name, or a table such as { path = ... }"


class Header(Protocol):
    """The keys above the first section, of either kind of study."""

    @property
    def name(self) -> str | None:
        """The name of the study, if it is set."""
        ...

    @property
    def out(self) -> str | None:
        """The folder of the results, if it is set."""
        ...


class Reader:
    """The reader of one study file, of either kind.

    Attributes:
        file: the study file.
        problems: everything that was wrong so far.
        overrides: the text after `-s`, by the dotted path that it set.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.overrides: dict[str, str] = {}

    def problem(self, path: str, message: str, hint: str = "") -> None:
        """Add a problem at a dotted path: of the override that set the path, if one did, else of the file."""
        plain = re.sub(r"\[\d+\]", "", path)
        text = next((text for key, text in self.overrides.items() if f"{plain}.".startswith(f"{key}.")), None)
        if text is not None:
            self.problem_of_override(text, message, hint)
        else:
            self.problems.append(Problem(path, message, hint).at(str(self.file)))

    def problem_of_override(self, text: str, message: str, hint: str = "") -> None:
        """Add a problem of one `-s`; text: what stands after it."""
        self.problems.append(Problem(f"-s {text}", message, hint))

    def add(self, problems: Iterable[Problem], section: str = "") -> None:
        """Add problems whose paths are keys in `section`."""
        for problem in problems:
            inside = problem.under(section)
            self.problem(inside.path, inside.message, inside.hint)

    def header(self, cls: type[T], raw: TomlTable, sections: Sequence[str]) -> T | None:
        """Read the keys above the first section; sections: the names of those."""
        return self.section(cls, {key: value for key, value in raw.items() if key not in sections}, "", sections)

    def results(self, header: Header | None) -> tuple[str, Path | None]:
        """Return the name of the study and the folder of its results, which is None without a header."""
        if header is None:
            return self.file.stem, None
        name = header.name or self.file.stem
        return name, self.file.parent / os.path.expanduser(header.out or f"results/{name}")

    def section(self, cls: type[T], raw: object, path: str, more_keys: Sequence[str] = ()) -> T | None:
        """Read a table into the dataclass of its section.

        Args:
            cls: the dataclass.
            raw: the table as TOML has it.
            path: where it is in the file, dotted.
            more_keys: keys of the table that are read elsewhere.

        Returns:
            An instance of `cls`, or None if there was a problem.
        """
        if not isinstance(raw, dict):
            self.problem(path, f"expected {FILE_OR_TABLE if cls is Source else f'a section [{path}]'}, got {show(raw)}")
            return None
        so_far = len(self.problems)
        prefix = f"{path}." if path else ""
        kinds, about = types(cls), meanings(cls)
        others = {key: value for key, value in raw.items() if key not in kinds and key not in more_keys}
        taker = rest(cls)
        values: dict[str, object] = {} if taker is None else {taker: others}
        for key in others if taker is None else ():
            self.problem(prefix + key, "unknown key", did_you_mean(key, [*kinds, *more_keys], "known keys: "))
        for field in fields(cls):  # type: ignore[arg-type]
            name = field.name
            if name == taker:
                continue
            if name in raw:
                values[name] = self.value(kinds[name], raw[name], prefix + name, about.get(name, ""))
            elif field.default is MISSING and field.default_factory is MISSING:
                self.problem(prefix + name, f"missing; expected {about.get(name, FILE_OR_TABLE)}")
        return cls(**values) if len(self.problems) == so_far else None

    def value(self, kind: Any, raw: object, path: str, meaning: str = "") -> Any:
        """Read one value.

        Args:
            kind: the annotation of its key.
            raw: the value as TOML has it.
            path: where it is in the file, dotted.
            meaning: what the key means, for the message.

        Returns:
            The value as its annotation has it, or None if there was a problem.
        """
        if get_origin(kind) is Mapping and isinstance(raw, dict):
            return {name: self.value(get_args(kind)[1], one, f"{path}.{name}") for name, one in raw.items()}
        if get_origin(kind) is Mapping:
            return self.problem(path, f"expected a table of names, got {show(raw)}")
        if is_dataclass(kind):
            return self.section(kind, {"path": raw} if kind is Source and isinstance(raw, str) else raw, path)  # type: ignore[arg-type]
        try:
            return fit(kind, raw)
        except ValueError:
            about = f" ({path.rpartition('.')[2]}: {meaning})" if meaning else ""
            hint = did_you_mean_choice(kind, raw)
            return self.problem(path, f"expected {words(kind)}, got {show(raw)}{about}", hint)
