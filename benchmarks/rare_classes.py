"""How often the 95 % intervals of a test set with a rare class hold the true value.

A test set has 200 rows of three classes: 120, 75 and 5. A model answers by the rows of a confusion matrix. The
bootstrap draws all rows alike ("plain", as the project does), or the rows of each class by themselves ("within"), so
that no sample lacks the rare class. The true value is that of infinitely many rows. In half of the simulations the
number of rows of each class is fixed, as in a stratified split. In the others it is random.

    python benchmarks/rare_classes.py [--studies 1000] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoderlab.core import statistics
from encoderlab.tasks.class_metrics import BalancedAccuracy, MacroF1, f1_of_class
from encoderlab.tasks.metric import CountedMetric

ROWS, SHARES = 200, np.array([0.6, 0.375, 0.025])
COMMON = [[0.94, 0.05, 0.01], [0.08, 0.9, 0.02]]  # what is answered to rows of the two common classes
RECALLS = (0.5, 0.7, 0.9)  # of the rare class
F1, BALANCED = MacroF1(classes=3), BalancedAccuracy(classes=3)
Answers = NDArray[np.int64]


def test_set(draw: np.random.Generator, answered: NDArray[np.float64], *, fixed: bool) -> Answers:
    """Return label and answer of each row, (n, 2). Every class has a row."""
    counts = (ROWS * SHARES).round().astype(int)
    while not fixed:
        counts = draw.multinomial(ROWS, SHARES)
        fixed = bool(counts.all())
    labels = np.repeat(np.arange(3), counts)
    answers = [draw.choice(3, size=n, p=p) for n, p in zip(counts, answered, strict=True)]
    return np.stack([labels, np.concatenate(answers)], axis=1)


def within(metric: CountedMetric, rows: NDArray[np.int64]) -> statistics.Interval:
    """Return the percentile interval of samples that draw as many rows of each class as there are."""
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    draws = np.zeros((statistics.RESAMPLES, len(kinds)))
    for one in np.unique(kinds[:, 0]):
        own = kinds[:, 0] == one
        draws[:, own] = statistics.draws_of_kinds(counts[own], int(one), statistics.RESAMPLES)
    return statistics.percentile_interval(metric.metric_from_weights(kinds, draws), statistics.LEVEL)


def coverage(recall: float, studies: int, *, fixed: bool) -> dict[str, float]:
    """Return how often each interval holds the truth. recall: that of the rare class."""
    draw = np.random.default_rng([int(100 * recall), fixed])
    answered = np.array([*COMMON, [(1 - recall) / 2, (1 - recall) / 2, recall]])
    all_rows = SHARES[:, None] * answered
    f1 = 2 * all_rows.diagonal() / (all_rows.sum(axis=0) + all_rows.sum(axis=1))
    true = {"macro F1": f1.mean(), "balanced accuracy": answered.diagonal().mean(), "F1 of the class": f1[2]}
    held: dict[str, int] = {}
    for _ in range(studies):
        answers = test_set(draw, answered, fixed=fixed)
        right = np.stack([answers[:, 0], answers[:, 0] == answers[:, 1]], axis=1)
        *_, rare = F1.by_class(answers)
        found = {
            "macro F1, plain": F1.interval_over_rows(answers[None]),
            "macro F1, within": within(F1, answers),
            "balanced accuracy, plain": CountedMetric.interval_over_rows(BALANCED, right[None]),
            "balanced accuracy, within": within(BALANCED, right),
            "balanced accuracy, reported": BALANCED.interval_over_rows(right[None]),
            "F1 of the class, reported": f1_of_class(rare[None]),
        }
        for name, interval in found.items():
            held[name] = held.get(name, 0) + bool(interval.low <= true[name.split(",")[0]] <= interval.high)
    shares = {name: number / studies for name, number in held.items()}
    return {"recall": recall, "fixed": fixed, **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    table = [coverage(recall, arguments.studies, fixed=fixed) for fixed in (True, False) for recall in RECALLS]
    for line in table:
        print(line)
    if arguments.out:
        arguments.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
