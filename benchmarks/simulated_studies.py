"""How often the report's claims are wrong: studies are simulated, and judged by the project's own functions.

A test row is right if  sqrt(a) u_i + sqrt(b) v_im + sqrt(c) e_ims < z(accuracy of run s of method m),  with u, v, e
standard normal: a row's difficulty, what a method makes of it, and what a run makes of it. a, b, c are such that two
seeds of a method disagree on 5.9 % of the rows and two methods on 7.4 %, as measured on real studies. A run's true
accuracy is .85 (and a method's gap) plus the seeds' sd times a standard normal.

    python benchmarks/simulated_studies.py [--studies 500] [--cell SD SEEDS] [--out FILE.json]

With --cell, only this cell of the first table is simulated, such as `--cell 1.5 2`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
from scipy import stats as distributions
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from encoderlab.core import statistics, variation
from encoderlab.core.report_settings import Report
from encoderlab.results import comparison, predictions
from encoderlab.results.measures import Measures
from encoderlab.results.recommend import recommend
from encoderlab.results.summary import MetricSpread, VariantSummary
from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.tasks.registry import TASKS
from encoderlab.training.run_record import Kind, ParameterCounts, RunRecord, SplitScores, Status

ACCURATE, OF_SEEDS, OF_METHODS = 0.85, 0.059, 0.074
MEASURES = Measures.of(TASKS[0](), ["no", "yes"])


def correlations() -> tuple[float, float, float]:
    """a, b, c of the docstring."""
    z = norm.ppf(ACCURATE)

    def disagree(r: float) -> float:
        both = multivariate_normal.cdf([z, z], mean=[0, 0], cov=[[1, r], [r, 1]])
        return 2 * (ACCURATE - float(both))

    method, seed = (brentq(lambda r, d=d: disagree(r) - d, 0.5, 0.9999) for d in (OF_METHODS, OF_SEEDS))
    return method, seed - method, 1 - seed


PARTS = np.sqrt(correlations())


def simulated(draw: np.random.Generator, gaps: Sequence[float], seeds: int, rows: int, sd: float) -> np.ndarray:
    """Which rows each run gets right, bool (methods, seeds, rows)."""
    methods = len(gaps)
    true = ACCURATE + np.reshape(gaps, (-1, 1)) + sd * draw.standard_normal((methods, seeds))
    latent = (
        PARTS[0] * draw.standard_normal(rows)
        + PARTS[1] * draw.standard_normal((methods, 1, rows))
        + PARTS[2] * draw.standard_normal((methods, seeds, rows))
    )
    return latent < norm.ppf(np.clip(true, 0.01, 0.99))[..., None]


def study(right: np.ndarray) -> list[comparison.Variant]:
    """The runs as the project holds them; methods get dearer from the last to the first."""
    index = np.arange(right.shape[2])
    return [
        comparison.Variant(
            name=f"m{m}",
            method=f"m{m}",
            kind=Kind.RUN,
            done=tuple(
                RunRecord(
                    id=f"{m}-{s}",
                    status=Status.DONE,
                    kind=Kind.RUN,
                    method=f"m{m}",
                    variant=f"m{m}",
                    seed=s,
                    splits={"validation": SplitScores(rows=1, metrics={"accuracy": 0.0})},
                )
                for s in range(len(runs))
            ),
            failed=(),
            test={
                s: predictions.Predictions(index=index, labels=index, statistics={ACCURACY.key: one[:, None]})
                for s, one in enumerate(runs)
            },
        )
        for m, runs in enumerate(right)
    ]


def summary(right: np.ndarray) -> list[VariantSummary]:
    """Rows of summary.csv, as far as the recommendation reads them."""
    unknown = {"learning_rate": None, "interval": None, "inference_ms_per_example": None, "peak_memory_mb": None}
    return [
        VariantSummary(
            method=f"m{m}",
            variant=f"m{m}",
            kind=Kind.RUN,
            seeds=len(runs),
            failed=0,
            rows=runs.shape[1],
            metric=MetricSpread(mean=float(runs.mean())),
            spreads={},
            means={},
            parameters=ParameterCounts(adapter=len(right) - m),
            train_seconds=1.0,
            adapter_bytes=None,
            **unknown,
        )
        for m, runs in enumerate(right)
    ]


CELLS = tuple(itertools.product((0.0, 0.5, 1.0, 1.5), (2, 3, 5, 10)))


KNOTS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 45, 70, 120, 250, 600, 2000, 1e5)  # of df


@contextmanager
def fast_range() -> Iterator[None]:
    """Make the studentized range a hundred times faster, which takes nearly all of the time otherwise.

    The quantile is interpolated between exact ones, to four digits. The p-value against the best is left out, because
    no table below reads it.
    """
    exact = distributions.studentized_range.ppf

    @cache
    def curve(methods: int) -> PchipInterpolator:
        return PchipInterpolator([1 / df for df in KNOTS[::-1]], [exact(0.95, methods, df) for df in KNOTS[::-1]])

    def quantile(methods: int, df: float) -> float:
        return float(curve(methods)(1 / min(df, KNOTS[-1])))

    patch = mock.patch.object
    with patch(variation, "_studentized_quantile", quantile), patch(distributions.studentized_range, "sf", _no_p):
        yield


def _no_p(*_: float) -> float:
    return math.nan


def false_claims(studies: int, cells: Iterable[tuple[float, int]] = CELLS, rows: int = 1000) -> list[dict[str, float]]:
    """Five equal methods: how often any is called worse than the reference (Holm) or than the best (studentized range),
    and how often the interval of a method's accuracy holds the truth."""
    found = []
    for sd, seeds in cells:
        draw = np.random.default_rng([1, int(100 * sd), seeds])
        reference = best = covered = 0
        for _ in range(studies):
            right = simulated(draw, [0.0] * 5, seeds, rows, sd / 100)
            variants = study(right)
            p = [one.p or 0.0 for one in comparison.compare_all(variants, variants[0], ACCURACY).values()]
            reference += bool(statistics.holm(p).min() < 0.05)
            choice = recommend(variants, summary(right), MEASURES, Report())
            assert choice is not None
            best += bool(choice.worse)
            pooled = comparison.pooled_seed_variance(variants, ACCURACY)
            one = ACCURACY.estimate(predictions.stacked(list(variants[1].test.values()), ACCURACY), seeds=pooled)
            covered += one.low <= ACCURATE <= one.high
        found.append(
            {
                "sd": sd,
                "seeds": seeds,
                "studies": studies,
                "worse than the reference": reference / studies,
                "worse than the best": best / studies,
                "coverage": covered / studies,
            }
        )
        print(found[-1], flush=True)
    return found


