"""The columns of results.csv and summary.csv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from encoderlab.tasks.base import Task
from encoderlab.tasks.metric import Metric

SPLITS = ("validation", "test")
SPLIT_METRICS = ("rows", "loss", "accuracy", "macro_f1", "macro_precision", "macro_recall", "perplexity")
PARAMETERS = ("adapter_parameters", "head_parameters", "total_parameters")
COLUMNS = (
    *("method", "variant", "seed", "split", *SPLIT_METRICS, *PARAMETERS),
    *("train_seconds", "epochs", "peak_memory_mb", "inference_ms_per_example", "adapter_bytes", "run"),
)
METRICS = ("accuracy", "macro_f1")
OF_METRIC = ("", "_sd", "_seeds_low", "_seeds_high", "_rows_low", "_rows_high")
HEADLINE = ("_low", "_high", "_row_share")  # one interval over seeds and rows, and the rows' share of its variance
COMPARISON = ("difference", "difference_low", "difference_high", "p", "pairs")
SUMMARY_COLUMNS = (
    *("method", "variant", "kind", "seeds", "learning_rate", "rows"),
    *(metric + part for metric in METRICS for part in OF_METRIC),
    "perplexity",
    *(*COMPARISON, "holm_p"),
    *(*PARAMETERS, "train_seconds", "inference_ms_per_example", "peak_memory_mb", "adapter_bytes", "failed"),
)
FROM_STUDY = ("reference", "warnings", "search", "data", "truncation", "versions", "hardware")


def result_columns(task: Task, metric: Metric) -> tuple[str, ...]:
    return (*COLUMNS, *new_columns((metric.key, *task.further), COLUMNS))


def summary_columns(task: Task, metric: Metric, others: Sequence[str] = ()) -> tuple[str, ...]:
    own = [metric.key + part for part in (*OF_METRIC, *HEADLINE)]
    elsewhere = [f"{name}_{metric.key}{part}" for name in others for part in OF_METRIC]
    further = [key for name in ("", *(f"{name}_" for name in others)) for key in (f"{name}{m}" for m in task.further)]
    return (*SUMMARY_COLUMNS, *new_columns((*own, *elsewhere, *further), SUMMARY_COLUMNS))


def new_columns(names: Iterable[str], known: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in known]
