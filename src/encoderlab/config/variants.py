"""[[method]] sections -> variants: every combination of every grid, each with a label and learning rates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields, replace
from typing import Any

from encoderlab.config import ranges
from encoderlab.config.ranges import Range
from encoderlab.config.reader import Reader
from encoderlab.config.settings import Search, Variant
from encoderlab.core.suggestions import near
from encoderlab.core.types import fits, only, rest, show, takes_list, types
from encoderlab.methods.base import Method
from encoderlab.methods.head import Head
from encoderlab.methods.peft_library import Peft
from encoderlab.methods.registry import METHODS
from encoderlab.training.settings import TrainOverrides

UNSAID = TrainOverrides()
DEFAULT = ("full", "lora", "adapter", "prefix", "head")
_CLASSES = {only(cls, "name"): cls for cls in METHODS}


def named_sections(reader: Reader, raw: Any) -> list[dict[str, Any]]:
    """The [[method]] sections with a known name; the others are noted as problems."""
    if not isinstance(raw, list) or not raw or not all(isinstance(one, dict) for one in raw):
        reader.problem("method", 'expected sections [[method]] (two brackets), each with a name, such as name = "lora"')
        return []
    for i, one in enumerate(raw):
        if "name" not in one:
            reader.problem(f"method[{i}].name", f"missing; expected one of {', '.join(_CLASSES)}")
        elif one["name"] not in list(_CLASSES):
            end = near(str(one["name"]), list(_CLASSES), label="known methods: ")
            reader.problem(f"method[{i}].name", f"unknown method {show(one['name'])}{end}")
    return [dict(one) for one in raw if one.get("name") in list(_CLASSES)]


def read_variants(
    reader: Reader,
    raw: Sequence[dict[str, Any]],
    search: Search,
    *,
    probe: bool = True,
    windows: bool = False,
    usual: TrainOverrides = UNSAID,
) -> tuple[Variant, ...]:
    """The variants in the order of the file. The baseline `head` is appended where the study has none, unless the task
    has no use for it (`probe` False). windows: whether the task's rows are windows, so that there is a stride. usual:
    the epochs and the stride of sections that name none."""
    methods: list[Method] = []
    regimes: list[TrainOverrides] = []
    spaces: list[dict[str, Range]] = []
    so_far = len(reader.problems)
    for i, one in enumerate(raw):
        same = [j for j, other in enumerate(raw) if other["name"] == one["name"]]
        path = f"method.{one['name']}" + (f"[{same.index(i)}]" if len(same) > 1 else "")
        space = _space(reader, _CLASSES[one["name"]], one, path, search)
        placed = one | {key: value.ends[0] for key, value in space.items()}
        for choice in _grid(reader, _CLASSES[one["name"]], placed, path):
            method = reader.section(_CLASSES[one["name"]], choice, path, tuple(types(TrainOverrides)))
            regime = _regime(reader, choice, path, windows)
            if method is not None and regime is not None:
                _check_rates(reader, method, path)
                methods.append(method)
                regimes.append(regime)
                spaces.append(space)
    if probe and not any(one["name"] == only(Head, "name") for one in raw):
        methods.append(Head())
        regimes.append(UNSAID)
        spaces.append({})
    spaces = [_with_rates(method, space, search) for method, space in zip(methods, spaces, strict=True)]
    settings = [
        _settings(m, r.over(usual)) | {key: str(value) for key, value in s.items()}
        for m, r, s in zip(methods, regimes, spaces, strict=True)
    ]
    variants = tuple(
        Variant(
            method=method,
            label=_label(
                method, own, [other for m, other in zip(methods, settings, strict=True) if type(m) is type(method)]
            ),
            learning_rates=(space["learning_rate"].middle,) if "learning_rate" in space else _rates(method, search),
            space=tuple(space.items()),
            regime=regime,
        )
        for method, regime, space, own in zip(methods, regimes, spaces, settings, strict=True)
    )
    if len(reader.problems) == so_far:
        _check_different(reader, variants, usual)
        (_check_fair if search.trials is None else _check_searched)(reader, variants)
    return variants


def _regime(reader: Reader, raw: dict[str, Any], path: str, windows: bool) -> TrainOverrides | None:
    """What a section says of its runs, or None with the problems noted."""
    if "stride" in raw and not windows:
        reader.problem(f"{path}.stride", "only a masked-lm task has windows, and so a stride; remove it")
        return None
    return reader.section(TrainOverrides, {key: raw[key] for key in types(TrainOverrides) if key in raw}, path)


def _space(reader: Reader, cls: type[Method], raw: dict[str, Any], path: str, search: Search) -> dict[str, Range]:
    """The ranges that a section names."""
    found: dict[str, Range] = {}
    kinds = _kinds(cls, raw)
    for key, table in ranges.split(raw):
        if key not in kinds:
            continue  # unknown; `section` says so
        if search.trials is None:
            reader.problem(f"{path}.{key}", "a range; it needs search.trials, how many values of it are tried")
        try:
            found[key] = ranges.read(table, kinds[key], log=key == "learning_rate")
        except ValueError as problem:
            reader.problem(f"{path}.{key}", str(problem))
            raw[key] = getattr(cls, key, None)  # said once
    return found


def _with_rates(method: Method, space: dict[str, Range], search: Search) -> dict[str, Range]:
    """The space with one of learning rates: a factor of ten either way of the default, where none is named."""
    if search.trials is None or "learning_rate" in space:
        return space
    given = method.learning_rate
    if given is None:
        default = method.default_learning_rate
        return {"learning_rate": Range(low=default / 10, high=default * 10, log=True), **space}
    if isinstance(given, tuple) and len(given) > 1:
        return {"learning_rate": Range(choices=given), **space}
    return space


def _grid(reader: Reader, cls: type[Method], raw: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """One table per combination. A list is a grid unless it is itself a value of its key."""
    options: dict[str, list[Any]] = {}
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
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def _kinds(cls: type[Method], raw: dict[str, Any]) -> dict[str, Any]:
    """{key: annotation}; those of PEFT's own fields depend on the type, or on the types of a grid."""
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


