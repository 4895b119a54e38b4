"""The record of one run: result.json as an object.

A run writes its record when it ends. Everything else (tables, the report, the model card, the search for settings)
reads the record. The order of the fields below is the order of the keys in the file.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, cast

from encoderlab.core import files
from encoderlab.core.errors import InputError

NAME = "result.json"


class Status(StrEnum):
    """How a run ended. NOT_TRIED: a candidate of a search that no trial was made of."""

    DONE = "done"
    FAILED = "failed"
    PRUNED = "pruned"
    NOT_TRIED = "not tried"


class Kind(StrEnum):
    """What a run is for: a table's row, the choice of settings, or a floor that needs no training."""

    RUN = "run"
    TRIAL = "trial"
    BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True)
class SplitScores:
    """The scores of a run on one split.

    Attributes:
        rows: How many rows were scored.
        metrics: {name: value} of every number that the task reports, counts included.
        tables: {name: table} of everything else that it reports: `per_class`, `confusion`.
    """

    rows: int
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    tables: Mapping[str, Any] = field(default_factory=dict[str, object])

    @classmethod
    def of(cls, rows: int, reported: Mapping[str, Any]) -> SplitScores:
        """Build the scores from what `Task.metrics` reports."""
        numbers = {name: value for name, value in reported.items() if isinstance(value, int | float)}
        return cls(rows=rows, metrics=numbers, tables={n: v for n, v in reported.items() if n not in numbers})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SplitScores:
        """Build the scores from their JSON object."""
        return cls.of(_of_type("rows", value["rows"], int), {k: v for k, v in value.items() if k != "rows"})

    def to_json(self) -> Mapping[str, Any]:
        """Return the JSON object: rows, metrics, tables."""
        return {"rows": self.rows, **self.metrics, **self.tables}


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """How many parameters the adapter, the head and the whole model have. None where the run ended before that."""

    adapter: int | None = None
    head: int | None = None
    total: int | None = None

    @property
    def trained(self) -> int:
        """The parameters that training changes: adapter and head."""
        return (self.adapter or 0) + (self.head or 0)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The precision that a run computes in (`float32`, `bfloat16`), and why it is this one."""

    compute: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run did.

    Attributes:
        id: The hash of `config`, which names the run's folder.
        reason: Why the run failed or was pruned.
        method: The name of the method, or of the baseline.
        variant: The label of the method with its settings in the study.
        seed: None for the constant baseline.
        config: The content of config.json, which is hashed into `id`.
        splits: {split: scores}; of a trial only `validation`, of a failed run none.
        train_seconds: The time of the training steps.
        best_epoch: The epoch whose tensors the run keeps, counted from 1.
        peak_memory_mb: Peak memory of the device, or of the process on a CPU.
        inference_ms_per_example: Measured on `test`.
        adapter_bytes: The size of the adapter's tensor file.
        versions: {package: version}.
        hardware: What `core.machine.hardware` reports.
        try_again: Whether the next command repeats the run. The run's checkpoint is kept then.
        predictions: {split: SHA-256 of its prediction file}.
        extra: Keys of a file that this version does not know. They are written back.
    """

    id: str
    status: Status
    reason: str | None = None
    kind: Kind
    method: str
    variant: str
    seed: int | None = None
    learning_rate: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, object])
    class_names: tuple[str, ...] = ()
    splits: Mapping[str, SplitScores] = field(default_factory=dict[str, SplitScores])
    parameters: ParameterCounts = ParameterCounts()
    train_seconds: float = 0.0
    epochs: int = 0
    best_epoch: int | None = None
    steps: int = 0
    peak_memory_mb: float | None = None
    inference_ms_per_example: float | None = None
    adapter_bytes: int | None = None
    precision: Precision = Precision()
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict[str, object])
    hardware: Mapping[str, Any] = field(default_factory=dict[str, object])
    try_again: bool = False
    predictions: Mapping[str, str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, object])

    @property
    def is_done(self) -> bool:
        """Whether the run came to its end."""
        return self.status is Status.DONE

    def metric(self, split: str, name: str) -> float | None:
        """Return a metric of a split. None if the run has no such split or the task no such metric."""
        scores = self.splits.get(split)
        return None if scores is None else scores.metrics.get(name)

    def labelled(self, method: str, variant: str) -> RunRecord:
        """Return the record under the labels of the study that uses the run."""
        return replace(self, method=method, variant=variant)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read result.json of a run's folder.

        Raises:
            InputError: The file is missing, is not JSON, or is not the record of a run.
        """
        value = files.read_json(folder / NAME)
        try:
            return cls.from_json(value)
        except ValueError as error:
            raise InputError(
                f"{folder / NAME}: not the result of a run ({error}); delete it and run the study again"
            ) from None

    @classmethod
    def from_json(cls, value: Any) -> RunRecord:
        """Build a record from the content of result.json. A null stands for a missing key.

        Raises:
            ValueError: A key is missing or has a value of another type.
        """
        found = without_nulls(value)
        if missing := [key for key in REQUIRED if key not in found]:
            raise ValueError(f"the key {missing[0]!r} is missing")
        with decoding():
            known = {key: _of_type(key, found[key], expected) for key, expected in PLAIN.items() if key in found}
            known |= {key: tuple(found[key]) for key in ("class_names", "warnings") if key in found}
            return cls(
                **known,
                status=Status(found["status"]),
                kind=Kind(found["kind"]),
                splits={name: SplitScores.from_json(scores) for name, scores in found["splits"].items()},
                parameters=ParameterCounts(**known_keys(ParameterCounts, found.get("parameters", {}))),
                precision=Precision(**known_keys(Precision, found.get("precision", {}))),
                extra={key: part for key, part in value.items() if key not in KEYS},
            )

    def to_json(self) -> Mapping[str, Any]:
        """Return the content of result.json."""
        content = {key: getattr(self, key) for key in KEYS}
        content |= {
            "class_names": list(self.class_names),
            "splits": {name: scores.to_json() for name, scores in self.splits.items()},
            "parameters": asdict(self.parameters),
            "precision": asdict(self.precision),
            "warnings": list(self.warnings),
        }
        if not self.try_again:
            del content["try_again"]
        if self.predictions is None:
            del content["predictions"]
        return content | dict(self.extra)

    def write(self, folder: Path) -> None:
        """Write result.json into a run's folder, whole or not at all."""
        files.write_json(folder / NAME, self.to_json())


