"""The numbers by which a study's variants are told apart: its metric, and what tables show beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from encoderlab.tasks.base import Task
from encoderlab.tasks.metric import Metric


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The task of a study with its metrics.

    Attributes:
        metric: What variants are ranked and compared by.
        extra_metrics: Metrics beside it, each with its own interval over the test rows.
    """

    task: Task
    metric: Metric
    extra_metrics: tuple[Metric, ...]

    @classmethod
    def of(cls, task: Task, class_names: Sequence[str]) -> Measures:
        """Return the measures of a task whose rows have these classes."""
        return cls(task=task, metric=task.metric(class_names), extra_metrics=task.extra_metrics(class_names))

    @property
    def metrics(self) -> dict[str, Metric]:
        """All metrics by key. Their intervals need the predictions."""
        return {metric.key: metric for metric in (*self.extra_metrics, self.metric)}

    @property
    def extra_keys(self) -> tuple[str, ...]:
        """The keys of what tables show beside the metric."""
        return (*(metric.key for metric in self.extra_metrics), *self.task.extra_scores)
