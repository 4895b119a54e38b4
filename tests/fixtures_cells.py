"""The cells of a matrix of models and methods that the default suite holds; the others are `slow`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def dealt(models: Iterable[str], methods: Sequence[T], each: int = 3) -> dict[str, list[T]]:
    """Return the methods that the default suite tries on each model.

    The first model meets every method. Every other model is dealt `each` methods in turn, so that every method meets
    at least one of them.
    """
    first, *others = models
    assert each * len(others) >= len(methods), f"{len(methods)} methods need more than {each} for each model"
    mixed = [method for start in range(5) for method in methods[start::5]]  # neighbours are often of one kind
    turn = cycle(mixed)
    return {first: list(methods), **{model: list(islice(turn, each)) for model in others}}


def cells(models: Iterable[str], methods: Sequence[Any], each: int = 3) -> list[Any]:
    """Return a parameter set (model, method) for every cell."""
    default = dealt(models, methods, each)
    return [
        pytest.param(model, method, marks=() if method in default[model] else pytest.mark.slow, id=f"{model}-{method}")
        for model in default
        for method in methods
    ]


def rows(models: Iterable[str], methods: Sequence[Any]) -> list[Any]:
    """Return one or two parameter sets (model, methods) for every model: those of the default suite, and the others."""
    found = []
    for model, some in dealt(models, methods).items():
        found.append(pytest.param(model, some, id=model))
        if others := [method for method in methods if method not in some]:
            found.append(pytest.param(model, others, marks=pytest.mark.slow, id=f"{model}, the other methods"))
    return found
