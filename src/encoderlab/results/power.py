"""The smallest difference of two methods that a study detects with 80 % power, from what its runs measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoderlab.core import distributions
from encoderlab.core.errors import InputError
from encoderlab.core.statistics import LEVEL
from encoderlab.core.variation import Estimate, SeedVariance
from encoderlab.results.comparison import Comparison, Variant, pooled_seed_variance
from encoderlab.results.study_record import StudyRecord
from encoderlab.tasks.metric import Metric
from encoderlab.training.run_folder import RunFolder
from encoderlab.training.run_record import Kind

POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Power:
    """The smallest detectable difference of two methods of a study.

    Attributes:
        least: The true difference that is found with 80 % power at the 5 % level, in units of the metric.
        rows: The number of test rows.
        seeds: The number of pairs of seeds.
        row_se: The standard error of a difference over test rows, for the given runs.
        seed_sd: The standard deviation of the metric over seeds, pooled over the trained variants.
    """

    least: float
    rows: int
    seeds: int
    row_se: float
    seed_sd: float


@dataclass(frozen=True, kw_only=True)
class SeedSD:
    """The standard deviation of the metric over seeds that a study measured, pooled over methods."""

    value: float
    runs: int
    methods: int


def power(variants: Sequence[Variant], compared: Mapping[str, Comparison], metric: Metric) -> Power | None:
    """Return the smallest detectable difference: of the trained variants' comparisons, the one in the middle.

    The standard error is that of the comparison, but with the pooled variance over seeds for both sides. None if no
    two trained variants have two common seeds.

    Args:
        variants: The variants of the study.
        compared: {variant: its comparison with the reference}. The reference is a trained variant.
        metric: The metric of the study.
    """
    pooled = pooled_seed_variance(variants, metric)
    trained = {variant.name for variant in variants if variant.is_trained}
    estimates = [one.estimate for name, one in compared.items() if name in trained and one.estimate is not None]
    rows = max((len(one.index) for variant in variants for one in variant.test.values()), default=0)
    found: list[tuple[float, Estimate]] = []
    for one in estimates:
        if one.seeds > 1 and pooled.df:
            seed = 2 * pooled.pooled / one.seeds
            variance = max(one.se**2 - one.seed + seed, one.row, seed)  # without the excess of these two variants' SDs
            found.append((_times(one.df) * math.sqrt(variance), one))
    if not found:
        return None
    least, middle = sorted(found, key=lambda pair: pair[0])[len(found) // 2]
    return Power(
        least=least,
        rows=rows,
        seeds=middle.seeds,
        row_se=math.sqrt(middle.row),
        seed_sd=math.sqrt(pooled.pooled),
    )


def _times(df: float) -> float:
    """Return how many standard errors are found with 80 % power by a two-sided t test; 2.8 with many df."""
    return float(distributions.t.ppf((1 + LEVEL) / 2, df)) + float(distributions.t.ppf(POWER, df))


def measured_seed_sd(out: Path, key: str) -> SeedSD | None:
    """Return the pooled standard deviation over seeds of a metric on test, from the records of a study's runs.

    Args:
        out: The folder of the study.
        key: The metric.

    Returns:
        None if there is no readable study, or if no method has two finished seeds.
    """
    values: dict[str, list[float]] = {}
    try:
        study = StudyRecord.read(out)
        for folder in (RunFolder(out / "runs" / number) for number in dict.fromkeys(study.runs)):
            record = study.labelled(folder.record()) if folder.is_recorded else None
            if record is None or record.kind is not Kind.RUN or not record.is_done:
                continue
            if (score := record.metric("test", key)) is not None:
                values.setdefault(record.variant, []).append(score)
    except InputError:  # `compare` reports a damaged folder; here it only means that nothing was measured
        return None
    several = [scores for scores in values.values() if len(scores) > 1]
    found = SeedVariance.of(several)
    if found.df == 0:
        return None
    return SeedSD(value=math.sqrt(found.pooled), runs=sum(map(len, several)), methods=len(several))
