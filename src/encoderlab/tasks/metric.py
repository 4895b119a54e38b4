"""The one number by which the variants of a study are ranked and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, kw_only=True)
class Metric:
    """key: in a split's metrics, and in front of its columns in summary.csv
    label: in figures and headings
    said: the verdict's words on a value, with {value} and {rows}
    best: what the variant with the best value is called
    percent: whether it is printed in per cent, and a difference in points
    bounds: what a value can be, for an interval over seeds
    """

    key: str
    label: str
    said: str
    best: str = "the best"
    percent: bool = True
    lower_is_better: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def sign(self) -> int:
        """1, or -1 where lower is better."""
        return -1 if self.lower_is_better else 1


def plain(value: float) -> str:
    """A value with four digits behind the point, of a small one with four digits that are not 0."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.01 else f"{value:#.4g}"


def perplexity(loss: float) -> float:
    """Return exp(loss) of a mean loss in nats; capped where exp would overflow."""
    return math.exp(min(loss, 700.0))


ACCURACY = Metric(
    key="accuracy", label="accuracy", said="{value} % of {rows} test rows correct", best="the most accurate"
)
