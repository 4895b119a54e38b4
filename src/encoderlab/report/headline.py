"""The answer in a few sentences: which variant to use, what it costs, how sure that is; no claim without a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoderlab.report import text
from encoderlab.results import Table


def sentences(table: Table) -> list[str]:
    """Plain text. The first sentence is the verdict, the second the cost, the others how sure that is."""
    choice = table.recommendation
    if choice is None:
        return [
            "No method can be recommended: no run was trained to its end.",
            "The reasons are listed under failed runs.",
        ]
    rows = {row["variant"]: row for row in table.summary}
    row = rows[choice["variant"]]
    told = [_verdict(row, choice), _cost(row)]
    told += [_rivals(choice, rows), _certainty(row)]
    if row["failed"]:
        told.append(f"{row['failed']} of its {row['failed'] + row['seeds']} runs failed.")
    return told


def _verdict(row: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    right = f"{text.percent(row['accuracy'])} % of {text.count(row['rows'])} test rows right"
    if choice["beats_majority"] is False:
        return f"Use none of these yet: the best, {row['variant']}, is no better than always one label ({right})."
    return f"Use {row['variant']}: {right}."


def _cost(row: Mapping[str, Any]) -> str:
    head = f"a head of {text.count(row['head_parameters'])}"
    if row["adapter_parameters"]:
        part = row["adapter_parameters"] / row["total_parameters"]
        share = "nearly all" if part > 0.99 else f"{text.percent(part, 2)} % of the model"
        trains = f"trains {text.count(row['adapter_parameters'])} parameters ({share}) and {head}"
    else:
        trains = f"trains nothing but {head} parameters"
    speed = f"one example takes {text.milliseconds(row['inference_ms_per_example'])} ms"
    run = f"one run took {text.duration(row['train_seconds'])}"
    return f"It {trains}; {run}, its file is {text.size(row['adapter_bytes'])}, and {speed}."


def _rivals(choice: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> str:
    best, others = choice["best"], [name for name in choice["equals"] if name != choice["variant"]]
    worse = f" Measurably worse: {_names(choice['worse'])}." if choice["worse"] else ""
    if choice["variant"] != best:
        interval = f"{text.points(choice['difference_low'])} to {text.points(choice['difference_high'])}"
        p = text.p_value(choice["holm_p"])
        p = f"p {p}" if p.startswith("<") else f"p = {p}"
        return (
            f"The most accurate, {best}, got {text.percent(rows[best]['accuracy'])} %: the difference of "
            f"{text.points(choice['difference'])} points cannot be told from chance, and on other rows it may be "
            f"{interval} (95 % interval; McNemar {p} after Holm).{worse}"
        )
    if others:
        return f"It is the most accurate; not distinguishable, but with more to train: {_names(others)}.{worse}"
    return f"It is the most accurate.{worse}" if worse else "Nothing else was trained to its end."


def _certainty(row: Mapping[str, Any]) -> str:
    rows = "The rows of the test set allow "
    if row["accuracy_rows_low"] is None:
        told = "Its predictions are not on disk, so there is no interval over rows; "
    else:
        told = (
            rows + f"{text.percent(row['accuracy_rows_low'])} to {text.percent(row['accuracy_rows_high'])} % (95 %); "
        )
    if row["seeds"] == 1:
        return told + "with one seed, how much another run would differ is unknown."
    return told + f"its {row['seeds']} seeds differ by {text.percent(row['accuracy_sd'], 2)} points (sd)."


def _names(names: list[str], most: int = 4) -> str:
    shown = names if len(names) <= most else names[: most - 1]
    rest = len(names) - len(shown)
    listed = ", ".join(shown)
    return f"{listed} and {rest} more" if rest else listed
