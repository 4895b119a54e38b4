"""A range of a method's setting, to be searched: `{ low = 4, high = 64, log = true }` or `{ choices = [4, 8, 16] }`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from encoderlab.core.suggestions import near
from encoderlab.core.types import fit, fits, show, words

KEYS = ("low", "high", "log", "choices")


@final
@dataclass(frozen=True, kw_only=True)
class Range:
    """Values from low to high, both included, or the choices. whole: whole numbers. log: even in the logarithm."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to try before anything is trained: whether the method fits the model with them."""
        return self.choices or (self.low, self.high)

    @property
    def middle(self) -> Any:
        if self.choices:
            return self.choices[len(self.choices) // 2]
        assert self.low is not None and self.high is not None
        value = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(value) if self.whole else float(f"{value:.3g}")

    def __str__(self) -> str:
        return show(self.choices) if self.choices else f"{show(self.low)}..{show(self.high)}"


def read(raw: dict[str, Any], kind: Any, *, log: bool) -> Range:
    """The range that a table means for a key of annotation `kind`. log: unless the table says. ValueError with what is
    wrong, in words."""
    if unknown := [key for key in raw if key not in KEYS]:
        raise ValueError(f"a range has no key {unknown[0]}{near(unknown[0], KEYS)}")
    if "choices" in raw:
        return _choices(raw, kind)
    if not {"low", "high"} <= set(raw):
        raise ValueError("a range needs low and high, or choices")
    low, high, log = raw["low"], raw["high"], raw.get("log", log)
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, int | float) or not fits(kind, value):
            raise ValueError(f"expected {words(kind)} as the end of a range, got {show(value)}; or give choices")
    if not isinstance(log, bool):
        raise ValueError(f"log: expected true or false, got {show(log)}")
    if not low < high:
        raise ValueError(f"a range from {show(low)} to {show(high)}; expected low below high")
    if log and low <= 0:
        raise ValueError(f"a range with log = true starts at {show(low)}; expected a number above 0")
    return Range(low=low, high=high, log=log, whole=not fits(kind, 0.5) and isinstance(low, int))


def _choices(raw: dict[str, Any], kind: Any) -> Range:
    choices = raw["choices"]
    if len(raw) > 1 or not isinstance(choices, list) or len(choices) < 2:
        raise ValueError("choices: expected a list of two values or more, and no other key")
    for value in choices:
        if not fits(kind, value):
            raise ValueError(f"choices: expected {words(kind)}, got {show(value)}")
    return Range(choices=tuple(fit(kind, value) for value in choices))


def split(table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, range) of every value that is written as one."""
    for key, value in table.items():
        if isinstance(value, dict) and set(value) & set(KEYS):
            yield key, value
