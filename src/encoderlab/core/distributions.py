"""The distributions of scipy.stats that encoderlab's statistics use, with types: numbers in, a number out.

scipy has no type information, so each object is declared once, here, with the methods that are used of it. A method
takes the parameters of the distribution after its first argument.
"""
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from typing import Protocol, cast

from scipy import stats


class Continuous(Protocol):
    """A continuous distribution."""

    def ppf(self, q: float, *parameters: float) -> float:
        """Return the quantile of a probability."""
        ...

    def sf(self, x: float, *parameters: float) -> float:
        """Return the probability of a value above `x`."""
        ...


class Discrete(Protocol):
    """A distribution over whole numbers."""

    def cdf(self, k: int, *parameters: float) -> float:
        """Return the probability of at most `k`."""
        ...

    def pmf(self, k: int, *parameters: float) -> float:
        """Return the probability of exactly `k`."""
        ...


t = cast(Continuous, stats.t)  # degrees of freedom
norm = cast(Continuous, stats.norm)
studentized_range = cast(Continuous, stats.studentized_range)  # number of groups, degrees of freedom
binom = cast(Discrete, stats.binom)  # trials, probability of one
