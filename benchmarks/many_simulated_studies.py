"""The first table of simulated_studies.py with many more studies: the same rules in few lines of numpy.

The project's functions read predictions, pair runs and build records, which costs most of their time. Here one study
is judged from its array alone. The first studies of each cell are judged by the project's functions too, and the
program ends where the two disagree.

    python benchmarks/many_simulated_studies.py [--studies N] [--check 50] [--cell SD SEEDS]
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import simulated_studies as project
from scipy.special import stdtr, stdtrit

from encoderlab.core import statistics, variation
from encoderlab.core.report_settings import Report
from encoderlab.results import comparison, predictions
from encoderlab.results.recommend import recommend

STUDIES = {2: 20_000, 3: 20_000, 5: 10_000, 10: 5_000}  # by the number of seeds
Verdict = tuple[bool, bool, bool]  # worse than the reference, worse than the best, the interval holds the truth


def judged(right: np.ndarray) -> Verdict:
    """Judge a study by the formulas of docs/statistics.md. right: bool (methods, seeds, rows)."""
    x = right.astype(np.float64)
    methods, seeds, rows = x.shape
    values = x.mean(axis=2)
    variances = values.var(axis=1, ddof=1)
    pooled, df_pooled = variances.mean(), methods * (seeds - 1)

    def parts(scores: np.ndarray, floor: float = 0.0) -> tuple[float, float]:
        covariance = np.cov(scores) / rows
        row, trace = covariance.mean(), np.trace(covariance)
        off = (covariance.sum() - trace) / (seeds * (seeds - 1))
        return max(float(row), floor), max(0.0, float(trace / seeds - off)) / seeds

    def difference(method: int, other: int) -> tuple[float, float, float, float]:
        """Value, standard error, df of row + seed, df of the squared standard error."""
        gaps = x[method] - x[other]
        mean = gaps.mean(axis=0)
        floor = ((mean**2).sum() + 1 - mean.sum() ** 2 / (rows + 2)) / (rows + 2) ** 2
        row, both = parts(gaps, floor)
        seed = max(variances[method] + variances[other], 2 * pooled) / seeds
        square = max(row + seed - both, row, seed)
        below = row**2 / (rows - 1) + seed**2 / df_pooled
        return float(mean.mean()), math.sqrt(square), (row + seed) ** 2 / below, square**2 / below

    p = []
    for method in range(1, methods):
        value, se, df, _ = difference(method, 0)
        p.append(2 * float(stdtr(df, -abs(value) / se)))
    best, worse = int(values.mean(axis=1).argmax()), False
    for method in set(range(methods)) - {best}:
        value, se, _, df = difference(method, best)
        worse |= value + variation._studentized_quantile(methods, df) * se / math.sqrt(2) < 0
    row, both = parts(x[1])
    variance, df_seed = (max(variances[1], pooled), df_pooled) if seeds == 2 else (variances[1], seeds - 1)
    seed = variance / seeds
    df = (row + seed) ** 2 / (row**2 / (rows - 1) + seed**2 / df_seed)
    half = float(stdtrit(df, 0.975)) * math.sqrt(max(row + seed - both, row))
    return min(p) * (methods - 1) < 0.05, worse, bool(abs(values[1].mean() - project.ACCURATE) <= half)


def by_the_project(right: np.ndarray) -> Verdict:
    """Judge a study by the project's own functions."""
    variants = project.study(right)
    p = [one.p or 0.0 for one in comparison.compare_all(variants, variants[0], project.ACCURACY).values()]
    choice = recommend(variants, project.summary(right), project.MEASURES, Report())
    pooled = comparison.pooled_seed_variance(variants, project.ACCURACY)
    runs = predictions.stacked(list(variants[1].test.values()), project.ACCURACY)
    one = project.ACCURACY.estimate(runs, seeds=pooled)
    assert choice is not None
    return bool(statistics.holm(p).min() < 0.05), bool(choice.worse), one.low <= project.ACCURATE <= one.high


def cell(sd: float, seeds: int, studies: int, check: int) -> np.ndarray:
    """The share of the studies with each verdict. sd: over seeds, in points."""
    draw, counts = np.random.default_rng([7, round(100 * sd), seeds]), np.zeros(3)
    for number in range(studies):
        right = project.simulated(draw, [0.0] * 5, seeds, 1000, sd / 100)
        verdict = judged(right)
        if number < check and verdict != by_the_project(right):
            raise SystemExit(f"SD {sd}, {seeds} seeds, study {number}: {verdict}, but {by_the_project(right)}")
        counts += verdict
    return counts / studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, help="of each cell; default: 20,000, fewer with 5 and 10 seeds")
    parser.add_argument(
        "--check", type=int, default=50, help="studies of a cell that the project's functions judge too"
    )
    parser.add_argument("--cell", nargs=2, type=float, metavar=("SD", "SEEDS"))
    options = parser.parse_args()
    cells = [(options.cell[0], int(options.cell[1]))] if options.cell else project.CELLS
    with project.fast_range():
        for sd, seeds in cells:
            shares = cell(sd, seeds, options.studies or STUDIES[seeds], options.check)
            print(f"| {sd:g} | {seeds} | {shares[0]:.3f} | {shares[1]:.3f} | {shares[2]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
