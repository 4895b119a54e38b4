"""Read the [[method]] sections into variants: one for each combination of the lists in a section."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace

from encoderlab.config import ranges
from encoderlab.config.ranges import Range
from encoderlab.config.reader import Reader
from encoderlab.config.settings import Search, Variant
from encoderlab.config.toml_file import TomlTable
from encoderlab.core.errors import InputError
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import fits, only, rest, show, takes_list, types
from encoderlab.methods.base import Method
from encoderlab.methods.head import Head
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.registry import METHODS
from encoderlab.training.settings import TrainOverrides

UNSAID = TrainOverrides()
DEFAULT = ("full", "lora", "adapter", "prefix", "head")
_CLASSES = {only(cls, "name"): cls for cls in METHODS}


@dataclass(frozen=True)
class _Choice:
    """One combination of a section's values. space: the ranges, of which `method` has one value each."""

    method: Method
    overrides: TrainOverrides
    space: dict[str, Range]

    def settings(self, usual: TrainOverrides) -> dict[str, object]:
        """Return what tells the variants of a method apart, by key of the study file."""
        own = _settings(self.method, self.overrides.over(usual))
        return own | {key: str(value) for key, value in self.space.items()}


def named_sections(reader: Reader, raw: object) -> list[TomlTable]:
    """Return copies of the [[method]] sections that name a method. The others are problems."""
    if not isinstance(raw, list) or not raw or not all(isinstance(one, dict) for one in raw):
        reader.problem("method", 'expected sections [[method]] (two brackets), each with a name, such as name = "lora"')
        return []
    for i, one in enumerate(raw):
        if "name" not in one:
            reader.problem(f"method[{i}].name", f"missing; expected one of {', '.join(_CLASSES)}")
        elif one["name"] not in list(_CLASSES):
            hint = did_you_mean(str(one["name"]), list(_CLASSES), "known methods: ")
            reader.problem(f"method[{i}].name", f"unknown method {show(one['name'])}", hint)
    return [dict(one) for one in raw if one.get("name") in list(_CLASSES)]


def read_variants(
    reader: Reader,
    raw: Sequence[TomlTable],
    search: Search,
    *,
    with_head: bool = True,
    windows: bool = False,
    usual: TrainOverrides = UNSAID,
) -> tuple[Variant, ...]:
    """Read the variants, in the order of the file.

    Args:
        reader: takes the problems.
        raw: the sections, from `named_sections`.
        search: the section [search].
        with_head: whether the baseline `head` is appended if the study does not have it.
        windows: whether the rows of the task are windows, so that a method may set a stride.
        usual: the epochs and the stride of a section that does not set them.
    """
    so_far = len(reader.problems)
    choices: list[_Choice] = []
    for i, one in enumerate(raw):
        same = [j for j, other in enumerate(raw) if other["name"] == one["name"]]
        path = f"method.{one['name']}" + (f"[{same.index(i)}]" if len(same) > 1 else "")
        choices += _choices(reader, one, path, search, windows)
    if with_head and not any(one["name"] == only(Head, "name") for one in raw):
        choices.append(_Choice(Head(), UNSAID, {}))
    choices = [replace(one, space=_with_rates(one.method, one.space, search)) for one in choices]
    settings = [one.settings(usual) for one in choices]
    variants = []
    for choice, own in zip(choices, settings, strict=True):
        same = [s for other, s in zip(choices, settings, strict=True) if type(other.method) is type(choice.method)]
        rates = choice.space.get("learning_rate")
        variants.append(
            Variant(
                method=choice.method,
                label=_label(choice.method, own, same),
                learning_rates=_rates(choice.method, search) if rates is None else (rates.middle,),
                space=tuple(choice.space.items()),
                overrides=choice.overrides,
            )
        )
    if len(reader.problems) == so_far:
        _check_different(reader, variants, usual)
        (_check_fair if search.trials is None else _check_searched)(reader, variants)
    return tuple(variants)


def _choices(reader: Reader, raw: TomlTable, path: str, search: Search, windows: bool) -> list[_Choice]:
    """Read every combination of one section; one with a problem is left out."""
    cls = _CLASSES[str(raw["name"])]
    space = _space(reader, cls, raw, path, search)
    placed = raw | {key: value.ends[0] for key, value in space.items()}
    found = []
    for choice in _grid(reader, cls, placed, path):
        method = reader.section(cls, choice, path, tuple(types(TrainOverrides)))
        overrides = _overrides(reader, choice, path, windows)
        if method is not None and overrides is not None:
            _check_rates(reader, method, path)
            found.append(_Choice(method, overrides, space))
    return found


def _overrides(reader: Reader, raw: TomlTable, path: str, windows: bool) -> TrainOverrides | None:
    """Read what a section sets of how its runs train, or return None if there was a problem."""
    if "stride" in raw and not windows:
        reader.problem(f"{path}.stride", "only a masked-lm task has windows, and so a stride", "remove it")
        return None
    return reader.section(TrainOverrides, {key: raw[key] for key in types(TrainOverrides) if key in raw}, path)


