"""Ranges of a method's settings to search: `{ low = 4, high = 64, log = true }` or `{ choices = [4, 8, 16] }`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from encoderlab.config.toml_file import TomlTable
from encoderlab.core.errors import InputError, Problem
from encoderlab.core.suggestions import did_you_mean
from encoderlab.core.types import fit, fits, show, words

KEYS = ("low", "high", "log", "choices")


@final
@dataclass(frozen=True, kw_only=True)
class Range:
    """The values of a setting that a search may try.

    Attributes:
        low: the smallest value, included.
        high: the largest value, included.
        log: whether values are sampled evenly in their logarithm.
        whole: whether only whole numbers are sampled.
        choices: the values themselves, instead of `low` and `high`.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to insert the method with before anything is trained, to see whether it fits the model."""
        return self.choices or (self.low, self.high)

    @property
    def middle(self) -> Any:
        """The value halfway between low and high, or the middle one of the choices."""
        if self.choices:
            return self.choices[len(self.choices) // 2]
        assert self.low is not None and self.high is not None
        value = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(value) if self.whole else float(f"{value:.3g}")

    def __str__(self) -> str:
        return show(self.choices) if self.choices else f"{show(self.low)}..{show(self.high)}"


def read(raw: TomlTable, kind: Any, *, log: bool) -> Range:
    """Read a range from its table.

    Args:
        raw: the table as TOML has it.
        kind: the annotation of the setting.
        log: whether it is logarithmic if the table does not say.

    Raises:
        InputError: if the table is not a range of such values.
    """
    if unknown := [key for key in raw if key not in KEYS]:
        raise _wrong(f"a range has no key {unknown[0]}", did_you_mean(unknown[0], KEYS, "known keys: "))
    if "choices" in raw:
        return _choices(raw, kind)
    if not {"low", "high"} <= set(raw):
        raise _wrong("a range needs low and high, or choices")
    low, high, log_scale = raw["low"], raw["high"], raw.get("log", log)
    for value in (low, high):
        if not _is_end(kind, value):
            raise _wrong(f"expected {words(kind)} as the end of a range, got {show(value)}", "or give choices")
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if not isinstance(log_scale, bool):
        raise _wrong(f"expected true or false, got {show(log_scale)}", key="log")
    if not low < high:
        raise _wrong(f"a range from {show(low)} to {show(high)}; expected low below high")
    if log_scale and low <= 0:
        raise _wrong(f"a range with log = true starts at {show(low)}; expected a number above 0")
    return Range(low=low, high=high, log=log_scale, whole=not fits(kind, 0.5) and isinstance(low, int))


def _is_end(kind: Any, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and fits(kind, value)


def _choices(raw: TomlTable, kind: Any) -> Range:
    choices = raw["choices"]
    if len(raw) > 1 or not isinstance(choices, list) or len(choices) < 2:
        raise _wrong("expected a list of two values or more, and no other key", key="choices")
    for value in choices:
        if not fits(kind, value):
            raise _wrong(f"expected {words(kind)}, got {show(value)}", key="choices")
    return Range(choices=tuple(fit(kind, value) for value in choices))


def _wrong(message: str, hint: str = "", *, key: str = "") -> InputError:
    return InputError(Problem(key, message, hint))


def split(table: TomlTable) -> Iterator[tuple[str, TomlTable]]:
    """Yield the key and the table of every value of a section that is written as a range."""
    for key, value in table.items():
        if isinstance(value, dict) and set(value) & set(KEYS):
            yield key, value
