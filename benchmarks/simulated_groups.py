"""How often claims are wrong where test rows belong together, with and without `group`: two equal methods, simulated.

The model is that of simulated_studies.py. Here a share of a row's difficulty, and of what a method makes of the row, is
common to the rows of one text: `alike` is that share, the correlation of two rows of a text. All runs have the same
true accuracy, so that only rows and texts vary.

    python benchmarks/simulated_groups.py [--studies 1000] [--out FILE.json]
    python benchmarks/simulated_groups.py --over-rows [--studies 300]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import norm
from simulated_studies import ACCURATE, PARTS, study

from encoderlab.core import clusters, statistics
from encoderlab.results import comparison, predictions
from encoderlab.tasks.class_metrics import ACCURACY, MacroF1
from encoderlab.tasks.metric import Metric


def simulated(draw: np.random.Generator, seeds: int, groups: np.ndarray, alike: float) -> np.ndarray:
    """Which rows each run of two equal methods gets right, bool (2, seeds, rows)."""
    rows, texts = len(groups), groups.max() + 1

    def shared(*shape: int) -> np.ndarray:
        of_text = draw.standard_normal((*shape, texts))[..., groups]
        return np.sqrt(alike) * of_text + np.sqrt(1 - alike) * draw.standard_normal((*shape, rows))

    latent = PARTS[0] * shared() + PARTS[1] * shared(2, 1) + PARTS[2] * draw.standard_normal((2, seeds, rows))
    return latent < norm.ppf(ACCURATE)


# {name: the number of windows of each text}
LAYOUTS = {
    "10 texts of 30": np.full(10, 30),
    "40 texts of 25": np.full(40, 25),
    "10 texts of 4 to 120": np.geomspace(4, 120, 10).round().astype(int),
}


def false_claims(studies: int, layouts: Mapping[str, np.ndarray] = LAYOUTS) -> list[dict[str, float | str]]:
    """How often p < .05 for two equal methods, and how often the interval of an accuracy holds the truth."""
    found = []
    for name, sizes in layouts.items():
        groups = np.arange(len(sizes)).repeat(sizes)
        for alike in (0.0, 0.1, 0.3, 0.6):
            for seeds in (1, 3):
                draw = np.random.default_rng([4, len(sizes), sizes[0], int(100 * alike), seeds])
                claimed, covered, effect = np.zeros(2), np.zeros(2), 0.0
                for _ in range(studies):
                    right = simulated(draw, seeds, groups, alike)
                    effect += clusters.design_effect(right[0].mean(axis=0), groups) / studies
                    a, b = study(right)
                    for i, belong in enumerate((None, groups)):
                        ours, theirs = with_groups(a, belong), with_groups(b, belong)
                        pooled = comparison.pooled_seed_variance([ours, theirs], ACCURACY)
                        gap = comparison.compare(ours, theirs, ACCURACY, pooled)
                        claimed[i] += gap.p is not None and gap.p < 0.05
                        runs = predictions.stacked(list(ours.test.values()), ACCURACY)
                        one = ACCURACY.estimate(runs, belong)
                        covered[i] += one.low <= ACCURATE <= one.high
                found.append(
                    {
                        "texts": name,
                        "alike": alike,
                        "seeds": seeds,
                        "design effect": effect,
                        "false without group": float(claimed[0]) / studies,
                        "false with group": float(claimed[1]) / studies,
                        "coverage without group": float(covered[0]) / studies,
                        "coverage with group": float(covered[1]) / studies,
                    }
                )
                print(found[-1], flush=True)
    return found


def coverage_over_rows(sets: int, texts: int = 10, windows: int = 30, classes: int = 3) -> None:
    """Print how often the interval over rows of one run holds the truth, and a percentile bootstrap of the texts."""
    groups = np.arange(texts).repeat(windows)

    def answers(draw: np.random.Generator, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels = draw.integers(0, classes, len(right))
        other = (labels + draw.integers(1, classes, len(right))) % classes
        return np.eye(classes)[np.where(right, labels, other)], labels

    many = np.random.default_rng(5)
    for metric in (ACCURACY, MacroF1(classes=classes)):
        truth = metric.value(metric.row_statistics(*answers(many, many.random(400_000) < ACCURATE)))
        for alike in (0.3, 0.6):
            draw, covered = np.random.default_rng([6, int(10 * alike)]), np.zeros(2)
            for _ in range(sets):
                rows = metric.row_statistics(*answers(draw, simulated(draw, 1, groups, alike)[0, 0]))
                both = percentile(metric, rows, groups), metric.interval_over_rows(rows[None], groups)
                covered += [one.low <= truth <= one.high for one in both]
            bootstrap, ours = (covered / sets).tolist()
            print({"metric": metric.key, "alike": alike, "bootstrap": bootstrap, "reported": ours}, flush=True)


def percentile(metric: Metric, rows: np.ndarray, groups: np.ndarray) -> statistics.Interval:
    """The percentile bootstrap interval of whole groups."""
    draws = statistics.bootstrap_draws(lambda w: metric.metric_from_weights(rows, w), len(rows), groups=groups)
    return statistics.percentile_interval(draws, statistics.LEVEL)


def with_groups(variant: comparison.Variant, groups: np.ndarray | None) -> comparison.Variant:
    """The variant, whose test rows belong to these groups."""
    return replace(variant, test={seed: replace(one, groups=groups) for seed, one in variant.test.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--over-rows", action="store_true", help="coverage of intervals over rows")
    arguments = parser.parse_args()
    if arguments.over_rows:
        return coverage_over_rows(arguments.studies)
    table = false_claims(arguments.studies)
    if arguments.out:
        arguments.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
