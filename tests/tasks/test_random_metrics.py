"""Metrics of random inputs against scikit-learn, scipy and slow loops; weighted rows against repeated rows.

The default suite takes 200 inputs of each kind. `-m slow` takes 3,000.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics

from encoderlab.tasks.class_metrics import ACCURACY
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.multiple_choice import MultipleChoice
from encoderlab.tasks.regression import Regression
from encoderlab.tasks.regression_metrics import METRICS
from encoderlab.tasks.token_classification import TokenClassification

oracle: Any = sklearn.metrics  # the stubs lack documented arguments
stats: Any = scipy.stats
INPUTS = pytest.mark.parametrize("inputs", [200, pytest.param(3000, marks=pytest.mark.slow)])


def generators(inputs: int, key: int) -> Iterator[np.random.Generator]:
    """Yield one seeded generator for each input."""
    for number in range(inputs):
        yield np.random.default_rng([key, number])


def weightings(draw: np.random.Generator, rows: int) -> np.ndarray:
    """Return two ways of repeating rows, int (2, rows). Some rows occur in none, but at least one in each."""
    weights = draw.integers(0, 4, size=(2, rows))
    weights[:, draw.integers(rows)] += 1
    return weights


@INPUTS
def test_classification_is_that_of_scikit_learn(inputs: int) -> None:
    for draw in generators(inputs, 1):
        rows, classes = int(draw.integers(2, 60)), int(draw.integers(2, 7))
        names = [f"class {k}" for k in range(classes)]
        present = draw.permutation(classes)[: draw.integers(1, classes + 1)]  # the others can only be predicted
        labels = draw.choice(present, rows)
        logits = draw.normal(size=(rows, classes)).astype(np.float32)
        logits[np.arange(rows), labels] += draw.uniform(0, 3)
        found = Classification().metrics(logits, labels, names)
        assert found["confusion"] == oracle.confusion_matrix(labels, logits.argmax(1), labels=range(classes)).tolist()
        f1 = oracle.f1_score(labels, logits.argmax(1), labels=range(classes), average=None, zero_division=0)
        assert [one["f1"] for one in found["per_class"]] == pytest.approx(f1)
        _agrees(found, logits, labels, np.unique(labels))
        weights = weightings(draw, rows)[:1]
        for metric in (ACCURACY, *Classification().extra_metrics(names)):
            statistics = metric.row_statistics(logits, labels)
            assert metric.value(statistics) == pytest.approx(found[metric.key], abs=1e-12)
            weighted = metric.metric_from_weights(statistics, weights.astype(np.float64))
            for value, times in zip(weighted, weights, strict=True):
                repeated = {metric.key: float(value)}
                _agrees(repeated, logits.repeat(times, axis=0), labels.repeat(times), np.unique(labels))


def _agrees(found: dict[str, Any], logits: np.ndarray, labels: np.ndarray, present: np.ndarray) -> None:
    """Compare the scores that were found with the oracle. present: the classes that macro values average."""
    predicted = logits.argmax(axis=1)
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
    several: dict[str, Any] = {"labels": present, "average": "macro", "zero_division": 0}
    classes = np.arange(logits.shape[1])
    wanted = {
        "accuracy": lambda: oracle.accuracy_score(labels, predicted),
        "macro_f1": lambda: oracle.f1_score(labels, predicted, **several),
        "macro_precision": lambda: oracle.precision_score(labels, predicted, **several),
        "macro_recall": lambda: oracle.recall_score(labels, predicted, **several),
        "balanced_accuracy": lambda: oracle.balanced_accuracy_score(labels, predicted),
        "loss": lambda: oracle.log_loss(labels, probabilities, labels=classes),
        "brier": lambda: oracle.brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False),
        "ece": lambda: slow_calibration_error(probabilities, labels),
    }
    with warnings.catch_warnings(action="ignore"):  # classes without labels, and one label alone
        for key, of in wanted.items():
            if key in found:
                assert found[key] == pytest.approx(of(), rel=1e-6, abs=1e-12), key


def slow_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error, bin by bin and row by row."""
    error = 0.0
    for k in range(bins):
        confidences, right = [], []
        for row, label in zip(probabilities, labels, strict=True):
            if k / bins < max(row) <= (k + 1) / bins:
                confidences.append(max(row))
                right.append(list(row).index(max(row)) == label)
        if right:
            error += len(right) / len(labels) * abs(sum(right) / len(right) - sum(confidences) / len(confidences))
    return error


def test_a_class_that_is_only_predicted_is_no_class_of_its_own() -> None:
    labels = np.repeat([0, 1], [100, 100])
    predicted = labels.copy()
    predicted[0] = 2
    found = Classification().metrics(np.eye(3)[predicted], labels, ["a", "b", "c"])
    assert found["macro_f1"] == pytest.approx((198 / 199 + 1) / 2)  # .9975, and .665 if c counted as a class
    assert found["macro_precision"] == 1.0
    assert found["macro_recall"] == found["balanced_accuracy"] == pytest.approx(0.995)