KEYS = tuple(one.name for one in fields(RunRecord) if one.name != "extra")
REQUIRED = ("id", "status", "kind", "method", "variant", "splits")
NUMBER = int | float
PLAIN: Mapping[str, type | UnionType] = {  # the keys whose values are taken as they are
    **dict.fromkeys(("id", "reason", "method", "variant"), str),
    **dict.fromkeys(("seed", "epochs", "best_epoch", "steps", "adapter_bytes"), int),
    **dict.fromkeys(("learning_rate", "train_seconds", "peak_memory_mb", "inference_ms_per_example"), NUMBER),
    **dict.fromkeys(("config", "versions", "hardware", "predictions"), dict),
    "try_again": bool,
}


def without_nulls(value: Any) -> dict[str, Any]:
    """Return the keys of a JSON object that have a value.

    Raises:
        ValueError: It is not an object.
    """
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    found = cast(Mapping[str, Any], value)  # the keys of a JSON object are strings
    return {key: part for key, part in found.items() if part is not None}


@contextmanager
def decoding() -> Generator[None]:
    """Turn what a wrong JSON object raises, while a record is built from it, into a ValueError with a message."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"the key {error} is missing") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def known_keys(record: type, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a JSON object that a dataclass has fields for."""
    return {one.name: value[one.name] for one in fields(record) if one.name in value}


def _of_type(key: str, value: Any, expected: type | UnionType) -> Any:
    if not isinstance(value, expected):
        raise ValueError(f"the key {key!r} is {value!r}")
    return value
