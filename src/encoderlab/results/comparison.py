"""Compare two variants on the same test rows: the difference in the metric, its interval and p-value.

Runs are paired by seed and rows by their `index` in the source. The labels of paired rows must agree, so that
predictions on different data are never compared. Where a comparison is impossible, it says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from encoderlab.core.statistics import share_above
from encoderlab.core.variation import Estimate, SeedVariance
from encoderlab.results import row_groups
from encoderlab.results.predictions import Predicted, disagreeing, groups_of, on_common_rows, read_predictions, stacked
from encoderlab.tasks.metric import Metric
from encoderlab.training.run_record import Kind, RunRecord

SEEDS_OF_SHARE = 5  # with fewer, the share of pairs takes few values and says little


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One method with one choice of settings, and its runs.

    Attributes:
        done: The finished runs.
        failed: The other runs.
        test: The predictions on `test`, by seed.
        others: The predictions on the further test sets, by name.
    """

    name: str
    method: str
    kind: Kind
    done: tuple[RunRecord, ...]
    failed: tuple[RunRecord, ...]
    test: Predicted
    others: Mapping[str, Predicted] = field(default_factory=dict[str, Predicted])

    @property
    def is_trained(self) -> bool:
        """Whether it is a method, not a baseline."""
        return self.kind is Kind.RUN


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The metric of one variant minus that of another.

    Attributes:
        estimate: The difference with its interval and p-value. None if the variants cannot be compared.
        obstacle: Why they cannot be compared.
        share_better: The share of pairs of runs, one of each variant with any seeds, in which the first variant has the
            better metric; a tie counts half. None with fewer than SEEDS_OF_SHARE runs of either.
    """

    estimate: Estimate | None = None
    obstacle: str | None = None
    share_better: float | None = None

    @property
    def difference(self) -> float | None:
        """The mean difference over the pairs of runs."""
        return None if self.estimate is None else self.estimate.value

    @property
    def difference_low(self) -> float | None:
        """The lower end of the 95 % interval."""
        return None if self.estimate is None else self.estimate.low

    @property
    def difference_high(self) -> float | None:
        """The upper end of the 95 % interval."""
        return None if self.estimate is None else self.estimate.high

    @property
    def p(self) -> float | None:
        """The two-sided p-value, from the same standard error."""
        return None if self.estimate is None else self.estimate.p

    @property
    def pairs(self) -> int:
        """The number of pairs of runs with equal seeds."""
        return 0 if self.estimate is None else self.estimate.seeds


def read_variants(
    out: Path, runs: Iterable[RunRecord], metrics: Iterable[Metric], others: Sequence[str] = ()
) -> list[Variant]:
    """Group runs by variant, in the order of their first run, and read their predictions.

    Args:
        out: The folder of the study.
        runs: The runs, trials excluded.
        metrics: The metrics whose row statistics are needed.
        others: The names of further test sets.
    """
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.variant, []).append(run)
    metrics, belonging = tuple(metrics), row_groups.read(out)
    variants: list[Variant] = []
    for name, group in groups.items():
        done = tuple(run for run in group if run.is_done)
        test, *more = (
            {
                run.seed: predictions
                for run in done
                if (predictions := read_predictions(out / "runs" / run.id, split, metrics, belonging.get(split)))
                is not None
            }
            for split in ("test", *others)
        )
        variants.append(
            Variant(
                name=name,
                method=group[0].method,
                kind=group[0].kind,
                done=done,
                failed=tuple(run for run in group if not run.is_done),
                test=test,
                others=dict(zip(others, more, strict=True)),
            )
        )
    return variants


def compare_all(variants: Sequence[Variant], other: Variant | None, metric: Metric) -> dict[str, Comparison]:
    """Compare every other variant that has a finished run with `other`. Empty if `other` has none."""
    if other is None or not other.done:
        return {}
    seeds = pooled_seed_variance(variants, metric)
    compared: dict[str, Comparison] = {}
    for one in variants:
        if one is not other and one.done:
            found = compare(one, other, metric, seeds)
            share = None if found.estimate is None else _share_better(one, other, metric)
            compared[one.name] = replace(found, share_better=share)
    return compared


def _share_better(a: Variant, b: Variant, metric: Metric) -> float | None:
    """Return the share of pairs of runs in which `a` is better, on the rows that all of them have."""
    if min(len(a.test), len(b.test)) < SEEDS_OF_SHARE:
        return None
    matched = on_common_rows([*a.test.values(), *b.test.values()])
    if not len(matched[0].index) or disagreeing(matched):
        return None
    values = [metric.sign * metric.value(one.statistics[metric.key]) for one in matched]
    return share_above(values[: len(a.test)], values[len(a.test) :])


def pooled_seed_variance(variants: Sequence[Variant], metric: Metric) -> SeedVariance:
    """Return the variance of the metric over seeds, pooled over the trained variants."""
    return SeedVariance.of(
        [[metric.value(one.statistics[metric.key]) for one in v.test.values()] for v in variants if v.is_trained]
    )


def compare(a: Variant, b: Variant, metric: Metric, seeds: SeedVariance) -> Comparison:
    """Compare `a` with `b` over the seeds and test rows that both have.

    A baseline without a seed gives the same answers for every seed, so it is paired with every run of the other.

    Args:
        a: The variant whose metric counts positively.
        b: The variant whose metric is subtracted.
        metric: The metric of the study.
        seeds: The variance over seeds of the study's trained variants.
    """
    if not a.test or not b.test:
        return Comparison(obstacle="test predictions are missing")
    constant = None in a.test or None in b.test
    if constant:
        pairs = [(p, q) for p in a.test.values() for q in b.test.values()]
    else:
        pairs = [(a.test[seed], b.test[seed]) for seed in a.test if seed in b.test]
    if not pairs:
        return Comparison(obstacle="no seed was finished in both")
    matched = on_common_rows([one for pair in pairs for one in pair])
    rows = len(matched[0].index)
    if not rows:
        return Comparison(obstacle="they were tested on different rows")
    if disagree := disagreeing(matched):
        return Comparison(obstacle=f"the labels of {disagree:,} of {rows:,} test rows differ between their runs")
    left, right = stacked(matched[::2], metric), stacked(matched[1::2], metric)
    return Comparison(estimate=metric.difference(left, right, seeds, constant=constant, groups=groups_of(matched)))
