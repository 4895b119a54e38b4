"""The [report] section: settings of the recommendation. They change the report, never a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, final

from annotated_types import Ge, Gt

from encoderlab.core.types import Doc


@final
@dataclass(frozen=True, kw_only=True)
class Report:
    """The settings of the recommendation."""

    margin: Annotated[
        float,
        Gt(0),
        Doc(
            "number of points by which a cheaper method may be worse than the best one and still be "
            "recommended. A point is a hundredth of the metric; for a mean squared error, a hundredth "
            "of the error of the constant baseline"
        ),
    ] = 1.0
    cost: Annotated[
        Literal["parameters", "time", "latency"],
        Doc("what makes a method cheap: trained adapter parameters, seconds of training, or milliseconds per example"),
    ] = "parameters"
    seed_sd: Annotated[
        float,
        Ge(0),
        Doc(
            "standard deviation of the metric over seeds that `check` assumes, in points, until runs in the "
            "study's folder measure it; 1 is usual for a few thousand rows"
        ),
    ] = 1.0
    confirm: Annotated[
        str | None,
        Doc("name of a set under [data.other_tests] that scores the recommended method alone, after all runs"),
    ] = None

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> Report:
        """Read the section from study.json. Studies that are older than the section get the defaults."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in (stored or {}).items() if key in known})
