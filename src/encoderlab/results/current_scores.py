"""The scores of a run by the present definitions of its metrics.

result.json keeps the scores that the run recorded. The definition of a metric may have changed since, or the metric may
be newer than the run. Its value then follows from the run's predictions, so that a mean and its interval, and two runs
of different versions, have the same definition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from encoderlab.results.measures import Measures
from encoderlab.results.predictions import Predicted
from encoderlab.training.run_record import RunRecord

SAME = 1e-6  # relative, of one number computed in two ways


def current_scores(run: RunRecord, split: str, predicted: Predicted, measures: Measures) -> Mapping[str, float]:
    """Return the numbers of a split: those of metrics from the predictions, the others as recorded.

    A metric that result.json has with the same value keeps every bit of it.

    Args:
        run: The run.
        split: The name of the split.
        predicted: The predictions of the variant's runs on the split.
        measures: The metrics of the study.

    Returns:
        {key: value}. Empty if the run has no such split.
    """
    scores, answers = run.splits.get(split), predicted.get(run.seed)
    if scores is None or answers is None:
        return {} if scores is None else scores.metrics
    values = {key: metric.value(answers.statistics[key]) for key, metric in measures.metrics.items()}
    other = {k: v for k, v in values.items() if not math.isclose(scores.metrics.get(k, math.nan), v, rel_tol=SAME)}
    return {**scores.metrics, **other}
