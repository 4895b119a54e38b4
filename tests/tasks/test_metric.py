"""Metrics and their statistics, against scikit-learn and scipy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import balanced_accuracy_score, f1_score
from statsmodels.stats.proportion import proportion_confint

from encoderlab.core.variation import SeedVariance
from encoderlab.tasks.class_metrics import ACCURACY, BalancedAccuracy, MacroF1
from encoderlab.tasks.metric import Metric
from encoderlab.tasks.regression_metrics import METRICS

UNKNOWN = SeedVariance(pooled=math.nan, df=0)


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def test_bootstrap_of_macro_f1_agrees_with_resampled_scikit_learn() -> None:
    labels = rng(8).choice(4, p=(0.4, 0.3, 0.285, 0.015), size=150)  # resamples without the last class do occur
    predicted = np.where(rng(9).random((2, 150)) < 0.75, labels, rng(10).integers(0, 3, size=(2, 150)))
    runs = np.stack([np.stack([labels, p], axis=1) for p in predicted])
    ours = MacroF1(classes=5).interval_over_rows(runs, resamples=4000)
    draws = rng(11).integers(0, 150, size=(600, 150))
    scores = [np.mean([f1_score(labels[rows], p[rows], average="macro") for p in predicted]) for rows in draws]
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=0.015)


def answers(seed: int, right: float, labels: np.ndarray, classes: int) -> np.ndarray:
    """One-hot logits, of which a share is right."""
    other = rng(seed, 1).integers(0, classes, len(labels))
    return np.eye(classes)[np.where(rng(seed).random(len(labels)) < right, labels, other)]


def test_the_macro_f1_of_weighted_rows_is_that_of_repeated_rows() -> None:
    labels = rng(1).choice(4, p=(0.5, 0.3, 0.15, 0.05), size=80)
    logits, metric = answers(2, 0.7, labels, 4), MacroF1(classes=4)
    rows, predicted = metric.row_statistics(logits, labels), logits.argmax(axis=1)
    assert metric.value(rows) == pytest.approx(f1_score(labels, predicted, average="macro"))
    weights = rng(3).integers(0, 4, size=(3, 80))
    wanted = [f1_score(labels.repeat(w), predicted.repeat(w), average="macro") for w in weights]
    assert metric.metric_from_weights(rows, weights.astype(float)) == pytest.approx(wanted)


def test_the_balanced_accuracy_of_weighted_rows_is_that_of_repeated_rows() -> None:
    labels = rng(1).choice(3, p=(0.6, 0.38, 0.02), size=80)  # of 5 classes; one is rare, two have no row
    logits, metric = answers(2, 0.7, labels, 5), BalancedAccuracy(classes=5)
    rows, predicted = metric.row_statistics(logits, labels), logits.argmax(axis=1)
    weights = rng(3).multinomial(80, np.full(80, 1 / 80), size=40)
    samples = [np.arange(80).repeat(one) for one in weights]
    assert any(len(np.unique(labels[sample])) == 2 for sample in samples)  # some lack the rare class
    assert any(len(np.unique(labels[sample])) == 3 for sample in samples)
    wanted = [mean_recall(labels[sample], predicted[sample]) for sample in samples]
    assert metric.metric_from_weights(rows, weights.astype(float)) == pytest.approx(wanted)


def mean_recall(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the balanced accuracy of scikit-learn, without its warning on predicted classes that have no label."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return float(balanced_accuracy_score(labels, predicted))


def test_the_interval_of_the_balanced_accuracy_agrees_with_resampled_scikit_learn() -> None:
    labels = rng(8).choice(4, p=(0.4, 0.3, 0.285, 0.015), size=150)  # resamples without the last class do occur
    metric, seeds = BalancedAccuracy(classes=5), [answers(seed, 0.7, labels, 5) for seed in (9, 10)]
    runs = np.array([metric.row_statistics(logits, labels) for logits in seeds])
    draws = rng(11).integers(0, 150, size=(600, 150))
    scores = [np.mean([mean_recall(labels[rows], one.argmax(axis=1)[rows]) for one in seeds]) for rows in draws]
    ours, direct = metric.interval_over_rows(runs), Metric.interval_over_rows(metric, runs)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=0.015)
    assert (ours.low, ours.high) == pytest.approx((direct.low, direct.high), abs=0.015)


def test_the_variance_of_the_balanced_accuracy_over_rows_is_that_of_independent_recalls() -> None:
    labels, metric = rng(12).choice(3, p=(0.5, 0.3, 0.2), size=900), BalancedAccuracy(classes=3)
    rows = metric.row_statistics(answers(13, 0.7, labels, 3), labels)
    recalls = [rows[labels == one, 1] for one in range(3)]
    wanted = sum(recall.var() / len(recall) for recall in recalls) / 3**2
    assert metric.estimate(rows[None]).row == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize(
    "metric", [ACCURACY, MacroF1(classes=3), BalancedAccuracy(classes=3)], ids=lambda metric: metric.key
)
def test_any_metric_has_an_interval_and_a_paired_test(metric: Metric) -> None:
    labels = rng(4).integers(0, 3, 400)

    def stacked(seeds: Sequence[int], right: float) -> np.ndarray:
        return np.array([metric.row_statistics(answers(seed, right, labels, 3), labels) for seed in seeds])

    good, bad = stacked((5, 6), 0.9), stacked((7, 8), 0.6)
    found, rows = metric.estimate(good), metric.interval_over_rows(good)
    assert 0 <= rows.low < found.value < rows.high <= 1 and 0 <= found.low < found.value < found.high <= 1
    gap = metric.difference(good, bad, UNKNOWN)
    assert gap.p is not None and gap.p < 0.01 and 0 < gap.low < gap.value < gap.high
    wanted = np.mean([metric.value(rows) for rows in good]) - np.mean([metric.value(rows) for rows in bad])
    assert gap.value == pytest.approx(wanted)
    same = metric.difference(good, good, UNKNOWN)
    assert (same.value, same.p) == (0.0, 1.0)


GROUPED = [ACCURACY, MacroF1(classes=3), BalancedAccuracy(classes=3)]


@pytest.mark.parametrize("metric", GROUPED, ids=lambda metric: metric.key)
def test_rows_in_groups_of_copies_tell_as_much_as_one_row_of_each(metric: Metric) -> None:
    labels = rng(4).integers(0, 3, 200)
    good, bad = (
        np.array([metric.row_statistics(answers(seed, right, labels, 3), labels) for seed in seeds])
        for seeds, right in (((5, 6), 0.8), ((7, 8), 0.6))
    )
    many, groups = [runs.repeat(4, axis=1) for runs in (good, bad)], np.arange(200).repeat(4)
    once, copies = metric.estimate(good), metric.estimate(many[0], groups)
    assert copies.value == pytest.approx(once.value) and copies.se == pytest.approx(once.se, rel=0.01)
    gap = metric.difference(good, bad, UNKNOWN)
    gaps = metric.difference(many[0], many[1], UNKNOWN, groups=groups)
    assert gaps.value == pytest.approx(gap.value)
    assert (gaps.low, gaps.high) == pytest.approx((gap.low, gap.high), abs=0.05 * (gap.high - gap.low))
    rows, drawn = metric.interval_over_rows(good), metric.interval_over_rows(many[0], groups)
    assert (drawn.low, drawn.high) == pytest.approx((rows.low, rows.high), abs=0.1 * (rows.high - rows.low))


def test_a_share_in_groups_has_wilsons_interval_of_the_effective_rows() -> None:
    right = np.repeat([True] * 19 + [False], 10)[None, :, None]
    groups = np.arange(20).repeat(10)
    found = ACCURACY.estimate(right, groups)
    low, high = (float(end) for end in proportion_confint(19, 20, method="wilson"))  # pyright: ignore[reportArgumentType]
    assert found.low < low + 0.01 and found.high >= high - 0.01  # 20 groups of copies: 20 rows, and a little fewer
    every = ACCURACY.estimate(np.ones((1, 200, 1), dtype=bool), groups)
    assert every.low == pytest.approx(proportion_confint(20, 20, method="wilson")[0], abs=0.02)


def test_a_single_pair_in_groups_is_tested_by_t_over_the_groups() -> None:
    left, right = (rng(key).random((1, 300, 1)) < 0.8 for key in (1, 2))
    groups = np.arange(30).repeat(10)
    found = ACCURACY.difference(left, right, UNKNOWN, groups=groups)
    gaps = (left[0, :, 0].astype(float) - right[0, :, 0]).reshape(30, 10).mean(axis=1)
    assert found.df == 29 and found.se >= scipy.stats.sem(gaps)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(gaps.mean()) / found.se, 29))


def test_what_a_constant_answer_reaches_by_luck() -> None:
    labels = np.array([0] * 64 + [1] * 36)
    assert ACCURACY.chance_bound(labels) == pytest.approx(0.64 + 2 * 0.048)
    assert METRICS["pearson"].chance_bound(np.arange(100.0)) == pytest.approx(0.2)
    assert METRICS["mse"].chance_bound(np.arange(100.0)) is None


def test_the_json_of_a_metric_has_no_fields_of_its_statistics() -> None:
    assert list(MacroF1(classes=3).to_json()) == list(ACCURACY.to_json())
