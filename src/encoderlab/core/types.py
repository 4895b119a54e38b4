"""Check a value against an annotation, strictly: "3" is not a number, true is not 1, 0.2 is not a whole number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from annotated_types import DocInfo, Ge, Gt, Le, MinLen
from pydantic import TypeAdapter

from encoderlab.core.suggestions import did_you_mean

Doc = DocInfo  # what a key means: Annotated[int, Doc("number of ...")]
Count = Annotated[int, Ge(1)]

_WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a string", "strings"),
}


@cache
def types(section: type) -> dict[str, object]:
    """Return the annotation of every key of a section's dataclass, without its `Doc`."""
    hints = get_type_hints(section, include_extras=True)
    return {f.name: _without_doc(hints[f.name]) for f in fields(section) if not f.metadata.get("rest")}


def _without_doc(kind: object) -> object:
    if get_origin(kind) is not Annotated:
        return kind
    base, *limits = get_args(kind)
    limits = [limit for limit in limits if not isinstance(limit, Doc)]
    return Annotated[base, *limits] if limits else base


@cache
def meanings(section: type) -> dict[str, str]:
    """Return what each key of a section means: the text of its `Doc`."""
    hints = get_type_hints(section, include_extras=True)
    docs = {f.name: [one for one in get_args(hints[f.name])[1:] if isinstance(one, Doc)] for f in fields(section)}
    return {name: doc[0].documentation for name, doc in docs.items() if doc}


def rest(section: type) -> str | None:
    """Return the field that holds all unknown keys of a section (`metadata={"rest": True}`), or None."""
    return next((f.name for f in fields(section) if f.metadata.get("rest")), None)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def fit(kind: Any, raw: Any) -> Any:
    """Convert a TOML value to an annotation: a list to a tuple, a whole number to a float.

    Raises:
        ValueError: if the value does not fit.
    """
    try:
        text = json.dumps(raw, allow_nan=False)
    except TypeError:  # a date
        raise ValueError from None
    return _adapter(kind).validate_json(text, strict=True)


def fits(kind: Any, raw: Any) -> bool:
    """Return whether a TOML value fits an annotation."""
    try:
        fit(kind, raw)
    except ValueError:
        return False
    return True


def takes_list(kind: Any) -> bool:
    """Return whether a list can be a value of an annotation."""
    return any(get_origin(part) in (tuple, list) for part in _parts(kind))


def _parts(kind: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, without None."""
    if get_origin(kind) in (Union, UnionType):
        return tuple(part for part in get_args(kind) if part is not NoneType)
    return (kind,)


def words(kind: Any, *, plural: bool = False) -> str:
    """Describe the values that an annotation allows, as in "a whole number from 1 up"."""
    return " or ".join(_part_words(part, plural) for part in _parts(kind))


def _part_words(kind: Any, plural: bool) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if any(isinstance(limit, MinLen) for limit in args[1:]):
            return "at least one value, as " + words(args[0])
        return words(args[0], plural=plural) + _limits(args[1:])
    if origin is Literal:
        return " or ".join(map(show, args))
    if origin is tuple:
        count = "" if args[-1] is Ellipsis else f"{len(args)} "
        return f"a list of {count}{words(args[0], plural=True)}"
    if origin is dict:
        return f"a table of {words(args[1], plural=True)}"
    return _WORDS[kind][plural]


def _limits(limits: Iterable[Any]) -> str:
    low = next((f" from {x.ge}" for x in limits if isinstance(x, Ge)), "")
    above = next((f" above {x.gt}" for x in limits if isinstance(x, Gt)), "")
    high = next((f" to {x.le}" for x in limits if isinstance(x, Le)), " up" if low else "")
    return low + above + high


def show(raw: Any) -> str:
    """Write a value as a study file does."""
    if isinstance(raw, str | bool) or raw is None:
        return json.dumps(raw, ensure_ascii=False)
    if isinstance(raw, list | tuple):
        return f"[{', '.join(map(show, cast(Iterable[object], raw)))}]"
    if isinstance(raw, float) and not math.isfinite(raw):
        return str(raw)
    return "a table" if isinstance(raw, dict) else str(raw)


def did_you_mean_choice(kind: Any, raw: Any) -> str:
    """Suggest the allowed word closest to `raw`, if `kind` allows only certain words and one of them is close."""
    choices = [word for part in _parts(kind) if get_origin(part) is Literal for word in get_args(part)]
    return did_you_mean(raw, choices) if isinstance(raw, str) else ""


def only(section: type, key: str) -> str:
    """Return the one word that a `Literal` key allows: the name of a method, the kind of a task."""
    (word,) = get_args(types(section)[key])
    return word
