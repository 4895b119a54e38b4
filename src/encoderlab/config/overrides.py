"""Apply `-s key=value` of the command line to the tables of a study file, before they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from encoderlab.config.reader import Reader
from encoderlab.config.toml_file import TomlTable, toml_value
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import types


@final
@dataclass(frozen=True, kw_only=True)
class SettableKeys:
    """What `-s` may set in one study file.

    Attributes:
        header: the dataclass of the keys above the first section.
        sections: by the dotted path of a section, the dataclasses that have its keys.
        repeated: the section that a study has several times and `-s` sets by name: "method" or "features".
        named_by: the key of such a section that has the name, which `-s` cannot set: "name" or "kind".
        open_sections: the sections whose keys are not all known.
        example: a valid override, for messages.
    """

    header: type
    sections: Mapping[str, Sequence[type]]
    repeated: str
    named_by: str
    open_sections: Sequence[str]
    example: str

    @property
    def known(self) -> list[str]:
        """Every dotted path that a dataclass has."""
        paths = [
            f"{section}.{key}"
            for section, classes in self.sections.items()
            for cls in classes
            for key in types(cls)
            if not self._is_name(section, key)
        ]
        return [*types(self.header), *paths]

    def allows(self, path: str) -> bool:
        """Return whether `-s` may set a path, known or in an open section."""
        section, _, key = path.rpartition(".")
        return path in self.known or (section in self.open_sections and key != "" and not self._is_name(section, key))

    def _is_name(self, section: str, key: str) -> bool:
        return section.startswith(f"{self.repeated}.") and key == self.named_by


def override(reader: Reader, raw: TomlTable, overrides: Iterable[str], keys: SettableKeys) -> None:
    """Write each `key=value` into `raw`, in place. The problems of those that are wrong go to the reader."""
    for text in overrides:
        _override(reader, raw, text, keys)


def _override(reader: Reader, raw: TomlTable, text: str, keys: SettableKeys) -> None:
    path, equals, written = (part.strip() for part in text.partition("="))
    if not equals:
        reader.problem_of_override(text, f"expected key=value, e.g. {keys.example}")
        return
    *tables, key = path.split(".")
    repeated = raw.get(keys.repeated)
    sections = [one for one in repeated if isinstance(one, dict)] if isinstance(repeated, list) else []
    names = list(dict.fromkeys(name for one in sections if isinstance(name := one.get(keys.named_by), str)))
    if path.startswith(f"{keys.repeated}.") and (name := path.split(".")[1]) not in names:
        message = f"no [[{keys.repeated}]] of that {keys.named_by} in the study"
        reader.problem_of_override(text, message, did_you_mean(name, names, "it has "))
        return
    if f"{path}.path" in keys.known and not keys.allows(path):  # a source has keys of its own
        reader.problem_of_override(text, f"{path} is a section", f"expected -s {path}.path={written or 'FILE'}")
        return
    if not keys.allows(path):
        same = [known for known in keys.known if known.partition(".")[0] == path.partition(".")[0]]
        hint = did_you_mean(path, same, "known keys: ") if same else did_you_mean(path, keys.known)
        reader.problem_of_override(text, f"unknown key {path}", hint)
        return
    reader.overrides[path] = text
    if path.startswith(f"{keys.repeated}."):
        for one in sections:
            if one.get(keys.named_by) == tables[1]:
                one[key] = toml_value(written)
        return
    table = raw
    for depth, name in enumerate(tables):
        inner = table.get(name, {})
        if isinstance(inner, str) and depth and tables[0] == "data":  # a source written as a file name
            inner = {"path": inner}
        if not isinstance(inner, dict):
            return  # wrong in the file already; the reader of the section says so
        copied: TomlTable = dict(inner)
        table[name] = copied
        table = copied
    table[key] = toml_value(written)
