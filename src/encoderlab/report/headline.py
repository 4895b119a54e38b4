"""The answer in a few sentences: which variant to use, what it costs, how sure that is; no claim without a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoderlab.report import text
from encoderlab.results import Table
from encoderlab.tasks import Metric


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
    told = [_verdict(row, choice, table), _cost(row)]
    told += [_rivals(choice, rows, table), _certainty(row, table.metric), *_elsewhere(row, table)]
    if row["failed"]:
        told.append(f"{row['failed']} of its {row['failed'] + row['seeds']} runs failed.")
    return told


def _verdict(row: Mapping[str, Any], choice: Mapping[str, Any], table: Table) -> str:
    metric = table.metric
    right = metric.said.format(value=text.score(row[metric.key], metric), rows=text.count(row["rows"]))
    if choice["beats_majority"] is False:
        return (
            f"Use none of these yet: {metric.best}, {row['variant']}, is not shown to be better than "
            f"{table.task.always} ({right})."
        )
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
    run = f"its training steps took {text.duration(row['train_seconds'])}"
    return f"It {trains}; {run}, its file is {text.size(row['adapter_bytes'])}, and {speed}."


def _rivals(choice: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], table: Table) -> str:
    best, chosen = choice["best"], choice["variant"]
    if not (choice["equals"][1:] or choice["worse"] or choice["incomparable"]):
        told = ["Nothing else was trained to its end."]
    else:
        told = [f"It is {table.metric.best}." if chosen == best else _against_best(choice, rows, table.metric)]
    others = [name for name in choice["equals"] if name not in (chosen, best, *choice["unproven"])]
    if others:
        told.append(
            f"Not distinguishable from {'it' if chosen == best else best}, but at a higher cost: {_names(others)}."
        )
    always = table.task.always
    if choice["beats_majority"] is None:
        told.append(f"Whether it is better than {always} could not be tested.")
    unproven = [name for name in choice["unproven"] if name != chosen]
    if unproven:
        told.append(f"Not shown to be better than {always}: {_names(unproven)}.")
    if choice["worse"]:
        told.append(f"Measurably worse: {_names(choice['worse'])}.")
    if choice["incomparable"]:
        why = [f"{name} ({obstacle})" for name, obstacle in choice["incomparable"].items()]
        told.append(f"Not comparable with {'it' if chosen == best else best}: {_names(why)}.")
    return " ".join(told)


def _against_best(choice: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], metric: Metric) -> str:
    best, chosen = rows[choice["best"]], rows[choice["variant"]]
    interval = f"{text.gain(choice['difference_low'], metric)} to {text.gain(choice['difference_high'], metric)}"
    p = text.p_value(choice["holm_p"])
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    pairs = choice["pairs"]
    fewer = pairs < max(best["seeds"], chosen["seeds"])
    only = f" over {pairs} pair{'s' * (pairs > 1)} of seeds" if fewer else ""
    sign, points = (" %", " points") if metric.percent else ("", "")
    name = metric.best[0].upper() + metric.best[1:]
    return (
        f"{name}, {choice['best']}, got {text.score(best[metric.key], metric)}{sign}: the difference of "
        f"{text.gain(choice['difference'], metric)}{points}{only} cannot be told from chance, and on other rows "
        f"it may be {interval} (95 % interval; {p} after Holm)."
    )


def _certainty(row: Mapping[str, Any], metric: Metric) -> str:
    sign, points = (" %", " points") if metric.percent else ("", "")
    low, high = (text.score(row[f"{metric.key}_rows_{end}"], metric) for end in ("low", "high"))
    if row[f"{metric.key}_rows_low"] is None:
        told = "Its predictions are not on disk, so there is no interval over rows; "
    else:
        told = f"The rows of the test set allow {low} to {high}{sign} (95 %); "
    if row["seeds"] == 1:
        return told + "with one seed, how much another run would differ is unknown."
    low, high = (text.score(row[f"{metric.key}_seeds_{end}"], metric) for end in ("low", "high"))
    sd = text.score(row[f"{metric.key}_sd"], metric, 1)
    told += f"its {row['seeds']} seeds differ by {sd}{points} (sd), "
    return told + f"which allows a mean of {low} to {high}{sign} (95 %)."


def _elsewhere(row: Mapping[str, Any], table: Table) -> list[str]:
    """One sentence on the other test sets, where there are any."""
    metric, sign = table.metric, " %" if table.metric.percent else ""
    scores = {name: row[f"{name}_{metric.key}"] for name in table.others}
    told = [f"{name} {text.score(value, metric)}{sign}" for name, value in scores.items() if value is not None]
    return [f"Its {metric.label} on other test sets: {', '.join(told)}."] if told else []


def _names(names: list[str], most: int = 4) -> str:
    shown = names if len(names) <= most else names[: most - 1]
    rest = len(names) - len(shown)
    listed = ", ".join(shown)
    return f"{listed} and {rest} more" if rest else listed
