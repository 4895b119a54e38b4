"""The [report] section: what the recommendation weighs. It changes no run, only what is said of the runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, final

from annotated_types import Ge, Gt


@final
@dataclass(frozen=True, kw_only=True)
class Report:
    """How results are told.

    margin: points that a cheaper method may lie below the best one and still be recommended: hundredths of the metric,
        for a mean squared error hundredths of the constant answer's
    cost: what cheap means: trained adapter parameters, seconds of training, or milliseconds an example
    seed_sd: points, the standard deviation of the metric over seeds that `check` takes for granted; 1 is usual for a
        few thousand rows
    """

    margin: Annotated[float, Gt(0)] = 1.0
    cost: Literal["parameters", "time", "latency"] = "parameters"
    seed_sd: Annotated[float, Ge(0)] = 1.0

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> Report:
        """Return the section as study.json keeps it; a study from before there was one has the defaults."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in (stored or {}).items() if key in known})