def _label(method: Method, mine: dict[str, Any], same: Sequence[dict[str, Any]]) -> str:
    """The name, the keys without a default, and those in which the study's variants of the method differ. mine, same:
    the settings of this one and of all of them."""
    required = [f.name for f in fields(method) if f.default is f.default_factory is MISSING]
    keys = dict.fromkeys(key for one in same for key in one if key != "learning_rate")
    differ = [key for key in keys if key not in required and any(one.get(key) != same[0].get(key) for one in same)]
    return " ".join([method.name, *(f"{key}={_short(mine[key])}" for key in [*required, *differ] if key in mine)])


def _settings(method: Method, regime: TrainOverrides) -> dict[str, Any]:
    """{key: value} as in the study file; the learning rate is no setting."""
    taker = rest(type(method))
    own = {f.name: getattr(method, f.name) for f in fields(method) if f.name not in ("learning_rate", taker)}
    own |= {} if taker is None else getattr(method, taker)
    return own | {key: value for key, value in asdict(regime).items() if value is not None}


def _short(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "+".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _check_different(reader: Reader, variants: Sequence[Variant], usual: TrainOverrides) -> None:
    settings = [(replace(v.method, learning_rate=None), v.space, v.regime.over(usual)) for v in variants]
    for i, variant in enumerate(variants):
        if settings.index(settings[i]) < i:
            reader.problem(
                f"method.{variant.method.name}",
                f"{variant.label} is there twice; change a setting, or give its learning rates as one list",
            )


def _check_searched(reader: Reader, variants: Sequence[Variant]) -> None:
    for variant in variants:
        if not variant.space:
            reader.problem(
                f"method.{variant.label}",
                "one learning rate and no range, while the others are searched, so the comparison would not be fair; "
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
            f"not every method has as many learning rates ({'; '.join(groups)}), so the comparison would not "
            "be fair; give each `learning_rate` as many numbers, or set search.candidates for methods without one",
        )
