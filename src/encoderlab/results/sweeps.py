"""Find the settings that a study varies: variants of one method whose labels differ in that setting alone.

"lora rank=4" and "lora rank=8" are a sweep of the rank. Its scores are those on validation, because settings are chosen
on them; the test rows are kept for the final choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoderlab.training.run_record import RunRecord

Value = float | str  # of a setting


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One swept setting.

    Attributes:
        title: The method and the setting.
        variant: One of the variants.
        scores: {value: {seed: metric on validation}}, numbers ascending, other values in the order of the study.
        means: {value: mean over seeds}.
    """

    title: str
    variant: str
    scores: Mapping[Value, Mapping[int, float]]
    means: Mapping[Value, float]


def sweeps(labels: Sequence[str], runs: Mapping[str, Sequence[RunRecord]], key: str) -> tuple[Sweep, ...]:
    """Return the sweeps of which two values have a score.

    Args:
        labels: The labels of the trained variants, in the study's order.
        runs: The finished runs of each variant.
        key: The metric.
    """
    swept: list[Sweep] = []
    for title, variants in find(labels).items():
        scores: dict[Value, dict[int, float]] = {}
        for value, label in variants.items():
            for run in runs.get(label, ()):
                score = run.metric("validation", key)
                if score is not None:
                    scores.setdefault(value, {})[run.seed or 0] = score
        if len(scores) > 1:
            means = {value: float(np.mean(list(seeds.values()))) for value, seeds in scores.items()}
            swept.append(Sweep(title=title, variant=next(iter(variants.values())), scores=scores, means=means))
    return tuple(swept)


def find(labels: Sequence[str]) -> dict[str, dict[Value, str]]:
    """Return {title: {value: label}} for every setting that is the only difference between two or more variants.

    A title names the method and the key. Numbers ascend; other values keep the order of the labels.
    """
    swept: dict[str, dict[str, str]] = {}
    for label in labels:
        name, *settings = label.split(" ")
        pairs = dict(part.split("=", 1) for part in settings if "=" in part)
        for key, value in pairs.items():
            rest = " ".join([name, *(part for part in settings if not part.startswith(f"{key}="))])
            swept.setdefault(f"{rest}: {key}", {})[value] = label
    return {title: _ordered(variants) for title, variants in swept.items() if len(variants) > 1}


def _ordered(variants: dict[str, str]) -> dict[Value, str]:
    try:
        return dict(sorted((float(value), label) for value, label in variants.items()))
    except ValueError:
        return {**variants}
