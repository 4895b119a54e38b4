"""Write study.json while a study runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from encoderlab.config import settings
from encoderlab.config.settings import Study
from encoderlab.core import machine
from encoderlab.data.splits import Splits
from encoderlab.results.study_record import Label, SearchRecord, SplitData, StudyRecord, Truncation
from encoderlab.study.jobs import JobSpec, baselines
from encoderlab.training.run_context import RunContext
from encoderlab.training.run_record import Kind, Precision, RunRecord


@dataclass(kw_only=True)
class Account:
    """The runs that belong to a study, in the study's order whatever the order they end in.

    Attributes:
        header: What study.json says before any run is done.
        silent: Whether to write nothing, as in a process beside the first one.
        done: {place: (id, names)} of the runs that are done.
        search: {number of the variant: its search}.
    """

    study: Study
    header: StudyRecord
    silent: bool = False
    done: dict[tuple[int, ...], tuple[str, Label]] = field(default_factory=dict)
    search: dict[int, SearchRecord] = field(default_factory=dict)

    def place(self, spec: JobSpec) -> tuple[int, ...]:
        """Return what the runs are ordered by: baselines, then variant by variant its trials and its runs."""
        if spec.variant is None:
            return 0, 0, baselines(self.study).index(spec)
        number = self._number(spec.variant.label)
        if spec.kind is Kind.TRIAL:
            assert spec.seed is not None
            nth = spec.nth if spec.trial is None else spec.trial
            return number, 0, nth, self.study.search.seeds.index(spec.seed)
        assert spec.seed is not None
        seed = self.study.seeds.index(spec.seed)
        if spec.race:
            return number, 0, len(spec.variant.learning_rates) + self.study.search.extend + spec.nth, seed
        return number, 1, seed

    def _number(self, label: str) -> int:
        return 1 + [variant.label for variant in self.study.variants].index(label)

    def add(self, spec: JobSpec, record: RunRecord) -> None:
        """Add a run that is done."""
        self.done[self.place(spec)] = record.id, Label(method=record.method, variant=record.variant)

    def choose(self, label: str, search: SearchRecord) -> None:
        """Add the search for a variant's settings."""
        self.search[self._number(label)] = search

    def keep(self) -> None:
        """Write study.json with what is known so far."""
        if self.silent:
            return
        labels = {number: label for _, (number, label) in sorted(self.done.items())}
        search = tuple(one for _, one in sorted(self.search.items()))
        replace(self.header, runs=tuple(labels), labels=labels, search=search).write(self.study.out)


def header(study: Study, splits: Splits, context: RunContext, warnings: Sequence[str]) -> StudyRecord:
    """Return what study.json says of a study before any run is done."""
    data, truncation = {}, {}
    for name, rows in splits.items():
        tokenized = context.tokenized[name]
        data[name] = SplitData(
            origin=rows.origin,
            rows=len(rows),
            fingerprint=rows.fingerprint,
            labels=study.task.label_counts(tokenized.labels, context.class_names),
        )
        truncation[name] = Truncation(
            rows=len(rows),
            rows_cut=tokenized.rows_cut,
            tokens_lost=tokenized.tokens_lost,
            max_length=study.train.max_length,
        )
    return StudyRecord(
        study=settings.resolved(study),
        warnings=tuple(warnings),
        reference=study.reference,
        data=data,
        truncation=truncation,
        precision=Precision(compute=str(context.dtype).removeprefix("torch."), why=context.why),
        versions=machine.versions(),
        hardware=machine.hardware(),
    )