def _space(reader: Reader, cls: type[Method], raw: TomlTable, path: str, search: Search) -> dict[str, Range]:
    """Read the ranges of a section, by key."""
    found: dict[str, Range] = {}
    kinds = _kinds(cls, raw)
    for key, table in ranges.split(raw):
        if key not in kinds:
            continue  # an unknown key, which the reader of the section reports
        if search.trials is None:
            reader.problem(f"{path}.{key}", "a range; it needs search.trials, the number of values to try")
        try:
            found[key] = ranges.read(table, kinds[key], log=key == "learning_rate")
        except InputError as error:
            reader.add(error.problems, f"{path}.{key}")
            raw[key] = getattr(cls, key, None)  # so that the reader of the section does not report it again
    return found


def _with_rates(method: Method, space: dict[str, Range], search: Search) -> dict[str, Range]:
    """Add a range of learning rates for a search: a tenth to ten times the default if the section has no rate."""
    if search.trials is None or "learning_rate" in space:
        return space
    given = method.learning_rate
    if given is None:
        default = method.default_learning_rate
        return {"learning_rate": Range(low=default / 10, high=default * 10, log=True), **space}
    if isinstance(given, tuple) and len(given) > 1:
        return {"learning_rate": Range(choices=given), **space}
    return space


def _grid(reader: Reader, cls: type[Method], raw: TomlTable, path: str) -> list[TomlTable]:
    """Return one table for each combination. A list is a grid unless it is itself a value of its key."""
    options: dict[str, list[object]] = {}
    kinds = {**_kinds(cls, raw), **types(TrainOverrides)}
    for key, value in raw.items():
        kind = kinds.get(key)
        if not isinstance(value, list) or kind is None or key == "learning_rate" or fits(kind, value):
            options[key] = [value]
        elif not value:
            reader.problem(f"{path}.{key}", "an empty list; expected at least one value")
            return []
        elif takes_list(kind) and not any(isinstance(one, list) or fits(kind, one) for one in value):
            options[key] = [value]  # one list with wrong elements, not a grid of wrong values
        else:
            options[key] = value
    return unfold(options)


def unfold(options: Mapping[str, Sequence[object]]) -> list[TomlTable]:
    """Return every combination of the values of each key."""
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def _kinds(cls: type[Method], raw: TomlTable) -> dict[str, object]:
    """Return the annotation of each key. Those of PEFT's own fields depend on the type, or on the types of a grid."""
    kinds = types(cls)
    if cls is Peft:
        written = raw.get("type")
        for type_name in written if isinstance(written, list) else [written]:
            kinds = {**Peft.kinds(type_name), **kinds}
    return kinds


def _rates(method: Method, search: Search) -> tuple[float, ...]:
    given = method.learning_rate
    if given is None:
        return search.around(method.default_learning_rate)
    return given if isinstance(given, tuple) else (given,)


def _check_rates(reader: Reader, method: Method, path: str) -> None:
    if method.learning_rate is None:
        return
    rates = _rates(method, Search())
    if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
        reader.problem(f"{path}.learning_rate", f"expected different numbers above 0, got {show(method.learning_rate)}")


def _label(method: Method, mine: Mapping[str, object], same: Sequence[Mapping[str, object]]) -> str:
    """Make the label of a variant: the name, the keys without a default, and those in which the variants differ.

    Args:
        method: of the variant.
        mine: the settings of the variant.
        same: the settings of all variants of the method.
    """
    required = [f.name for f in fields(method) if f.default is f.default_factory is MISSING]
    keys = dict.fromkeys(key for one in same for key in one if key != "learning_rate")
    differ = [key for key in keys if key not in required and any(one.get(key) != same[0].get(key) for one in same)]
    return " ".join([method.name, *(f"{key}={_short(mine[key])}" for key in [*required, *differ] if key in mine)])


def _settings(method: Method, overrides: TrainOverrides) -> dict[str, object]:
    """Return the settings by key of the study file. The learning rate is not one of them."""
    taker = rest(type(method))
    names = [field.name for field in fields(method) if field.name not in ("learning_rate", taker)]
    own: dict[str, object] = {name: getattr(method, name) for name in names}
    own |= {} if taker is None else getattr(method, taker)
    return own | {key: value for key, value in asdict(overrides).items() if value is not None}


def _short(value: object) -> str:
    if isinstance(value, tuple | list):
        return "+".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _check_different(reader: Reader, variants: Sequence[Variant], usual: TrainOverrides) -> None:
    settings = [(replace(v.method, learning_rate=None), v.space, v.overrides.over(usual)) for v in variants]
    for i, variant in enumerate(variants):
        if settings.index(settings[i]) < i:
            reader.problem(
                f"method.{variant.method.name}",
                f"{variant.label} occurs twice",
                "change a setting, or give its learning rates as one list",
            )


def _check_searched(reader: Reader, variants: Sequence[Variant]) -> None:
    for variant in variants:
        if not variant.space:
            reader.problem(
                f"method.{variant.label}",
                "one learning rate and no range, while the others are searched, so the comparison would not be fair",
                "give it a range, or remove its learning_rate",
            )


def _check_fair(reader: Reader, variants: Sequence[Variant]) -> None:
    counts = {variant.label: len(variant.learning_rates) for variant in variants}
    if len(set(counts.values())) > 1:
        groups = [
            f"{count} for {', '.join(label for label, n in counts.items() if n == count)}"
            for count in sorted(set(counts.values()))
        ]
        reader.problem(
            "method",
            f"methods have different numbers of learning rates ({'; '.join(groups)}), "
            "so the comparison would not be fair",
            "give each `learning_rate` the same number of values, or set search.candidates for methods without one",
        )