@INPUTS
def test_tied_choices_share_the_credit(inputs: int) -> None:
    task, tied = MultipleChoice(), 0
    for draw in generators(inputs, 2):
        sizes = draw.integers(2, 6, size=int(draw.integers(1, 30)))
        logits = np.full((len(sizes), max(sizes)), -np.inf, dtype=np.float32)
        for row, size in zip(logits, sizes, strict=True):
            row[:size] = draw.integers(0, 4, size)  # few values, so that choices tie
        labels = np.array([draw.integers(size) for size in sizes])
        credit = []
        for row, label in zip(logits.tolist(), labels, strict=True):
            best = [j for j, value in enumerate(row) if value == max(row)]
            credit.append(1 / len(best) if label in best else 0.0)
            tied += len(best) > 1
        found, metric = task.metrics(logits, labels, list("ABCDE")), task.metric(list("ABCDE"))
        assert found["accuracy"] == pytest.approx(np.mean(credit))
        statistics, weights = metric.row_statistics(logits, labels), weightings(draw, len(sizes))
        assert statistics[:, 0].tolist() == pytest.approx(credit)
        wanted = [np.mean(np.repeat(credit, times)) for times in weights]
        assert metric.metric_from_weights(statistics, weights.astype(np.float64)) == pytest.approx(wanted)
        wanted = np.mean([-scipy.special.log_softmax(row)[k] for row, k in zip(logits, labels, strict=True)])
        assert found["loss"] == pytest.approx(wanted, rel=1e-6)
    assert tied > inputs


@INPUTS
def test_regression_is_that_of_scipy(inputs: int) -> None:
    oracles = {
        "pearson": lambda x, y: stats.pearsonr(x, y).statistic,
        "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
        "mse": lambda x, y: oracle.mean_squared_error(y, x),
    }
    for draw in generators(inputs, 3):
        rows = int(draw.integers(2, 50))
        labels = draw.normal(size=rows)
        answers = (labels + draw.normal(size=rows) * draw.uniform(0, 3)).astype(np.float32)
        if draw.random() < 0.5:  # ties; all values may be equal
            labels, answers = np.round(labels), np.round(answers)
        found = Regression().metrics(answers[:, None], labels, ["label"])
        weights = weightings(draw, rows)
        for key, of in oracles.items():
            pairs = [(answers, labels), *((answers.repeat(times), labels.repeat(times)) for times in weights)]
            with warnings.catch_warnings(action="ignore"):  # a constant has no correlation: nan, and 0 here
                wanted = [
                    of(x, y) if len(x) > 1 else math.nan if key != "mse" else (x[0] - y[0]) ** 2
                    for x, y in ((x.astype(np.float64), y) for x, y in pairs)
                ]
            first, *others = np.nan_to_num(wanted)
            statistics = METRICS[key].row_statistics(answers[:, None], labels)
            assert found[key] == pytest.approx(first, abs=1e-9) == METRICS[key].value(statistics), key
            weighted = METRICS[key].metric_from_weights(statistics, weights.astype(np.float64))
            assert weighted == pytest.approx(others, abs=1e-9), key


SIGNS = {"IOB2": "BI", "IOBES": "BIES", "BILOU": "BILU"}


@pytest.mark.parametrize("scheme", SIGNS)
@INPUTS
def test_entities_are_those_of_a_slow_scorer(inputs: int, scheme: str) -> None:
    task = TokenClassification()
    names = ["O", *(f"{sign}-{kind}" for kind in ("LOC", "PER", "ORG") for sign in SIGNS[scheme])]
    for draw in generators(inputs, 4):
        rows, words = int(draw.integers(1, 8)), int(draw.integers(1, 12))
        labels = draw.integers(0, len(names), size=(rows, words))
        predicted = np.where(
            draw.random((rows, words)) < draw.uniform(), labels, draw.integers(0, len(names), (rows, words))
        )
        for row, end in zip(labels, draw.integers(1, words + 1, size=rows), strict=True):
            row[end:] = -1  # shorter rows
        logits = np.eye(len(names), dtype=np.float32)[predicted]
        texts = [
            [[names[k] for k in side[gold >= 0]] for side, gold in zip(sides, labels, strict=True)]
            for sides in (labels, predicted)
        ]
        found = task.metrics(logits, labels, names)
        assert (found["entity_precision"], found["entity_recall"], found["entity_f1"]) == pytest.approx(_scores(texts))
        for one in found["per_class"]:
            wanted = _scores(texts, kind=one["label"])
            assert (one["precision"], one["recall"], one["f1"]) == pytest.approx(wanted)
        metric, weights = task.metric(names), weightings(draw, rows)
        statistics = metric.row_statistics(logits, labels)
        order = [np.arange(rows).repeat(times) for times in weights]
        repeated = [[[side[i] for i in rows] for side in texts] for rows in order]
        weighted = metric.metric_from_weights(statistics, weights.astype(np.float64))
        assert weighted == pytest.approx([_scores(pair)[2] for pair in repeated])


def _scores(texts: Sequence[Sequence[Sequence[str]]], kind: str | None = None) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the entities of one type, or of all. texts: gold and predicted labels."""
    theirs, ours = (
        [(i, *span) for i, row in enumerate(rows) for span in _chunks(row) if kind in (None, span[2])] for rows in texts
    )
    right = len([span for span in ours if span in theirs])
    precision, recall = right / len(ours) if ours else 0.0, right / len(theirs) if theirs else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0


def _chunks(labels: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return (first word, last word, type) by the rules of the conlleval script for pairs of neighbours."""
    same = {"L": "E", "U": "S"}
    pairs = [("O", "")] + [(same.get(x[0], x[0]), x[2:]) for x in labels] + [("O", "")]
    chunks, begin = [], -1
    for i, ((before, kind_before), (sign, kind)) in enumerate(zip(pairs, pairs[1:], strict=False)):
        ends = (
            before in ("E", "S")
            or (before in ("B", "I") and sign in ("B", "S", "O"))
            or (before != "O" and kind_before != kind)
        )
        if ends:
            chunks.append((begin, i - 1, kind_before))
        starts = (
            sign in ("B", "S")
            or (before in ("E", "S", "O") and sign in ("E", "I"))
            or (sign != "O" and kind_before != kind)
        )
        if starts:
            begin = i
    return chunks
