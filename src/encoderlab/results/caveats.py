"""What a reader of a summary must know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from encoderlab.results.comparison import Comparison, Variant


def uncompared(found: Sequence[Variant], reference: str | None, compared: Mapping[str, Comparison]) -> list[str]:
    """Sentences on differences to the reference that are missing, or over other seeds than the means."""
    finished = {v.name: len(v.done) for v in found if v.done}
    if not reference or not finished:
        return []
    if reference not in finished:
        known = ", ".join(finished)
        return [f"Nothing is compared with the reference, {reference}: no run of it was finished (finished: {known})."]
    told = [f"{name} is not compared with {reference}: {c.obstacle}." for name, c in compared.items() if c.obstacle]
    fewer = [
        f"{name} ({c.pairs}; means over {finished[name]} and {finished[reference]})"
        for name, c in compared.items()
        if 0 < c.pairs < max(finished[name], finished[reference])
    ]
    if fewer:
        told.append(
            f"Some differences to {reference} use fewer pairs of seeds than the means, because a run failed "
            f"or its predictions are missing: {', '.join(fewer)}."
        )
    return told


def mixed(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sentences on finished runs that were made with different versions or on different hardware."""
    told = []
    for what in ("versions", "hardware"):
        seen: dict[str, dict[str, int]] = {}
        for run in runs:
            for key, value in (run.get(what) or {}).items() if run["status"] == "done" else ():
                shown = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
                counts = seen.setdefault(key, {})
                counts[shown] = counts.get(shown, 0) + 1
        different = [
            f"{key} " + ", ".join(f"{value} ({n} run{'s' * (n > 1)})" for value, n in counts.items())
            for key, counts in seen.items()
            if len(counts) > 1
        ]
        if different:
            told.append(f"The runs differ in {what}, so their times are not comparable: {'; '.join(different)}.")
    return told
