"""A task with a metric that no study has had before goes from its predictions to the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from encoderlab import report
from encoderlab.results import collect
from encoderlab.tasks.classification import Classification
from encoderlab.tasks.metric import Metric
from fixtures_runs import SPECS, write_study


@final
@dataclass(frozen=True, kw_only=True)
class MultiLabelF1(Metric):
    """The mean F1 over the labels, where a row may have any number of labels."""

    key: str = "macro_f1"
    label: str = "macro F1"
    said: str = "macro F1 {value} % on {rows} test rows"

    def row_statistics(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the gold and the predicted labels side by side, (n, 2c)."""
        return np.concatenate([labels > 0, logits > 0], axis=1)

    def metric_from_weights(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        gold, guess = np.split(rows.astype(float), 2, axis=1)
        return (2 * (weights @ (gold * guess)) / np.maximum(weights @ (gold + guess), 1)).mean(axis=1)


# A multi-label task: the statistics of single-label rows, such as the largest logit, do not apply to it.
@dataclass(frozen=True, kw_only=True)
class MultiLabel(Classification):  # pyright: ignore[reportGeneralTypeIssues]
    kind: Literal["multi-label"] = "multi-label"  # pyright: ignore[reportIncompatibleVariableOverride]
    baseline: ClassVar[str | None] = "majority"

    def metric(self, class_names: Sequence[str]) -> Metric:
        return MultiLabelF1()

    def extra_metrics(self, class_names: Sequence[str]) -> tuple[Metric, ...]:
        return ()

    def value(self, metrics: Any) -> float:
        return metrics["macro_f1"]


def test_a_multi_label_task_reports_its_macro_f1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "TASKS", (MultiLabel,))
    out = write_study(tmp_path, specs=SPECS[:2], labels=("a", "b", "c"), rows=300)
    study = json.loads((out / "study.json").read_text())
    study["study"]["task"]["kind"] = "multi-label"
    (out / "study.json").write_text(json.dumps(study))
    metric = MultiLabelF1()
    for path in out.glob("runs/*/predictions/*.safetensors"):
        tensors = load_file(path)
        labels = np.eye(3, dtype=np.int64)[tensors["labels"]]
        labels[:, 0] |= labels[:, 2]  # a row with c has a as well
        logits = tensors["logits"] - 2
        save_file(tensors | {"labels": labels, "logits": logits}, path)
        run = json.loads((path.parents[1] / "result.json").read_text())
        value = metric.value(metric.row_statistics(logits, labels))
        run["splits"][path.stem] = {"rows": len(labels), "loss": 0.5, "macro_f1": value}
        (path.parents[1] / "result.json").write_text(json.dumps(run))
    table = collect.collect(out)
    assert table.metric == metric and table.recommendation is not None
    rows = {row.variant: row for row in table.summary}
    lora = rows["lora rank=4"]
    assert lora.interval and lora.metric.mean and lora.interval.low < lora.metric.mean < lora.interval.high
    assert lora.metric.rows_low and lora.metric.rows_low < lora.metric.mean
    assert lora.comparison and lora.comparison.p is not None and lora.comparison.pairs == 3
    assert rows["full"].spreads["accuracy"].mean is None
    cells = lora.cells(table.measures)
    assert (cells["macro_f1"], cells["macro_f1_low"]) == (lora.metric.mean, lora.interval.low)
    page = report.write(table).read_text(encoding="utf-8")
    assert "Macro F1 on the test rows" in page and "accuracy" not in page.lower()
