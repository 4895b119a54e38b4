"""What must not change a metric: the order and the names of classes, the unit of labels, padding, the file's format.

Here the metrics of each task are asked on logits drawn at random; test_invariance_runs trains a tiny encoder.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoderlab.tasks.classification import Classification
from encoderlab.tasks.masked_lm import MaskedLM
from encoderlab.tasks.multiple_choice import MultipleChoice
from encoderlab.tasks.regression import Regression
from encoderlab.tasks.token_classification import TokenClassification
from fixtures_invariance import SMALL, same

seeded = settings(max_examples=25, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)


@seeded
@given(seed=seeds, classes=st.integers(2, 6), rows=st.integers(1, 40))
def test_classes_in_another_order_or_by_other_names(seed: int, classes: int, rows: int) -> None:
    draw, task = np.random.default_rng(seed), Classification()
    names = [f"class {i}" for i in range(classes)]
    logits, labels = draw.normal(size=(rows, classes)).astype(np.float32), draw.integers(0, classes, rows)
    wanted = task.metrics(logits, labels, names)
    order = draw.permutation(classes)  # position i has what was at order[i]
    turned = task.metrics(logits[:, order], np.argsort(order)[labels], [names[i] for i in order])
    same(turned, wanted, 1e-12)
    assert np.array_equal(np.array(turned["confusion"]), np.array(wanted["confusion"])[np.ix_(order, order)])
    renamed = task.metrics(logits, labels, [name.upper() + "!" for name in names])
    for row in renamed["per_class"]:
        row["label"] = row["label"][:-1].lower()
    same(renamed, wanted, 0)
    assert renamed["confusion"] == wanted["confusion"]
    shuffled = draw.permutation(rows)
    same(task.metrics(logits[shuffled], labels[shuffled], names), wanted, 1e-12)


@seeded
@given(seed=seeds, scheme=st.sampled_from(["IOB2", "IOBES", "IO", "words"]), rows=st.integers(1, 12))
def test_labels_of_words_in_another_order_or_by_other_names(seed: int, scheme: str, rows: int) -> None:
    draw, task = np.random.default_rng(seed), TokenClassification()
    prefixes = {"IOB2": ["B-", "I-"], "IOBES": ["B-", "I-", "E-", "S-"], "IO": [""], "words": [""]}[scheme]
    names = [prefix + kind for kind in ("PER", "LOC", "ORG") for prefix in prefixes]
    names = names if scheme == "words" else ["O", *names]
    width = 9
    logits = draw.normal(size=(rows, width, len(names))).astype(np.float32)
    labels = draw.integers(0, len(names), (rows, width))
    sizes = draw.integers(1, width + 1, rows)
    beyond = np.arange(width)[None, :] >= sizes[:, None]
    labels[beyond], logits[beyond] = -1, -np.inf
    if rows > 1 and scheme != "words":
        logits[0, 0] = -np.inf  # a word that the model does not see counts as O
    wanted = task.metrics(logits, labels, names)
    order = draw.permutation(len(names))
    number = np.append(np.argsort(order), -1)  # -1 stays
    same(task.metrics(logits[..., order], number[labels], [names[i] for i in order]), wanted, 1e-12)
    other = {"PER": "Tier", "LOC": "Amt", "ORG": "Ding"}
    renamed = task.metrics(logits, labels, [name[:-3] + other.get(name[-3:], name[-3:]) for name in names])
    for row in renamed.get("per_class", []):
        row["label"] = next(old for old, new in other.items() if new == row["label"])
    same(renamed, wanted, 1e-12)
    more = ((0, 0), (0, 5), (0, 0))  # padding of the rows' words
    padded = np.pad(logits, more, constant_values=-np.inf), np.pad(labels, more[:2], constant_values=-1)
    same(task.metrics(*padded, names), wanted, 1e-12)


@seeded
@given(
    seed=seeds,
    scale=st.sampled_from([1.0, 1e3, 1e-3, 1e-7, 1e-12, 1e9, -1.0, -2.5]),
    shift=st.sampled_from([0.0, 1.0, -40.0, 1e6]),
)
def test_labels_in_another_unit(seed: int, scale: float, shift: float) -> None:
    """float64, so that a shift loses no digits here; what is stored is the second half's business."""
    draw, task = np.random.default_rng(seed), Regression()
    labels = draw.normal(size=30)
    logits = (labels + draw.normal(size=30))[:, None]
    shift *= abs(scale)
    wanted = task.metrics(logits, labels, ["label"])
    found = task.metrics(scale * logits + shift, scale * labels + shift, ["label"])
    for key in ("pearson", "spearman"):
        assert found[key] == pytest.approx(wanted[key], abs=SMALL), key
    for key in ("mse", "loss"):
        assert found[key] / scale**2 == pytest.approx(wanted[key], rel=SMALL), key
    for best in ("pearson", "spearman"):
        metric = Regression(best=best).metric(["label"])
        ours = metric.value(metric.row_statistics(scale * logits + shift, scale * labels + shift))
        assert ours == pytest.approx(wanted[best], abs=SMALL), best


@seeded
@given(seed=seeds, rows=st.integers(1, 20))
def test_choices_in_another_order(seed: int, rows: int) -> None:
    draw, task, names = np.random.default_rng(seed), MultipleChoice(), ["A", "B", "C", "D"]
    logits = draw.normal(size=(rows, 4)).astype(np.float32)
    sizes = draw.integers(2, 5, rows)
    logits[np.arange(4)[None, :] >= sizes[:, None]] = -np.inf
    labels = draw.integers(0, sizes)
    turned, answers = logits.copy(), labels.copy()
    for row, size in enumerate(sizes):
        order = draw.permutation(size)
        turned[row, :size], answers[row] = logits[row, order], np.argsort(order)[labels[row]]
    same(task.metrics(turned, answers, names), task.metrics(logits, labels, names), 1e-12)


@seeded
@given(seed=seeds, rows=st.integers(1, 20))
def test_windows_in_another_order(seed: int, rows: int) -> None:
    draw, task = np.random.default_rng(seed), MaskedLM()
    counts = draw.integers(1, 9, rows)
    scores = np.stack([draw.uniform(0, 5, rows) * counts, counts, draw.integers(0, counts + 1)], axis=1)
    order, none = draw.permutation(rows), np.zeros(rows, dtype=np.int64)
    same(task.metrics(scores[order], none, ["masked"]), task.metrics(scores, none, ["masked"]), 1e-12)
