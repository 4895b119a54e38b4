"""Everything about a study that can be checked without training: every problem at once, and what the study would do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from encoderlab.config import load as config_load
from encoderlab.config.settings import Study
from encoderlab.core.variation import smallest_visible, what_halves_it
from encoderlab.data.rows import example_rows
from encoderlab.engine.device import choose_device, choose_precision
from encoderlab.results.power import measured_seed_sd
from encoderlab.results.row_groups import RowGroups
from encoderlab.study.groups import row_groups
from encoderlab.study.prepare import SplitReport, _encode, _split_report, look, warnings_of
from encoderlab.tasks.metric import ShareMetric


@dataclass(frozen=True, kw_only=True)
class VariantReport:
    """One variant: trained parameters of the adapter and of the head, all parameters, and the learning rates to try."""

    label: str
    adapter: int
    head: int
    total: int
    learning_rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """A study without problems: what it would train, and on what.

    Attributes:
        name: the name of the study.
        path: the study file.
        model: the base model.
        max_length: tokens of a row, special ones included.
        device: where it would train.
        precision: the compute precision, with the reason.
        splits: the splits by name.
        examples: a few rows, as (label, text).
        variants: the compared variants.
        reference: the variant that the others are compared with.
        metric: the metric by which variants are compared.
        runs: how many trials, runs and baselines there would be.
        visible: the smallest difference that the study can detect, or why it is unknown, in words; None: one variant.
        warnings: what you should look at before training.
    """

    name: str
    path: str
    model: str
    max_length: int
    device: str
    precision: str
    splits: dict[str, SplitReport]
    examples: list[tuple[str, str]]
    variants: list[VariantReport]
    reference: str
    metric: str
    runs: dict[str, int]
    visible: str | None
    warnings: list[str]

    def as_dict(self) -> dict[str, object]:
        """Return the report as `--json` prints it."""
        return asdict(self)


def check(path: Path, overrides: Sequence[str] = ()) -> CheckReport:
    """Check a study without training anything.

    Args:
        path: the study file.
        overrides: settings of the command line, as `key=value`.

    Raises:
        InputError: the file, the data or the model has problems; the error lists all of them.
    """
    found = look(config_load.read(path, overrides))
    study = found.study
    tokenized = _encode(found)
    away = study.launch.gpu and study.train.device != "cpu"
    device = choose_device("cuda" if away else study.train.device)
    dtype, why = choose_precision(device, study.train.precision)
    tried = {variant.tried_as: len(variant.learning_rates) for variant in study.variants}
    grids = sum(count for count in tried.values() if count > 1)
    sampled = study.search.trials
    return CheckReport(
        name=study.name,
        path=str(path),
        model=study.model,
        max_length=study.train.max_length,
        device=str(device),
        precision=f"{str(dtype).removeprefix('torch.')} ({why})",
        splits={
            name: _split_report(rows, tokenized[name], study.task, found.class_names)
            for name, rows in found.splits.items()
        },
        examples=example_rows(found.splits.train, study.task.label_column, by_label=study.task.has_classes),
        variants=[
            VariantReport(label=v.label, learning_rates=v.learning_rates, **found.counts[v.label])
            for v in study.variants
        ],
        reference=study.reference,
        metric=study.task.compared_by(found.class_names),
        runs={
            "trials": grids * len(study.search.seeds) if sampled is None else sampled * len(study.variants),
            "runs": len(study.variants) * len(study.seeds),
            "baselines": (study.task.baseline is not None) + len(study.seeds),
        },
        visible=_visible(
            study, len(found.splits.test), found.class_names, row_groups(found.splits, tokenized).get("test")
        ),
        warnings=warnings_of(found, tokenized),
    )


def _visible(study: Study, rows: int, class_names: Sequence[str], groups: RowGroups | None) -> str | None:
    """Describe the smallest difference that the study can detect; None with a single variant."""
    metric, seeds = study.task.metric(class_names), len(study.seeds)
    if len(study.variants) < 2:
        return None
    if seeds == 1:
        return "with one seed per method, no difference between methods can be shown; use 3 seeds or more"
    if not isinstance(metric, ShareMetric):
        return (
            f"smallest detectable difference: unknown before training, because the metric, {metric.label}, is not a "
            "share of rows; the report shows it"
        )
    sd, origin = _seed_sd(study, metric.key)
    more_rows, more_seeds = what_halves_it(rows, seeds, sd)
    ways = [
        f"{count:,} {what}" for count, what in ((more_rows, "test rows"), (more_seeds, "seeds")) if count is not None
    ]
    both = f"{4 * rows:,} test rows with {4 * seeds} seeds"
    least = 100 * smallest_visible(rows, seeds, sd)
    return (
        f"with {rows:,} test rows and {seeds} seeds, the smallest detectable difference of two methods is {least:.1f} "
        f"points (80 % power, standard deviation between seeds {100 * sd:.3g} points, {origin}); "
        f"{' or '.join(ways) or both} would halve it"
        f"{_independent(groups)}"
    )


def _seed_sd(study: Study, key: str) -> tuple[float, str]:
    """Return the standard deviation of the metric over seeds, and where it comes from."""
    found = measured_seed_sd(study.out, key)
    if found is None:
        return study.report.seed_sd / 100, "assumed: report.seed_sd"
    methods = f"{found.methods} method{'s' * (found.methods > 1)}"
    return found.value, f"measured by {found.runs} runs of {methods} in {study.out}"


def _independent(groups: RowGroups | None) -> str:
    """Return what the smallest detectable difference assumes about the groups of the test rows."""
    if groups is None:
        return ""
    return (
        f"; this takes the rows as independent, but they are in {groups.count:,} groups ({groups.by}): the more alike "
        "the rows of a group are, the larger it is"
    )


def say(warnings: Iterable[str]) -> None:
    """Print what `prepare` noticed, before anything is trained."""
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
