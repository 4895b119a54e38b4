"""Metrics and their statistics, against scikit-learn and scipy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import balanced_accuracy_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from encoderlab.core.statistics import bootstrap_draws
from encoderlab.core.variation import SeedVariance
from encoderlab.tasks.class_metrics import ACCURACY, CHOICE_ACCURACY, BalancedAccuracy, MacroF1, f1_of_class
from encoderlab.tasks.masked_metrics import MASKED_LOSS
from encoderlab.tasks.metric import CountedMetric, Metric
from encoderlab.tasks.probability_metrics import Brier, CalibrationError, LogLoss
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
    kept = {"labels": np.unique(labels), "average": "macro", "zero_division": 0}  # also in samples that lack a class
    scores = [np.mean([f1_score(labels[rows], p[rows], **kept) for p in predicted]) for rows in draws]
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
    drawn, direct = CountedMetric.interval_over_rows(metric, runs), Metric.interval_over_rows(metric, runs)
    assert (drawn.low, drawn.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=0.015)
    assert (drawn.low, drawn.high) == pytest.approx((direct.low, direct.high), abs=0.015)
    ours = metric.interval_over_rows(runs)  # the class of two rows makes it wider
    assert ours.low < drawn.low and ours.high >= drawn.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_of_the_balanced_accuracy_combines_wilsons(seeds: int) -> None:
    labels, metric = np.repeat([0, 1, 2], [120, 75, 5]), BalancedAccuracy(classes=4)
    runs = np.array([metric.row_statistics(answers(20 + s, 0.9, labels, 3), labels) for s in range(seeds)])
    recalls = np.array([[run[labels == one, 1].mean() for one in range(3)] for run in runs]).mean(axis=0)
    below = above = 0.0
    for recall, rows in zip(recalls, (120, 75, 5), strict=True):
        low, high = proportion_confint(recall * rows, rows, method="wilson")
        below, above = below + (recall - low) ** 2, above + (high - recall) ** 2
    low, high = recalls.mean() - math.sqrt(below) / 3, recalls.mean() + math.sqrt(above) / 3
    drawn, ours = CountedMetric.interval_over_rows(metric, runs), metric.interval_over_rows(runs)
    assert (ours.low, ours.high) == pytest.approx((min(low, drawn.low), max(high, drawn.high)))
    found = metric.estimate(runs)
    assert found.low <= low + 1e-12 and found.high >= high - 1e-12
    labels = np.repeat([0, 1, 2], 200)  # no class has few right or few wrong rows
    many = metric.row_statistics(answers(30, 0.7, labels, 3), labels)[None]
    assert metric.interval_over_rows(many) == CountedMetric.interval_over_rows(metric, many)


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


@pytest.mark.parametrize("rows", [60, 600])
def test_the_f1_of_a_class_has_the_interval_of_its_bootstrap_but_never_less_than_wilsons(rows: int) -> None:
    labels = np.repeat([0, 1], [rows // 2, rows // 2])
    metric, seeds = MacroF1(classes=2), [answers(seed, 0.8, labels, 2) for seed in (31, 32)]
    statistics = [metric.row_statistics(logits, labels) for logits in seeds]
    for k, runs in enumerate(np.array(one) for one in zip(*map(metric.by_class, statistics), strict=True)):
        found = f1_of_class(runs)
        wanted = [f1_score(labels, logits.argmax(1), labels=[k], average="macro") for logits in seeds]
        assert found.value == pytest.approx(np.mean(wanted))
        drawn = bootstrap_draws(lambda w, x=runs: np.mean([w @ one[:, 0] / (w @ one[:, 1]) for one in x], 0), rows)
        assert found.row == pytest.approx(drawn.var(), rel=0.1)
        right = np.mean([((labels == k) & (one.argmax(1) == k)).sum() for one in seeds])
        either = np.mean([((labels == k) | (one.argmax(1) == k)).sum() for one in seeds])
        shares: Any = proportion_confint(right, either, method="wilson")
        ends = [2 * end / (1 + end) for end in shares]
        assert (min(right, either - right) < 10) == (rows == 60)
        if rows == 60:
            assert found.low <= ends[0] + 1e-12 and found.high >= ends[1] - 1e-12


def test_what_a_constant_answer_reaches_by_luck() -> None:
    labels = np.array([0] * 64 + [1] * 36)
    assert ACCURACY.chance_bound(labels) == pytest.approx(0.64 + 2 * 0.048)
    assert METRICS["pearson"].chance_bound(np.arange(100.0)) == pytest.approx(0.2)
    assert METRICS["mse"].chance_bound(np.arange(100.0)) is None


def test_a_class_that_is_always_right_has_an_interval() -> None:
    right = np.array([[[2.0, 2.0]] * 5 + [[0.0, 0.0]] * 195])
    found = f1_of_class(right)
    low, high = proportion_confint(5, 5, method="wilson")
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(2 * low / (1 + low)), pytest.approx(high))


def test_rows_that_are_there_twice_count_once_as_a_group() -> None:
    labels = rng(81).integers(0, 3, 120)
    metric, loss = MacroF1(classes=3), LogLoss()
    logits = rng(82).normal(size=(120, 3)) + 2 * np.eye(3)[labels]
    runs = np.array([next(iter(metric.by_class(metric.row_statistics(logits, labels))))])
    groups = np.arange(120).repeat(2)
    single, twice = f1_of_class(runs), f1_of_class(runs.repeat(2, axis=1), groups)
    assert (twice.value, twice.row, twice.df) == pytest.approx((single.value, single.row, single.df))
    losses = loss.row_statistics(logits, labels)[None]
    for one, parts in ((loss, losses), (MASKED_LOSS, np.concatenate([losses, losses + 1], axis=2))):
        found, wanted = one.interval_over_rows(parts.repeat(2, axis=1), groups), one.interval_over_rows(parts)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_a_part_of_a_row_is_not_tested_by_counting_signs() -> None:
    draw = rng(41)
    right = (draw.random((1, 800, 1)) < 0.28).astype(float)
    tied = np.full((1, 800, 1), 0.25)  # four choices with equal logits in every row
    found = CHOICE_ACCURACY.difference(right, tied, UNKNOWN)
    assert found.p is not None and found.p > 0.05
    assert found.p == pytest.approx(scipy.stats.ttest_rel(right[0, :, 0], tied[0, :, 0]).pvalue, rel=0.02)
    whole = (draw.random((1, 800, 1)) < 0.3).astype(float)
    gaps = (right - whole)[0, :, 0]
    counts: Any = [[0, (gaps > 0).sum()], [(gaps < 0).sum(), 0]]
    exact: Any = mcnemar(counts, exact=True)
    found = CHOICE_ACCURACY.difference(right, whole, UNKNOWN)
    assert found.p is not None and 0.8 * exact.pvalue < found.p < exact.pvalue  # mid-p
    assert found == ACCURACY.difference(right.astype(bool), whole.astype(bool), UNKNOWN)


@pytest.mark.parametrize("metric", [LogLoss(), Brier()], ids=lambda metric: metric.key)
def test_the_interval_of_a_mean_of_row_scores_is_that_of_a_t_test(metric: Metric) -> None:
    labels = rng(51).integers(0, 3, 300)
    runs = np.array([metric.row_statistics(rng(52, seed).normal(size=(300, 3)), labels) for seed in range(3)])
    found, mean = metric.interval_over_rows(runs), runs[..., 0].mean(axis=0)
    wanted = scipy.stats.ttest_1samp(mean, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_the_loss_of_words_has_the_interval_of_its_bootstrap() -> None:
    words = rng(61).integers(1, 30, size=400)
    parts = np.stack([rng(62).gamma(2.0, words / 2), words], axis=1)[None]
    found, drawn = MASKED_LOSS.interval_over_rows(parts), Metric.interval_over_rows(MASKED_LOSS, parts)
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), rel=0.02)


def test_a_calibration_error_has_no_interval() -> None:
    metric, labels = CalibrationError(), rng(71).integers(0, 3, 50)
    interval = metric.interval_over_rows(metric.row_statistics(answers(72, 0.7, labels, 3), labels)[None])
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_the_json_of_a_metric_has_no_fields_of_its_statistics() -> None:
    assert list(MacroF1(classes=3).to_json()) == list(ACCURACY.to_json())


def test_the_f1_of_a_class_in_groups_of_copies_has_the_interval_of_one_row_of_each() -> None:
    labels = np.repeat([0, 1], [150, 150])
    metric = MacroF1(classes=2)
    once = np.array([metric.row_statistics(answers(seed, 0.8, labels, 2), labels) for seed in (31, 32)])
    many, groups = once.repeat(4, axis=1), np.arange(300).repeat(4)
    for alone, copies in zip(*(zip(*map(metric.by_class, runs), strict=True) for runs in (once, many)), strict=True):
        one, four = f1_of_class(np.array(alone)), f1_of_class(np.array(copies), groups)
        assert (four.value, four.low, four.high) == pytest.approx((one.value, one.low, one.high), abs=1e-6)
        single = [f1_of_class(np.array(x[:1]), g) for x, g in ((alone, None), (copies, groups))]
        assert (single[1].low, single[1].high) == pytest.approx((single[0].low, single[0].high), abs=0.002)


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interval_of_a_share_over_groups_of_one_size_is_that_of_a_t_test(seeds: int) -> None:
    groups = np.arange(10).repeat(30)
    easy = rng(91).normal(0.6, 0.15, 10)[groups]
    runs = np.array([rng(92, seed).random(300) < easy for seed in range(seeds)])[..., None]
    of_groups = runs[..., 0].mean(axis=0).reshape(10, 30).mean(axis=1)
    wanted, found = (
        scipy.stats.ttest_1samp(of_groups, 0).confidence_interval(),
        ACCURACY.interval_over_rows(runs, groups),
    )
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_the_interval_of_macro_f1_over_groups_agrees_with_scikit_learn_on_resampled_groups() -> None:
    groups, labels = np.arange(10).repeat(30), rng(93).integers(0, 3, 300)
    hard = rng(94).normal(0.7, 0.15, 10)[groups]
    guess = np.where(rng(95).random(300) < hard, labels, rng(96).integers(0, 3, 300))
    metric = MacroF1(classes=3)
    found = metric.interval_over_rows(metric.row_statistics(np.eye(3)[guess], labels)[None], groups)
    scores = []
    for drawn in rng(97).integers(0, 10, size=(1000, 10)):
        rows = np.concatenate([np.flatnonzero(groups == one) for one in drawn])
        scores.append(f1_score(labels[rows], guess[rows], average="macro"))
    half = float(scipy.stats.t.ppf(0.975, 9) * np.std(scores, ddof=1)) * math.sqrt(10 / 9)
    mean = float(f1_score(labels, guess, average="macro"))
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)
