"""Regression labels of any size and offset: the correlations, and what a saved run answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoderlab.core.errors import InputError
from encoderlab.data.rows import Rows
from encoderlab.data.splits import Splits
from encoderlab.data.tokenized import TokenizedRows
from encoderlab.inference.evaluate import evaluate
from encoderlab.inference.predict import _digits, predict
from encoderlab.study.compare import compare
from encoderlab.tasks import weighted_correlation
from encoderlab.tasks.regression import STATISTICS, Regression
from encoderlab.tasks.regression_metrics import METRICS

TASK = Regression()


def rows_of(*labels: object) -> Rows:
    return Rows(
        {"text": [f"film {i}" for i in range(len(labels))], "label": list(labels)}, "here", np.arange(len(labels))
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unit, offset", [(1e-7, 0.0), (1e-12, 0.0), (1e9, 0.0), (1.0, 1e8), (1e-3, 1e8), (-2.0, 3.0)])
def test_correlations_do_not_depend_on_the_unit(unit: float, offset: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.integers(0, 50, (2, 200)).astype(float)
    weights = draw.integers(0, 3, (5, 200)).astype(float)
    for name in ("pearson", "spearman"):
        statistic, sign = STATISTICS[name], np.sign(unit)
        wanted = sign * statistic(x, y, weights)
        np.testing.assert_allclose(statistic(x, y * unit + offset, weights), wanted, atol=1e-6)
        metric = METRICS[name]
        rows = metric.row_statistics((x * unit + offset)[:, None], y * unit + offset)
        np.testing.assert_allclose(metric.metric_from_weights(rows, weights), statistic(x, y, weights), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.1, 1e8 + 0.1, -1e30])
def test_what_is_constant_has_no_correlation(value: float) -> None:
    draw = np.random.default_rng(0)
    flat, x, weights = np.full(50, value), draw.random(50), draw.integers(0, 3, (4, 50)).astype(float)
    few = np.where(np.arange(50) < 10, value, 5 * value + 1)  # constant where it is drawn
    for statistic in (weighted_correlation.pearson, weighted_correlation.spearman):
        assert statistic(flat, x, weights).tolist() == statistic(x, flat, weights).tolist() == [0.0] * 4
        assert statistic(few, x, weights * (np.arange(50) < 10)).tolist() == [0.0] * 4
    gold = TokenizedRows(
        ids=np.zeros(0), offsets=np.zeros(51), type_ids=None, labels=flat, rows_cut=0, tokens_lost=0, fingerprint=""
    )
    assert "all 50 rows have the label" in TASK.warnings(gold)[0]


@pytest.mark.parametrize(
    "value, text",
    [(1.23456789e-7, "1.23456789e-07"), (440.123456789, "440.123457"), (100000000.0000003, "100000000.0000003")],
)
def test_answers_are_written_with_their_digits(value: float, text: str) -> None:
    assert _digits(value) == text


def test_labels_beyond_float32_are_refused() -> None:
    for labels in ([1e-40, 2e-40], [1e35, 3e35]):
        rows = TASK.prepare(rows_of(*labels), labelled=True)
        with pytest.raises(InputError, match="too small or too large for the model's 32-bit numbers"):
            TASK.class_names(Splits(rows, rows, rows))


def test_a_large_mean_keeps_the_answers_apart(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """Labels + 1e8: the correlation, and what predict writes of the saved run, are those without it."""
    found, model = {}, json.dumps(str(tiny_model("bert")))
    texts = [f"{word} film {'very ' * i}" for i in range(20) for word in ("good", "bad", "the")]
    for offset in (0.0, 1e8):
        folder = tmp_path / f"{offset:g}"
        folder.mkdir()
        rows = [{"text": text, "score": offset + i % 3 + i / 60} for i, text in enumerate(texts)]
        with (folder / "train.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "score"])
            writer.writeheader()
            writer.writerows(rows)
        (folder / "study.toml").write_text(
            f'model = {model}\nseeds = [0]\n[task]\nkind = "regression"\nlabel = "score"\n[data]\ntrain = "train.csv"\n'
            "[train]\nepochs = 3\nmax_length = 32\n"
            '[search]\ncandidates = 1\n[[method]]\nname = "head"\nlearning_rate = 0.05\n'
        )
        compare(folder / "study.toml")
        run = next(p.parent for p in (folder / "results" / "study" / "runs").glob("*/adapter"))
        scores = evaluate(run, folder / "train.csv")
        stream = io.StringIO()
        predict(run, folder / "train.csv", stream)
        answers = [float(row["predicted_score"]) for row in csv.DictReader(io.StringIO(stream.getvalue()))]
        found[offset] = scores["pearson"], scores["mse"], np.array(answers) - offset
    # Answers near 1e8 are multiples of a float64 step, and these differ by 2e-4 from text to text. So r is exact to a
    # step in units of their spread. Its error is below 1e-5 on some processors and 3e-5 on others.
    exact = np.spacing(1e8) / found[0.0][2].std()
    assert found[1e8][0] == pytest.approx(found[0.0][0], abs=max(1e-5, exact)) and exact < 1e-3
    assert found[1e8][1] == pytest.approx(found[0.0][1], rel=1e-4)
    np.testing.assert_allclose(found[1e8][2], found[0.0][2], atol=1e-5)
