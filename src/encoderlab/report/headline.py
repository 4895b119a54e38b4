"""The report's answer in a few sentences: which variant to use, its cost and its uncertainty. Every claim is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from encoderlab.report import text
from encoderlab.results.recommend import Ends, Recommendation
from encoderlab.results.summary import VariantSummary
from encoderlab.results.table import Table
from encoderlab.tasks.metric import MetricInfo


def sentences(table: Table) -> list[str]:
    """Return the headline as plain text: the verdict, then the cost, then the uncertainty."""
    choice = table.recommendation
    if choice is None:
        return [
            "No method can be recommended: no run finished training.",
            'The reasons are listed under "Failed runs".',
        ]
    rows = {row.variant: row for row in table.summary}
    row = rows[choice.variant]
    lines = [_verdict(row, choice, table), _cost(row)]
    lines += [_rivals(choice, rows, table), _certainty(row, choice, table.metric), *_elsewhere(row, table)]
    lines += _confirmed(table)
    if row.failed:
        lines.append(f"{row.failed} of its {row.failed + row.seeds} runs failed.")
    return lines


def _verdict(row: VariantSummary, choice: Recommendation, table: Table) -> str:
    metric = table.metric
    right = metric.said.format(value=text.score(row.metric.mean, metric), rows=text.count(row.rows))
    if not choice.is_recommended:
        return (
            f"Do not use any of these methods yet: {metric.best} one, {row.variant}, is not shown to be better than "
            f"{table.task.constant_baseline_phrase} ({right})."
        )
    return f"Use {row.variant}: {right}."


def _cost(row: VariantSummary) -> str:
    head = f"a head of {text.count(row.parameters.head)} parameters"
    if row.parameters.adapter and row.parameters.total:
        part = row.parameters.adapter / row.parameters.total
        share = "nearly all" if part > 0.99 else f"{text.percent(part, 2)} %"
        trains = f"trains {text.count(row.parameters.adapter)} parameters ({share} of the model) and {head}"
    else:
        trains = f"trains only {head}"
    speed = f"inference takes {text.milliseconds(row.inference_ms_per_example)} ms per example"
    run = f"The training steps of one run took {text.duration(row.train_seconds)}"
    return f"It {trains}. {run}, the saved file has {text.size(row.adapter_bytes)}, and {speed}."


def _rivals(choice: Recommendation, rows: Mapping[str, VariantSummary], table: Table) -> str:
    """Return why the variant was chosen, and what was and was not shown about the other methods."""
    best, chosen, metric = choice.best, choice.variant, table.metric
    lines = []
    compared = len(choice.finalists) - len(choice.incomparable) > 1
    if len(choice.finalists) == 1:
        lines.append("No other method finished training.")
    elif chosen == best:
        lines.append(_first(choice, metric))
    else:
        lines.append(_within(choice, rows, table))
    if not choice.general and compared:
        lines.append(
            "Each method was trained with one seed, so the variation between seeds is unknown: nothing here says which "
            "method is better, only which run was."
        )
    lines += [_cheaper(name, ends, choice, table) for name, ends in choice.cheaper.items()]
    if choice.worse:
        lines.append(f"Significantly worse than {best}: {_names(choice.worse)}.")
    elif choice.general and compared:
        lines.append(f"No other method is shown to be worse than {best}.")
    always = table.task.constant_baseline_phrase
    if choice.beats_majority is None:
        lines.append(f"Whether it is better than {always} could not be tested.")
    unproven = [name for name in choice.unproven if name != chosen]
    if unproven:
        lines.append(f"Not shown to be better than {always}: {_names(unproven)}.")
    if choice.incomparable:
        why = [f"{name} ({obstacle})" for name, obstacle in choice.incomparable.items()]
        lines.append(f"Not comparable with {'it' if chosen == best else best}: {_names(why)}.")
    return " ".join(lines)


def _first(choice: Recommendation, metric: MetricInfo) -> str:
    """Say that the chosen variant had the best score. This is no claim about other rows or seeds."""
    if choice.general:
        return f"On these test rows, it was {metric.best} of {len(choice.finalists)} methods."
    return f"On these test rows, its run was {metric.best} of {len(choice.finalists)} runs, one of each method."


def _within(choice: Recommendation, rows: Mapping[str, VariantSummary], table: Table) -> str:
    metric, best = table.metric, rows[choice.best]
    sign = " %" if metric.percent else ""
    pairs = choice.pairs
    fewer = pairs < max(best.seeds, rows[choice.variant].seeds)
    only = f" over {pairs} pair{'s' * (pairs > 1)} of seeds" if fewer else ""
    name = metric.best[0].upper() + metric.best[1:]
    return (
        f"{name} method on these test rows, {choice.best}, reached {text.score(best.metric.mean, metric)}{sign} at a "
        "higher cost. The "
        f"difference is {text.gain(choice.difference, metric)}{_points(metric)}{only} (95 % interval: "
        f"{_between(choice, metric)}); being more than {margin(choice, metric)} worse is ruled out (one-sided 95 %)."
    )


def _cheaper(name: str, ends: Ends, choice: Recommendation, table: Table) -> str:
    """Say why a cheaper method is not chosen: nothing shows that it is good enough."""
    metric = table.metric
    _, low, high = ends
    return (
        f"{name} is cheaper, but is not shown to be within {margin(choice, metric)} of {choice.best} (95 % interval "
        f"of the difference: {text.gain(low, metric)} to {text.gain(high, metric)}{_points(metric)})."
    )


def margin(choice: Recommendation, metric: MetricInfo) -> str:
    """Return the margin of the recommendation with its unit."""
    if not metric.percent:
        return f"{choice.margin:.3g}"
    size = 100 * choice.margin
    return f"{size:g} point{'s' * (size != 1)}"


def _points(metric: MetricInfo) -> str:
    return " points" if metric.percent else ""


def _between(choice: Recommendation, metric: MetricInfo) -> str:
    return f"{text.gain(choice.difference_low, metric)} to {text.gain(choice.difference_high, metric)}"


def _certainty(row: VariantSummary, choice: Recommendation, metric: MetricInfo) -> str:
    """Return the interval of the score in the first sentence, where its variance comes from, and what it leaves out."""
    sign, points = " %" if metric.percent else "", _points(metric)
    if row.interval is None:
        return "Its test predictions are missing, so there is no interval."
    low, high = (text.score(end, metric) for end in (row.interval.low, row.interval.high))
    if row.seeds == 1:
        lines = [
            f"The 95 % interval of this run over other test rows is {low} to {high}{sign}.",
            "It was trained with one seed, so the variation between seeds is unknown.",
        ]
    else:
        share, sd = row.interval.row_share, text.score(row.metric.sd, metric, 1)
        lines = [
            f"The 95 % interval of its mean over other seeds and other test rows is {low} to {high}{sign}.",
            f"An estimated {100 * share:.0f} % of this variance is due to the test rows, the rest to the seeds. "
            f"Its {row.seeds} seeds have a standard deviation of {sd}{points}.",
        ]
    if len(choice.finalists) > 1:
        lines.append("It was chosen on these test rows, so its score may be slightly too good.")
    return " ".join(lines)


def _confirmed(table: Table) -> list[str]:
    """Return what a set that chose nothing says of the recommended variant, and how often that set was used."""
    found, metric = table.confirmed, table.metric
    if found is None:
        return []
    if found.variant is None:
        return [f"{found.set} confirms no method, because none is recommended."]
    if found.value is None:
        return [f"{found.variant} is not scored on {found.set} yet: run the study again."]
    several = len(found.winners) > 1
    sign = " %" if metric.percent else ""
    ends = [text.score(end, metric) for end in (found.low, found.high)]
    over = "other seeds and other rows" if found.seeds > 1 else "other rows"
    interval = "" if found.low is None else f" ({' to '.join(ends)}; 95 % interval over {over})"
    which = "" if several else ", which chose nothing"
    line = f"On {found.set}{which}, {found.variant} scores {text.score(found.value, metric)}{sign}{interval}."
    if several:
        line += (
            f" {found.set} has scored {len(found.winners)} recommended variants by now ({', '.join(found.winners)}): "
            "if one score led to the next study, it is no longer a fresh set."
        )
    return [line]


def _elsewhere(row: VariantSummary, table: Table) -> list[str]:
    """Return one sentence on the other test sets, if there are any."""
    metric, sign = table.metric, " %" if table.metric.percent else ""
    scores = {name: other.metric.mean for name, other in row.other_tests.items()}
    lines = [f"{name} {text.score(value, metric)}{sign}" for name, value in scores.items() if value is not None]
    return [f"Its {metric.label} on other test sets: {', '.join(lines)}."] if lines else []


def _names(names: Sequence[str], most: int = 4) -> str:
    shown = names if len(names) <= most else names[: most - 1]
    rest = len(names) - len(shown)
    listed = ", ".join(shown)
    return f"{listed} and {rest} more" if rest else listed
