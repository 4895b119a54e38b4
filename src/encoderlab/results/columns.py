"""The columns of results.csv and summary.csv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from encoderlab.results.measures import Measures

SPLITS = ("validation", "test")
PARAMETERS = ("adapter_parameters", "head_parameters", "total_parameters")

# Every study has these columns, whatever its task. What a task measures beyond them follows behind.
SPLIT_SCORES = ("rows", "loss", "accuracy", "macro_f1", "macro_precision", "macro_recall", "perplexity")
COLUMNS = (
    *("method", "variant", "seed", "split", *SPLIT_SCORES, *PARAMETERS),
    *("train_seconds", "epochs", "peak_memory_mb", "inference_ms_per_example", "adapter_bytes", "run"),
)
METRICS = ("accuracy", "macro_f1")  # with their spread
MEANS = ("perplexity",)  # alone
SPREAD = ("", "_sd", "_seeds_low", "_seeds_high", "_rows_low", "_rows_high")
INTERVAL = ("_low", "_high", "_row_share")  # of the metric over seeds and rows, and the rows' share of its variance
SHARE_BETTER = "share_better"  # of pairs of runs, in which the variant is better than the reference
DIFFERENCE = ("difference", "difference_low", "difference_high", "p", "pairs")
SUMMARY_COLUMNS = (
    *("method", "variant", "kind", "seeds", "learning_rate", "rows"),
    *(metric + part for metric in METRICS for part in SPREAD),
    *MEANS,
    *(*DIFFERENCE, "holm_p"),
    *(*PARAMETERS, "train_seconds", "inference_ms_per_example", "peak_memory_mb", "adapter_bytes", "failed"),
)


def result_columns(measures: Measures) -> tuple[str, ...]:
    """Return the columns of results.csv."""
    return (*COLUMNS, *new_columns((measures.metric.key, *measures.extra_keys), COLUMNS))


def summary_columns(measures: Measures, others: Sequence[str] = (), grouped: bool = False) -> tuple[str, ...]:
    """Return the columns of summary.csv.

    Args:
        measures: The metrics of the study.
        others: The names of further test sets.
        grouped: Whether the test rows have groups.
    """
    key, task = measures.metric.key, measures.task
    columns = [key + part for part in (*SPREAD, *INTERVAL)]
    columns += [f"{name}_{key}{part}" for name in others for part in SPREAD]
    columns += [prefix + score for prefix in ("", *(f"{name}_" for name in others)) for score in task.extra_scores]
    for metric in measures.extra_metrics:  # one after another, so that a new metric moves no column of an older one
        columns += [metric.key + part for part in SPREAD]
        columns += [f"{name}_{metric.key}" for name in others]
    columns += ["groups"] * grouped
    return (*SUMMARY_COLUMNS, *new_columns([*columns, SHARE_BETTER], SUMMARY_COLUMNS))


def new_columns(names: Iterable[str], existing: Sequence[str]) -> list[str]:
    """Return the names, each once, that do not exist yet."""
    return [name for name in dict.fromkeys(names) if name not in existing]
