"""What a reader must know before comparing the variants of a summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from encoderlab.results.comparison import Comparison, Variant
from encoderlab.training.run_record import RunRecord


def one_seed(variants: Sequence[Variant]) -> list[str]:
    """Return a sentence if every trained variant has one seed."""
    trained = [variant for variant in variants if variant.is_trained and variant.done]
    if len(trained) < 2 or any(len(variant.done) > 1 for variant in trained):
        return []
    return [
        "Every method was trained with one seed: the intervals and p-values of differences hold for these runs on "
        "other test rows, but not for other seeds."
    ]


def single_runs(variants: Sequence[Variant]) -> list[str]:
    """Return a sentence on trained variants with one finished run, beside others that have several."""
    trained = [variant for variant in variants if variant.is_trained and variant.done]
    single = [variant.name for variant in trained if len(variant.done) == 1]
    if not single or len(single) == len(trained):
        return []
    return [
        f"Only one run of {', '.join(single)} has finished: its interval covers other test rows, but no other seeds."
    ]


def uncompared(variants: Sequence[Variant], reference: str | None, compared: Mapping[str, Comparison]) -> list[str]:
    """Return sentences on missing differences to the reference, and on differences over fewer seeds than the means."""
    finished = {v.name: len(v.done) for v in variants if v.done}
    if not reference or not finished:
        return []
    if reference not in finished:
        names = ", ".join(finished)
        return [f"Nothing is compared with the reference, {reference}: no run of it was finished (finished: {names})."]
    sentences = [
        f"{name} is not compared with {reference}: {c.obstacle}." for name, c in compared.items() if c.obstacle
    ]
    fewer = [
        f"{name} ({c.pairs}; means over {finished[name]} and {finished[reference]})"
        for name, c in compared.items()
        if 0 < c.pairs < max(finished[name], finished[reference])
    ]
    if fewer:
        sentences.append(
            f"Some differences to {reference} use fewer pairs of seeds than the means, because a run failed "
            f"or its predictions are missing: {', '.join(fewer)}."
        )
    return sentences


def mixed(runs: Iterable[RunRecord]) -> list[str]:
    """Return sentences on finished runs that were made with different versions or on different hardware."""
    done = [run for run in runs if run.is_done]
    sentences: list[str] = []
    for what in ("versions", "hardware"):
        seen: dict[str, dict[str, int]] = {}
        for run in done:
            for key, value in (run.versions if what == "versions" else run.hardware).items():
                shown = (
                    ", ".join(map(str, cast(list[object], value))) or "none" if isinstance(value, list) else str(value)
                )
                counts = seen.setdefault(key, {})
                counts[shown] = counts.get(shown, 0) + 1
        different = [
            f"{key} " + ", ".join(f"{value} ({n} run{'s' * (n > 1)})" for value, n in counts.items())
            for key, counts in seen.items()
            if len(counts) > 1
        ]
        if different:
            sentences.append(f"The runs differ in {what}, so their times are not comparable: {'; '.join(different)}.")
    return sentences
