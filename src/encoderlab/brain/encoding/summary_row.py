"""The row of one subject and feature space in encoding.csv and encoding.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import final


@final
@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """A row of the table; `summary_table` describes its columns, which have the order of the fields.

    A number is None if the scores do not give it: `holm_p` of the reference space, for example.
    """

    subject: str
    feature: str
    kind: str
    dimensions: int
    stories: int
    voxels: int
    unscored: int
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    median: float | None
    top5: float | None
    top1: float | None
    pooled: float | None
    r2: float | None
    significant: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: float | None
    holm_p: float | None
    alpha_median: float | None
    alpha_edge: float | None
    seconds: float

    def to_json(self) -> dict[str, str | int | float | None]:
        """Return {column: value}, in the order of the columns."""
        return asdict(self)


COLUMNS = tuple(column.name for column in fields(SummaryRow))
