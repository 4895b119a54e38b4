"""The file study.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from encoderlab.config import settings
from encoderlab.config.settings import Study
from encoderlab.core import files, machine
from encoderlab.data.splits import Splits
from encoderlab.study.jobs import JobSpec, baselines
from encoderlab.training.run_context import RunContext


@dataclass(kw_only=True)
class Account:
    """study.json: the runs that belong to the study, in the order of the study whatever the order they end in."""

    study: Study
    header: dict[str, Any]
    silent: bool = False
    done: dict[tuple[int, ...], tuple[str, dict[str, str]]] = field(default_factory=dict)
    search: dict[int, dict[str, Any]] = field(default_factory=dict)

    def place(self, ask: JobSpec) -> tuple[int, ...]:
        """Baselines, then variant by variant its trials and its runs."""
        if ask.variant is None:
            return 0, 0, baselines(self.study).index(ask)
        number = self._number(ask.variant.label)
        if ask.kind == "trial":
            return number, 0, ask.nth if ask.trial is None else ask.trial
        if ask.race:
            return number, 0, len(ask.variant.learning_rates) + self.study.search.extend + ask.nth
        return number, 1, self.study.seeds.index(ask.seed)

    def _number(self, label: str) -> int:
        return 1 + [variant.label for variant in self.study.variants].index(label)

    def add(self, ask: JobSpec, result: dict[str, Any]) -> None:
        self.done[self.place(ask)] = result["id"], {"method": result["method"], "variant": result["variant"]}

    def choose(self, label: str, entry: dict[str, Any]) -> None:
        self.search[self._number(label)] = entry

    def keep(self) -> None:
        if self.silent:
            return
        labels = {number: label for _, (number, label) in sorted(self.done.items())}
        search = [entry for _, entry in sorted(self.search.items())]
        files.write_json(
            self.study.out / "study.json", {**self.header, "runs": list(labels), "labels": labels, "search": search}
        )


def header(study: Study, splits: Splits, bench: RunContext, warnings: Sequence[str]) -> dict[str, Any]:
    data, truncation = {}, {}
    for name, rows in splits.items():
        tokenized = bench.tokenized[name]
        data[name] = {
            "origin": rows.origin,
            "rows": len(rows),
            "fingerprint": rows.fingerprint,
            "labels": study.task.label_counts(tokenized.labels, bench.class_names),
        }
        truncation[name] = {
            "rows": len(rows),
            "rows_cut": tokenized.rows_cut,
            "tokens_lost": tokenized.tokens_lost,
            "max_length": study.train.max_length,
        }
    return {
        "study": settings.resolved(study),
        "warnings": list(warnings),
        "reference": study.reference,
        "data": data,
        "truncation": truncation,
        "precision": {"compute": str(bench.dtype).removeprefix("torch."), "why": bench.why},
        "versions": machine.versions(),
        "hardware": machine.hardware(),
    }
