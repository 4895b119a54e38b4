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
    what = "test rows" if row.get("perplexity") is None else "test windows' masked tokens"
    right = f"{text.percent(row['accuracy'])} % of {text.count(row['rows'])} {what} right"
    if choice["beats_majority"] is False:
        return (
            f"Use none of these yet: the most accurate, {row['variant']}, is not shown to be better than always giving "
            f"one label ({right})."
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


def _rivals(choice: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> str:
    best, chosen = choice["best"], choice["variant"]
    if not (choice["equals"][1:] or choice["worse"] or choice["incomparable"]):
        told = ["Nothing else was trained to its end."]
    else:
        told = ["It is the most accurate." if chosen == best else _against_best(choice, rows)]
    others = [name for name in choice["equals"] if name not in (chosen, best, *choice["unproven"])]
    if others:
        told.append(
            f"Not distinguishable from {'it' if chosen == best else best}, but at a higher cost: {_names(others)}."
        )
    if choice["beats_majority"] is None:
        told.append("Whether it is better than always giving one label could not be tested.")
    unproven = [name for name in choice["unproven"] if name != chosen]
    if unproven:
        told.append(f"Not shown to be better than always giving one label: {_names(unproven)}.")
    if choice["worse"]:
        told.append(f"Measurably worse: {_names(choice['worse'])}.")
    if choice["incomparable"]:
        why = [f"{name} ({obstacle})" for name, obstacle in choice["incomparable"].items()]
        told.append(f"Not comparable with {'it' if chosen == best else best}: {_names(why)}.")
    return " ".join(told)


def _against_best(choice: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> str:
    best, chosen = rows[choice["best"]], rows[choice["variant"]]
    interval = f"{text.points(choice['difference_low'])} to {text.points(choice['difference_high'])}"
    p = text.p_value(choice["holm_p"])
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    pairs = choice["pairs"]
    fewer = pairs < max(best["seeds"], chosen["seeds"])
    only = f" over {pairs} pair{'s' * (pairs > 1)} of seeds" if fewer else ""
    return (
        f"The most accurate, {choice['best']}, got {text.percent(best['accuracy'])} %: the difference of "
        f"{text.points(choice['difference'])} points{only} cannot be told from chance, and on other rows it may be "
        f"{interval} (95 % interval; {p} after Holm)."
    )


def _certainty(row: Mapping[str, Any]) -> str:
    if row["accuracy_rows_low"] is None:
        told = "Its predictions are not on disk, so there is no interval over rows; "
    else:
        rows = f"{text.percent(row['accuracy_rows_low'])} to {text.percent(row['accuracy_rows_high'])} %"
        told = f"The rows of the test set allow {rows} (95 %); "
    if row["seeds"] == 1:
        return told + "with one seed, how much another run would differ is unknown."
    seeds = f"{text.percent(row['accuracy_seeds_low'])} to {text.percent(row['accuracy_seeds_high'])} %"
    sd = text.percent(row["accuracy_sd"], 2)
    return told + f"its {row['seeds']} seeds differ by {sd} points (sd), which allows a mean of {seeds} (95 %)."


def _names(names: list[str], most: int = 4) -> str:
    shown = names if len(names) <= most else names[: most - 1]
    rest = len(names) - len(shown)
    listed = ", ".join(shown)
    return f"{listed} and {rest} more" if rest else listed