def power(studies: int, rows: int = 1000) -> list[dict[str, float]]:
    """A true gap of 2 points and a sd of 1 point: how often p < .05, and how often the interval leaves 0 out."""
    found = []
    for seeds in (2, 3, 5, 10):
        draw, hits = np.random.default_rng([2, seeds]), 0
        for _ in range(studies):
            variants = study(simulated(draw, [0.0, -0.02], seeds, rows, 0.01))
            p = comparison.compare_all(variants, variants[0], ACCURACY)["m1"].p
            hits += p is not None and p < 0.05
        found.append({"seeds": seeds, "p < .05": hits / studies})
        print(found[-1], flush=True)
    return found


def choices(studies: int) -> list[dict[str, float]]:
    """A dear method that is 2 points better than three cheap ones, three seeds, sd 1 point: how often the recommended
    one is more than a point worse."""
    found = []
    for rows in (250, 1000, 5000):
        draw, wrong = np.random.default_rng([3, rows]), 0
        for _ in range(studies):
            right = simulated(draw, [0.0, -0.02, -0.02, -0.02], 3, rows, 0.01)
            choice = recommend(study(right), summary(right), MEASURES, Report())
            wrong += choice is not None and choice.variant != "m0"
        found.append({"rows": rows, "more than a point worse": wrong / studies})
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--cell", nargs=2, type=float, metavar=("SD", "SEEDS"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with fast_range():
        if arguments.cell:
            tables = {"false claims": false_claims(arguments.studies, [(arguments.cell[0], int(arguments.cell[1]))])}
        else:
            tables = {
                "false claims": false_claims(arguments.studies),
                "power": power(arguments.studies),
                "choices": choices(arguments.studies),
            }
    if arguments.out:
        arguments.out.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
